"""`lwbafa bulk` as it is called, in one process and in several."""

import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from app.cli import main
from lwbafa.types import Pixels
from proof.harness import ROOT
from proof.harness.checkpoints import LITE
from tests.conftest import encode


def lwbafa(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["bulk", "--model", str(LITE), *map(str, arguments)])


def rows(out: Path) -> list[dict[str, Any]]:
    parquet = pytest.importorskip("pyarrow.parquet")
    return [
        row
        for part in sorted((out / "parts").glob("*.parquet"))
        for row in parquet.read_table(part).to_pylist()
    ]


@pytest.fixture
def folder(tmp_path: Path, astronaut: Pixels) -> Path:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    folder = tmp_path / "in"
    folder.mkdir()
    for i in range(8):
        (folder / f"{i}.jpg").write_bytes(encode(astronaut[: 300 + i], ".jpg"))
    return folder


def test_a_run_that_is_killed_goes_on_and_ends_with_a_summary(folder: Path) -> None:
    (folder / "bad.jpg").write_bytes((folder / "0.jpg").read_bytes()[:5000])
    out = folder.parent / "out"
    arguments = [
        *("bulk", str(folder), "--out", str(out), "--shard-size", "2", "--model", str(LITE))
    ]
    with subprocess.Popen(
        [sys.executable, "-m", "app.cli", *arguments], cwd=ROOT, stderr=subprocess.DEVNULL
    ) as process:
        while not list((out / "done").glob("*.json")):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert len(list((out / "done").glob("*.json"))) < 5
    ended = CliRunner().invoke(main, arguments)
    assert ended.exit_code == 0, ended.stderr
    assert "9 photographs, 8 faces, 1 failed; 5 of 5 shards are done" in ended.stdout
    assert "truncated_image: 1" in ended.stdout
    assert "of the threads' time: read" in ended.stdout
    assert Counter(row["uri"] for row in rows(out)) == Counter(map(str, folder.iterdir()))
    again = CliRunner().invoke(main, arguments)
    assert again.stdout.startswith("9 photographs, 8 faces, 1 failed; 5 of 5")


def test_ranks_share_the_shards(folder: Path) -> None:
    out = folder.parent / "out"
    planned = lwbafa(folder, "--out", out, "--shard-size", 3, "--only-plan")
    assert (planned.exit_code, planned.stdout) == (0, "3 shards\n")
    first = lwbafa(folder, "--out", out, "--shard-size", 3, "--rank", 0, "--world", 2)
    assert first.exit_code == 0, first.stderr
    assert "5 photographs, 5 faces, 0 failed; 2 of 3 shards are done" in first.stdout
    second = lwbafa(folder, "--out", out, "--shard-size", 3, "--rank", 1, "--world", 2)
    assert "8 photographs, 8 faces, 0 failed; 3 of 3 shards are done" in second.stdout
    assert [Path(row["uri"]).stem for row in rows(out)] == [*"01234567"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["absent"], "no match of"),
        ([".", "--rank", 1], "--rank is one of 0 to 0"),
        ([".", "--world", 2, "--address", "auto"], "are for runs without --address"),
        ([".", "--model", "other"], "there is no checkpoint other"),
        ([".", "--model", "x" * 300], "File name too long"),
        (["docs/astronaut.png", "--address", "auto"], "pip install 'lwbafa[ray]'"),
        (["nowhere://x"], "nowhere"),
        ([".", "--address", "auto", "--actors", 0, 3], "0 is not in the range x>=1"),
        ([".", "--detector", "other"], "there is no detector other"),
        ([".", "--detection-px", 3841], "--detection-px is at most 3840"),
        ([".", "--detection-px", 63], "63 is not in the range x>=64"),
    ],
)
def test_a_wrong_call_is_a_2_with_one_line(
    arguments: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "lwbafa.bulk.on_ray", raising=False)
    monkeypatch.chdir(ROOT)
    ended = lwbafa(*arguments, "--out", tmp_path / "out")
    assert ended.exit_code == 2, ended.output
    assert says in ended.stderr.splitlines()[-1]
    if "docs/astronaut.png" not in arguments:  # which the right call goes on with
        assert not (tmp_path / "out").exists()


def test_an_unset_name_is_not_this_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ended = lwbafa(ROOT / "docs", "--out", "")
    assert ended.exit_code == 2
    assert "'' names nothing to write" in ended.stderr
    assert not [*tmp_path.iterdir()]


def test_faces_are_searched_for_as_finely_as_asked(
    folder: Path, small_faces_jpeg: bytes, tmp_path: Path
) -> None:
    source = folder / "small.jpg"
    source.write_bytes(small_faces_jpeg)
    for options, faces in ((), 0), (("--detection-px", 2700), 2):
        out = tmp_path / f"{faces}"
        ended = lwbafa(source, "--out", out, *options)
        assert f"1 photographs, {faces} faces" in ended.stdout, ended.output
    other = lwbafa(source, "--out", out)
    assert (other.exit_code, "begun with other settings" in other.stderr) == (2, True)


def test_without_pyarrow_one_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for module in ("plan", "worker", "nested", "shards"):
        monkeypatch.delitem(sys.modules, f"lwbafa.bulk.{module}", raising=False)
    ended = lwbafa(tmp_path, "--out", tmp_path / "out")
    assert ended.exit_code == 2
    assert "pip install 'lwbafa[parquet]'" in ended.stderr
