"""Shards from what they are made of to their parts and marks, with an aligner that is quick."""

import errno
import io
import os
import subprocess
import sys
import tarfile
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from lwbafa.bulk import store
from lwbafa.errors import NoSources, PartMismatch, StoreError
from proof.harness import ROOT

pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
parquet = pytest.importorskip("pyarrow.parquet")

from lwbafa.bulk.plan import Plan  # noqa: E402
from lwbafa.bulk.tries import MOST_DEATHS, MOST_QUICK_TRIES, Tries  # noqa: E402
from lwbafa.bulk.worker import Mark, ShardWorker, done_shards  # noqa: E402
from tests.lwbafa.bulk.quick import Quick  # noqa: E402

SETTINGS: dict[str, str | int | list[str]] = {
    "shard_size": 4,
    "column": "bytes",
    "boxes_column": "boxes",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    (folder / "deep").mkdir(parents=True)
    for i in range(10):
        (folder / "deep" / f"{i}.jpg").write_bytes(bytes([i]))
    (folder / "notes.txt").touch()
    (folder / ".hidden.jpg").touch()
    return folder


def planned(out: Path | str, *named: Path | str, **settings: str | int) -> Plan:
    return Plan.of_run(str(out), [str(name) for name in named], SETTINGS | settings)


def worked(out: Path | str, plan: Plan) -> list[Mark]:
    worker = ShardWorker(str(out), Quick())
    return [worker.work(shard) for shard in range(len(plan))]


def rows_of(out: Path) -> list[dict[str, Any]]:
    return [
        row
        for part in sorted((out / "parts").glob("*.parquet"))
        for row in parquet.read_table(part).to_pylist()
    ]


def tar_of(path: Path, names: Sequence[str]) -> None:
    with tarfile.open(path, "w") as tar:
        for index, name in enumerate(names):
            member = tarfile.TarInfo(name)
            member.size = 600
            tar.addfile(member, io.BytesIO(bytes([index]) * 600))


def test_a_folder_is_shards_of_one_size_and_the_plan_stays(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    plan = planned(out, folder)
    assert [shard.photographs for shard in map(plan.__getitem__, range(3))] == [4, 4, 2]
    (folder / "deep" / "new.jpg").write_bytes(b"x")
    assert len(planned(out, folder)) == 3
    with pytest.raises(PartMismatch, match="begun with other settings"):
        planned(out, folder, shard_size=5)
    with pytest.raises(PartMismatch):
        planned(out, folder / "deep")


def test_a_file_that_is_no_plan_is_said_to_be_none(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    path = tmp_path / "out" / "plan.parquet"
    for table in pyarrow.table({"a": [1]}), pyarrow.table({"a": [1]}, metadata={"b": "c"}):
        parquet.write_table(table, path)
        with pytest.raises(PartMismatch, match="is no plan of a run"):
            planned(tmp_path / "out", folder)
    path.write_text("no table")
    with pytest.raises(PartMismatch, match="is no plan of a run"):
        planned(tmp_path / "out", folder)
    assert path.read_text() == "no table"


def test_links_that_lead_back_are_followed_once_and_pipes_not_at_all(
    folder: Path, tmp_path: Path
) -> None:
    (folder / "deep" / "up").symlink_to(folder)
    (folder / "itself").symlink_to("itself")
    (folder / "other").symlink_to(tmp_path / "elsewhere")
    (folder / "gone.jpg").symlink_to("absent.jpg")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "x.jpg").write_bytes(b"x")
    os.mkfifo(folder / "pipe.jpg")
    out = tmp_path / "out"
    worked(out, planned(out, folder))
    found = [str(Path(row["uri"]).relative_to(folder)) for row in rows_of(out)]
    assert found == [*(f"deep/{i}.jpg" for i in range(10)), "gone.jpg", "other/x.jpg"]


def test_names_that_are_no_text_are_rows_all_the_same(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff.jpg")).write_bytes(b"a")
    (folder / "new\nline.jpg").write_bytes(b"b")
    tar_of(folder / "x.tar", [os.fsdecode(b"\xfe.jpg")])
    out = tmp_path / "out"
    worked(out, planned(out, folder))
    assert {(row["uri"], row["status"]) for row in rows_of(out)} == {
        (f"{folder}/\\xff.jpg", "ok"),
        (f"{folder}/new\nline.jpg", "ok"),
        (f"{folder}/x.tar#\\xfe.jpg", "ok"),
    }


def test_a_plan_whose_names_are_text_goes_on(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    planned(out, folder)
    table = parquet.read_table(out / "plan.parquet")
    place = table.schema.get_field_index("uris")
    text = pyarrow.field("uris", pyarrow.list_(pyarrow.string()))
    parquet.write_table(table.cast(table.schema.set(place, text)), out / "plan.parquet")
    assert planned(out, folder)[0].uris[0] == str(folder / "deep" / "0.jpg")


def test_what_a_glob_finds_of_folders_is_searched(folder: Path, tmp_path: Path) -> None:
    (folder / "top.jpg").touch()
    for glob in "*", "**", "**/*.jpg":
        plan = planned(tmp_path / uuid.uuid4().hex, folder / glob)
        uris = [uri for shard in range(len(plan)) for uri in plan[shard].uris]
        assert len(uris) == len(set(uris)) == 11, glob


def test_folders_without_photographs_are_told_from_names_that_lead_nowhere(
    folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    assert len(planned(tmp_path / "out", folder, tmp_path / "empty")) == 3
    with pytest.raises(NoSources, match="no photographs in what was named"):
        planned(tmp_path / "none", tmp_path / "empty")
    with pytest.raises(NoSources, match="an empty name"):
        planned(tmp_path / "none", "")
    for inside in folder, folder / "deep":
        with pytest.raises(NoSources, match="lies in --out"):
            planned(folder, inside)
    assert not (folder / "plan.parquet").exists()


def test_every_photograph_is_a_row_and_what_is_gone_a_row_with_its_error(
    folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    plan = planned(out, folder, folder / "deep" / "3.jpg")
    (folder / "deep" / "5.jpg").unlink()
    marks = worked(out, plan)
    assert [mark.photographs for mark in marks] == [4, 4, 2]
    assert [mark.failures for mark in marks] == [{}, {"unreadable_file": 1}, {}]
    rows = rows_of(out)
    assert [Path(row["uri"]).name for row in rows] == [f"{i}.jpg" for i in range(10)]
    assert [(row["shard"], row["index"]) for row in rows[3:5]] == [(0, 3), (1, 0)]
    assert rows[5]["error"] == {"code": "unreadable_file", "text": "No such file or directory"}
    assert [row["width"] for row in rows if row["status"] == "ok"] == [0, 1, 2, 3, 4, 6, 7, 8, 9]


def test_a_shard_that_is_done_is_not_done_again_unless_its_part_is_gone(
    folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    marks = worked(out, planned(out, folder))
    assert done_shards(str(out)) == {0, 1, 2}
    (folder / "deep" / "0.jpg").write_bytes(b"\xff")
    assert worked(out, Plan(str(out))) == marks
    assert rows_of(out)[0]["width"] == 0
    (out / "parts" / "part-000000.parquet").unlink()
    assert done_shards(str(out)) == {1, 2}
    worked(out, Plan(str(out)))
    assert rows_of(out)[0]["width"] == 255
    assert len(rows_of(out)) == 10


def test_a_tar_is_a_shard_and_one_that_ends_early_says_so(tmp_path: Path) -> None:
    names = ["a/0.jpg", "a/0.json", "a/1.png", "a/2.webp"]
    for name in ("whole", "cut", "headless"):
        tar_of(tmp_path / f"{name}.tar", names)
    content = (tmp_path / "whole.tar").read_bytes()
    (tmp_path / "cut.tar").write_bytes(content[: 3 * 512 * 3 - 700])  # within 1.png
    (tmp_path / "headless.tar").write_bytes(content[: 3 * 512 * 3])  # just before 2.webp
    (tmp_path / "none.tar").write_bytes(b"no tar" * 200)
    out = tmp_path / "out"
    plan = planned(out, tmp_path)
    assert [Path(plan[i].uris[0]).stem for i in range(4)] == ["cut", "headless", "none", "whole"]
    marks = worked(out, plan)
    assert [mark.photographs - sum(mark.failures.values()) for mark in marks] == [1, 2, 0, 3]
    assert [mark.failures for mark in marks] == [{"unreadable_shard": 1}] * 3 + [{}]
    rows = rows_of(out)
    assert rows[-1]["uri"] == f"{tmp_path}/whole.tar#a/2.webp"
    assert rows[-1]["width"] == 3


def test_parquet_is_read_by_row_groups_of_bytes_uris_or_hugging_faces_images(
    folder: Path, tmp_path: Path
) -> None:
    path, out = tmp_path / "in.parquet", tmp_path / "out"
    contents = [*(bytes([i]) for i in range(11)), None]
    uris = [str(folder / "deep" / f"{i % 10}.jpg") for i in range(12)]
    images = [{"bytes": content, "path": None} for content in contents]
    table = pyarrow.table({"bytes": contents, "uri": uris, "image": images})
    parquet.write_table(table, path, row_group_size=3)
    plan = planned(out, path)
    assert [(plan[i].groups, plan[i].photographs) for i in range(2)] == [([0, 1], 6), ([2, 3], 6)]
    assert [mark.photographs for mark in worked(out, plan)] == [6, 6]
    rows = rows_of(out)
    assert [row["uri"] for row in rows] == [f"{path}#{i}" for i in range(12)]
    assert [row["width"] for row in rows] == [*range(11), None]
    worked(tmp_path / "uris", planned(tmp_path / "uris", path, column="uri"))
    assert [row["uri"] for row in rows_of(tmp_path / "uris")] == uris
    worked(tmp_path / "images", planned(tmp_path / "images", path, column="image"))
    assert [row["width"] for row in rows_of(tmp_path / "images")] == [*range(11), None]
    with pytest.raises(NoSources, match="has no column other, which --column names, but: bytes"):
        planned(tmp_path / "other", path, column="other")
    for wrong in [1, 2], [[255, 216], []]:
        parquet.write_table(pyarrow.table({"bytes": wrong}), path)
        with pytest.raises(NoSources, match="no encoded photographs or URIs"):
            planned(tmp_path / "other", path)
    for right in [None], pyarrow.array([b"x"], pyarrow.large_binary()), ["a"]:
        parquet.write_table(pyarrow.table({"bytes": right}), path)
        assert len(planned(tmp_path / uuid.uuid4().hex, path)) == 1


def test_parquet_that_is_none_is_a_row_with_its_error(tmp_path: Path) -> None:
    (tmp_path / "in.parquet").write_text("no table")
    (mark,) = worked(tmp_path / "out", planned(tmp_path / "out", tmp_path / "in.parquet"))
    assert mark.failures == {"unreadable_shard": 1}


def test_parquet_that_is_damaged_is_a_row_with_its_error_and_ends_no_run(tmp_path: Path) -> None:
    out, path = tmp_path / "out", tmp_path / "in"
    path.mkdir()
    for name in ("end", "page", "whole"):
        parquet.write_table(
            pyarrow.table({"bytes": [b"a", b"b"]}), path / f"{name}.parquet", compression="gzip"
        )
    damage(path / "end.parquet", -300)
    damage(path / "page.parquet", 40)
    end, page, whole = worked(out, planned(out, path))
    assert end.failures == page.failures == {"unreadable_shard": 1}
    assert end.left == page.left == ""
    assert (whole.photographs, whole.failures) == (2, {})


def damage(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at : at + 20] = bytes([255]) * 20
    path.write_bytes(content)


def test_a_store_is_read_and_written_by_its_url(folder: Path) -> None:
    pytest.importorskip("fsspec", reason="fsspec is not installed")
    base = f"memory://{uuid.uuid4().hex}"
    for path in sorted((folder / "deep").iterdir()):
        store.write(f"{base}/in/{path.name}", path.read_bytes())
    out = f"{base}/out"
    plan = planned(out, f"{base}/in")
    assert [mark.photographs for mark in worked(out, plan)] == [4, 4, 2]
    assert done_shards(out) == {0, 1, 2}
    part = parquet.read_table(io.BytesIO(store.read(f"{out}/parts/part-000002.parquet")))
    assert part["width"].to_pylist() == [8, 9]
    assert part["uri"].to_pylist()[0].endswith("/in/8.jpg")
    assert "://" in part["uri"].to_pylist()[0]
    with pytest.raises(FileExistsError):
        store.create(f"{out}/plan.parquet", b"other")
    with pytest.raises(StoreError):
        store.read("nowhere://x")


def test_a_package_that_is_missing_leaves_the_shard_and_a_url_that_means_nothing_is_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "uris.parquet"
    uris = ["nowhere://x", "memory://y"]
    parquet.write_table(pyarrow.table({"uri": uris}), file, row_group_size=1)
    out = tmp_path / "out"
    plan = planned(out, file, column="uri", shard_size=1)
    url_to_fs = pytest.importorskip("fsspec").core.url_to_fs

    def missing(uri: str) -> Any:
        if uri.startswith("memory:"):
            raise ImportError("Install it")
        return url_to_fs(uri)

    monkeypatch.setattr("fsspec.core.url_to_fs", missing)
    marks = worked(out, plan)
    assert [(mark.failures, mark.left) for mark in marks] == [
        ({"unreadable_file": 1}, ""),
        ({}, "PackageMissing: memory://y: Install it"),
    ]
    assert done_shards(str(out)) == {0}


def test_a_store_that_fails_leaves_the_shard_for_later(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    plan = planned(out, folder)
    write = store.write

    def fails(uri: str, content: bytes) -> None:
        if "part-000001" in uri:
            raise OSError("the disk is full")
        write(uri, content)

    monkeypatch.setattr(store, "write", fails)
    marks = worked(out, plan)
    assert [mark.left for mark in marks] == ["", "OSError: the disk is full", ""]
    monkeypatch.undo()
    assert done_shards(str(out)) == {0, 2}
    assert worked(out, plan)[1].photographs == 4
    assert len(rows_of(out)) == 10


def test_of_two_that_plan_at_once_one_does(tmp_path: Path) -> None:
    store.create(str(tmp_path / "plan"), b"first")
    with pytest.raises(FileExistsError):
        store.create(str(tmp_path / "plan"), b"second")
    assert store.read(str(tmp_path / "plan")) == b"first"
    assert not list((tmp_path / store.ASIDE).iterdir())


def test_a_store_that_cannot_tell_who_was_first_is_planned_by_one_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As OpenStack Swift's S3 interface, which answers a conditional PUT with 501."""
    memory = pytest.importorskip("fsspec.implementations.memory").MemoryFileSystem
    pipe_file = memory.pipe_file

    def unconditional(self: Any, path: str, value: bytes, mode: str = "overwrite") -> None:
        if mode == "create":
            raise OSError(errno.ENOSYS, "Conditional object PUTs are not supported.")
        pipe_file(self, path, value, mode)

    monkeypatch.setattr(memory, "pipe_file", unconditional)
    out = f"memory://{uuid.uuid4().hex}"
    with pytest.raises(StoreError, match="make the plan first, with --only-plan"):
        planned(out, folder)
    assert len(Plan.of_run(out, [str(folder)], SETTINGS, alone=True)) == 3
    assert len(planned(out, folder)) == 3


def test_what_a_killed_attempt_left_is_tidied_by_the_next(tmp_path: Path) -> None:
    left = tmp_path / store.ASIDE / "a.json.0123"
    other = tmp_path / store.ASIDE / "b.json.0123"
    left.parent.mkdir()
    left.touch()
    other.touch()
    store.write(str(tmp_path / "a.json"), b"whole")
    assert not left.exists()
    assert other.exists()


def test_a_photograph_that_ends_its_process_each_time_becomes_an_error(
    folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    planned(out, folder)
    command = [sys.executable, "-m", "tests.lwbafa.bulk.quick", str(out), "5.jpg"]
    deaths = 0
    while subprocess.run(command, cwd=ROOT).returncode == 9:
        deaths += 1
        assert deaths <= MOST_QUICK_TRIES + MOST_DEATHS
    assert deaths == MOST_QUICK_TRIES + MOST_DEATHS
    rows = rows_of(out)
    assert len(rows) == 10
    failed = [(Path(row["uri"]).name, row["error"]["code"]) for row in rows if row["error"]]
    assert failed == [("5.jpg", "worker_died")]
    assert os.listdir(out / "tries") == [store.ASIDE]  # noqa: PTH208


def test_who_was_there_by_chance_when_a_process_died_is_tried_again(tmp_path: Path) -> None:
    uri = str(tmp_path / "tries.json")
    for _ in range(MOST_QUICK_TRIES):
        assert not Tries(uri).careful
    Tries(uri).trying(2)
    again = Tries(uri)
    assert again.careful
    assert not again.to_blame(2)
    again.trying(3)
    assert not Tries(uri).to_blame(2)
