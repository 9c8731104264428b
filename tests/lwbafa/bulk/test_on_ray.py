"""A run on a real Ray cluster of two nodes, whose processes are killed in between.

What is asserted is what is promised: as many rows as photographs, none of them twice.
"""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import pytest

from lwbafa.types import Pixels
from proof.harness import ROOT

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'lwbafa[ray]'")
parquet = pytest.importorskip("pyarrow.parquet")

# Ray's and pandas' own warnings, of which nothing here can be changed.
pytestmark = pytest.mark.filterwarnings("default")

PHOTOGRAPHS = 300
SHARD_SIZE = 15
TORN = 7
MEMORY = {"object_store_memory": 100 * 2**20}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, astronaut: Pixels) -> Path:
    """Crops of a portrait of many sizes and qualities, one of them cut short."""
    folder = tmp_path_factory.mktemp("photographs")
    chance = np.random.default_rng(1)
    for index in range(PHOTOGRAPHS):
        x, y, side = chance.integers(0, 120), chance.integers(0, 50), chance.integers(260, 380)
        scale, quality = chance.uniform(0.5, 1.2), int(chance.integers(40, 95))
        crop = cv2.resize(astronaut[y : y + side, x : x + side], None, fx=scale, fy=scale)
        bgr = cv2.cvtColor(crop, cv2.COLOR_RGB2BGR)
        content = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
        content = content[: len(content) // 2] if index == TORN else content
        (folder / f"{index:03}.jpg").write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes of one CPU each, every one with its own raylet."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_memory_monitor_refresh_ms", "0")  # the machine is others' too
        cluster = Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": 1, "include_dashboard": False, **MEMORY},
        )
        try:
            cluster.add_node(num_cpus=1, **MEMORY)
            cluster.wait_for_nodes()
            yield cluster
        finally:
            cluster.shutdown()


@pytest.fixture(scope="module")
def address(cluster: Any) -> str:
    return str(cluster.address)


class Driver:
    """The command, in a process of its own."""

    def __init__(self, folder: Path | str, out: Path, address: str, actors: int = 2) -> None:
        command = [sys.executable, "-m", "app.cli", "bulk", str(folder), "--out", str(out)]
        command += ["--shard-size", str(SHARD_SIZE), "--address", address]
        command += ["--actors", "1", str(actors)]
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def ended(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=200)
        return self.process.returncode, out, err


def actors() -> list[psutil.Process]:
    """The cluster's processes that align: of all below this one, no others."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if any("MapWorker" in part for part in process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def marks(out: Path) -> int:
    return len(list((out / "done").glob("*.json")))


def wait_for_marks(out: Path, count: int, driver: Driver) -> None:
    wait_for(lambda: marks(out) >= count, driver)


def wait_for(there: Callable[[], bool], driver: Driver) -> None:
    began = time.monotonic()
    while not there():
        assert driver.process.poll() is None, driver.ended()
        assert time.monotonic() - began < 150, "the run makes no progress"
        time.sleep(0.05)


def rows_of(out: Path) -> list[dict[str, Any]]:
    return [
        row
        for part in sorted((out / "parts").glob("*.parquet"))
        for row in parquet.read_table(part).to_pylist()
    ]


def test_a_killed_actor_and_a_killed_driver_lose_nothing_and_double_nothing(
    folder: Path, address: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    driver = Driver(folder, out, address)
    wait_for_marks(out, 2, driver)
    wait_for(lambda: len(actors()) == 2, driver)
    victim = actors()[-1]
    os.kill(victim.pid, signal.SIGKILL)
    wait_for_marks(out, marks(out) + 3, driver)
    driver.process.kill()
    driver.ended()
    between = marks(out)
    assert 5 <= between < PHOTOGRAPHS // SHARD_SIZE

    code, said, errors = Driver(folder, out, address).ended()
    assert code == 0, errors
    assert f"{PHOTOGRAPHS} photographs" in said
    assert "1 failed; 20 of 20 shards are done" in said
    rows = rows_of(out)
    assert len(rows) == PHOTOGRAPHS
    assert Counter(row["uri"] for row in rows) == Counter(str(path) for path in folder.iterdir())
    failed = [row for row in rows if row["status"] != "ok"]
    assert [(Path(row["uri"]).name, row["error"]["code"]) for row in failed] == [
        (f"{TORN:03}.jpg", "truncated_image")
    ]
    assert sum(len(row["faces"]) == 1 for row in rows) > 0.9 * PHOTOGRAPHS
    (face,) = rows[0]["faces"]
    assert len(face["landmarks"]) == len(face["scores"]) == 68
    assert not list(tmp_path.rglob(".aside/*"))
    assert not list((out / "tries").glob("*.json"))


def test_a_node_that_goes_away_takes_nothing_with_it(
    cluster: Any, folder: Path, tmp_path: Path
) -> None:
    out, some = tmp_path / "out", folder / "[012][0246]?.jpg"
    expected = sorted(str(path) for path in folder.glob(some.name))
    node = cluster.add_node(num_cpus=1, **MEMORY)
    driver = Driver(str(some), out, cluster.address, actors=3)
    wait_for(lambda: len(actors()) == 3, driver)
    wait_for_marks(out, 1, driver)
    cluster.remove_node(node, allow_graceful=False)
    code, said, errors = driver.ended()
    assert f"{len(expected)} photographs" in said, errors
    assert sorted(row["uri"] for row in rows_of(out)) == expected
    assert code == 0, errors


def test_the_aligner_is_a_class_for_map_batches(address: str, astronaut_jpeg: bytes) -> None:
    import ray.data

    from lwbafa.bulk.aligner import BulkAligner
    from lwbafa.engine.choose import EngineOptions

    torn = astronaut_jpeg[:2000]
    contents = [torn if index == 3 else astronaut_jpeg for index in range(6)]
    ray.init(address=address, log_to_driver=False)
    try:
        given = ray.data.from_items(
            [{"uri": str(index), "bytes": content} for index, content in enumerate(contents)]
        )
        aligned = given.map_batches(
            BulkAligner,
            fn_constructor_kwargs={"engine": EngineOptions(threads=1)},
            batch_format="pyarrow",
            batch_size=4,
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=2),
        )
        rows = sorted(aligned.take_all(), key=lambda row: int(row["uri"]))
    finally:
        ray.shutdown()
    assert [row["status"] for row in rows] == ["ok"] * 3 + ["error"] + ["ok"] * 2
    assert rows[3]["error"]["code"] == "truncated_image"
    assert [len(row["faces"]) for row in rows] == [1, 1, 1, 0, 1, 1]
    assert len(rows[0]["faces"][0]["landmarks"]) == 68
