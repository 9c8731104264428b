"""A run on an S3 store by the command, killed and begun again.

The store is that of AWS_ENDPOINT_URL where it is set; else moto's server, as far as it is one.
"""

import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

s3fs = pytest.importorskip("s3fs", reason="s3fs is not installed: pip install s3fs")

from proof.bulk.photographs import make  # noqa: E402
from proof.harness import ROOT  # noqa: E402
from proof.harness.server import free_port  # noqa: E402

PHOTOGRAPHS, SHARD_SIZE = 40, 4
STARTS_WITHIN_S = 60


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    if "AWS_ENDPOINT_URL" in os.environ:
        yield s3fs.S3FileSystem(use_listings_cache=False)
        return
    pytest.importorskip(
        "moto.server", reason="moto is not installed: pip install 'moto[s3,server]'"
    )
    port = free_port()
    for name, value in {
        "AWS_ACCESS_KEY_ID": "any",
        "AWS_SECRET_ACCESS_KEY": "any",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
    }.items():
        monkeypatch.setenv(name, value)
    serve = f"from moto.server import main; main(['-p', '{port}'])"
    with subprocess.Popen([sys.executable, "-c", serve], stderr=subprocess.DEVNULL) as server:
        try:
            end = time.monotonic() + STARTS_WITHIN_S
            while not _listens(port) and time.monotonic() < end:
                time.sleep(0.1)
            yield s3fs.S3FileSystem(use_listings_cache=False)
        finally:
            server.kill()


def test_a_run_on_s3_that_is_killed_goes_on(store: Any, tmp_path: Path) -> None:
    dataset = pytest.importorskip("pyarrow.dataset")
    made = make(tmp_path / "in", PHOTOGRAPHS, SHARD_SIZE)
    bucket = f"photos-{uuid.uuid4().hex[:12]}"
    store.mkdir(bucket)
    store.put(str(made.folder), f"{bucket}/in", recursive=True)
    line = [sys.executable, "-m", "app.cli", "bulk", f"s3://{bucket}/in"]
    line += ["--out", f"s3://{bucket}/out"]
    line += ["--shard-size", str(SHARD_SIZE), "--model", "lwbafa-lite-300w68"]
    with subprocess.Popen(line, cwd=ROOT) as first:
        while len(store.glob(f"{bucket}/out/done/*")) < 2:
            assert first.poll() is None
            time.sleep(0.2)
        first.kill()
    again = subprocess.run(line, cwd=ROOT, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert "40 photographs" in again.stdout
    rows = dataset.dataset(f"{bucket}/out/parts", filesystem=store).to_table()
    expected = [uri.replace(str(made.folder), f"s3://{bucket}/in") for uri in made.uris]
    assert sorted(rows["uri"].to_pylist()) == sorted(expected)
    assert not store.glob(f"{bucket}/out/tries/*")
    for path in store.find(bucket):
        store.rm_file(path)
    store.rmdir(bucket)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
