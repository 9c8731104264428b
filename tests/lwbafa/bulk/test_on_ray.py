"""A real Ray cluster of which a node goes away, and the aligner in a pipeline of Ray Data's.

Killed processes are tests/proof/test_bulk.py's.
"""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'lwbafa[ray]'")

from proof.bulk.cluster import Command, actors, add_node, nodes  # noqa: E402
from proof.bulk.photographs import make  # noqa: E402
from proof.bulk.rows import complete, rows_of  # noqa: E402

# Ray's and pandas' own warnings, of which nothing here can be changed.
pytestmark = pytest.mark.filterwarnings("default")

PHOTOGRAPHS = 120
SHARD_SIZE = 5


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with nodes() as cluster:
        yield cluster


def test_a_node_that_goes_away_takes_nothing_with_it(cluster: Any, tmp_path: Path) -> None:
    made = make(tmp_path / "photographs", PHOTOGRAPHS, SHARD_SIZE)
    out = tmp_path / "out"
    node = add_node(cluster)
    options = ("--shard-size", SHARD_SIZE, "--address", cluster.address, "--actors", 1, 3)
    command = Command(made.folder, out, *options)
    assert command.wait_for(lambda: len(actors()) == 3), command.ended()
    assert command.wait_for(lambda: command.marks() >= 1), command.ended()
    cluster.remove_node(node, allow_graceful=False)
    code, said, errors = command.ended()
    assert f"{PHOTOGRAPHS} photographs" in said, errors
    assert code == 0, errors
    for promise in complete(rows_of(out), made):
        assert promise.kept, promise


def test_an_actor_that_dies_before_it_has_begun_is_replaced(cluster: Any, tmp_path: Path) -> None:
    made = make(tmp_path / "photographs", 10, SHARD_SIZE)
    out = tmp_path / "out"
    options = ("--shard-size", SHARD_SIZE, "--address", cluster.address, "--actors", 1, 1)
    command = Command(made.folder, out, *options)
    assert command.wait_for(kill_one_that_begins), command.ended()
    code, said, errors = command.ended()
    assert code == 0, errors
    assert "10 photographs" in said


def kill_one_that_begins() -> bool:
    for process in actors():
        with suppress(psutil.Error):
            if "__init__" in " ".join(process.cmdline()):
                process.kill()
                return True
    return False


def test_the_aligner_is_a_class_for_map_batches(cluster: Any, astronaut_jpeg: bytes) -> None:
    import ray.data

    from lwbafa.bulk.aligner import BulkAligner
    from lwbafa.engine.choose import EngineOptions

    torn = astronaut_jpeg[:2000]
    contents = [torn if index == 3 else astronaut_jpeg for index in range(6)]
    ray.init(address=cluster.address, log_to_driver=False)
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
