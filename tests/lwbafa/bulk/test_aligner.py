"""`BulkAligner` with the real network: rows for whatever comes, one for each."""

import pickle
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lwbafa import DetectorOptions, EngineOptions
from lwbafa.bulk.aligner import AlignerOptions, BulkAligner
from lwbafa.detection import network
from lwbafa.engine import Alignment
from lwbafa.errors import DeviceLost
from lwbafa.imaging.photograph import Photograph
from lwbafa.types import Pixels


@pytest.fixture(scope="module")
def aligner() -> BulkAligner:
    return BulkAligner(engine=EngineOptions(threads=1))


def test_paths_uris_and_bytes_are_rows_in_their_order(
    aligner: BulkAligner, astronaut_jpeg: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "face.jpg"
    path.write_bytes(astronaut_jpeg)
    torn = astronaut_jpeg[: len(astronaut_jpeg) // 2]
    sources: list[str | Path | bytes]
    sources = [path, f"{path}", astronaut_jpeg, torn, b"", tmp_path / "gone.jpg"]
    rows = aligner.rows(sources)
    assert [row["file"] for row in rows] == [str(path)] * 2 + ["#2", "#3", "#4"] + [
        str(tmp_path / "gone.jpg")
    ]
    assert [row["status"] for row in rows] == ["ok"] * 3 + ["error"] * 3
    assert [row["error"]["code"] for row in rows[3:]] == [
        *("truncated_image", "empty_body", "unreadable_file")
    ]
    assert rows[0]["faces"] == rows[1]["faces"] == rows[2]["faces"]
    assert (rows[0]["width"], rows[0]["height"], len(rows[0]["faces"])) == (512, 512, 1)


def test_boxes_that_are_known_are_taken(aligner: BulkAligner, astronaut_jpeg: bytes) -> None:
    boxes = [[(181, 86, 88, 92)], [(9000, 0, 5, 5)], None]
    rows = aligner.rows([astronaut_jpeg] * 3, boxes, ["a", "b", "c"])
    assert [row["file"] for row in rows] == ["a", "b", "c"]
    assert rows[0]["faces"][0]["box"]["x"] == 181
    assert rows[0]["faces"][0]["box"]["score"] is None
    assert rows[1]["error"]["code"] == "invalid_parameter"
    assert rows[2]["faces"][0]["box"]["score"] > 0.5
    wrong: list[Any] = [[(1, 2, 3)], [181, 86, 88, 92], [(1, 2, None, 4)], [(1, 2, 3, 4, 5, 6)]]
    for row in aligner.rows([astronaut_jpeg] * 4, wrong):
        assert row["error"]["code"] == "invalid_parameter"
        assert row["error"]["text"].startswith("boxes[0] is not x, y, width, height")


@pytest.fixture
def given(aligner: BulkAligner, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many faces the engine was given at a time."""
    counts: list[int] = []
    engine = aligner._aligner.engine
    align = engine.align

    def counting(crops: Sequence[Pixels]) -> list[Alignment]:
        counts.append(len(crops))
        return align(crops)

    monkeypatch.setattr(engine, "align", counting)
    return counts


def test_faces_of_several_photographs_go_to_the_engine_together(
    aligner: BulkAligner, given: list[int], astronaut_jpeg: bytes
) -> None:
    box = (181, 86, 88, 92)
    boxes = [[box], [box] * 3, [], [box], [box], [box, (170, 80, 99, 99)], [box]]
    alone = [aligner.rows([astronaut_jpeg], [of_one]) for of_one in boxes]
    assert given == [1, 3, 1, 1, 2, 1]
    given.clear()
    rows = aligner.rows([astronaut_jpeg] * 7, boxes)
    assert given == [8, 1]
    assert [row["faces"] for row in rows] == [row["faces"] for (row,) in alone]
    given.clear()
    aligner.rows([astronaut_jpeg, b""] * 10, [[box]] * 20)
    assert given == [4, 4, 2]


def test_a_face_that_the_engine_fails_on_is_its_photographs_error_alone(
    aligner: BulkAligner, monkeypatch: pytest.MonkeyPatch, astronaut_jpeg: bytes
) -> None:
    engine = aligner._aligner.engine
    align = engine.align
    boxes = [[(181, 86, 88, 92)], [(0, 400, 50, 50)], [(170, 80, 99, 99)]]
    deadly = aligner._aligner.prepare(Photograph.open(astronaut_jpeg), boxes[1], 1).pixels[0]

    def failing(error: Exception, crops: Sequence[Pixels]) -> list[Alignment]:
        if any(np.array_equal(crop, deadly) for crop in crops):
            raise error
        return align(crops)

    monkeypatch.setattr(engine, "align", partial(failing, MemoryError("none left")))
    rows = aligner.rows([astronaut_jpeg] * 3, boxes)
    assert [row["status"] for row in rows] == ["ok", "error", "ok"]
    assert rows[1]["error"]["text"] == "none left"
    monkeypatch.setattr(engine, "align", partial(failing, DeviceLost("gone")))
    with pytest.raises(DeviceLost):
        aligner.rows([astronaut_jpeg] * 3, boxes)


def test_each_photograph_is_searched_on_one_thread_whatever_the_machine_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Others are decoded beside it, and the other CPUs may be other actors'."""
    monkeypatch.setattr(network, "granted_cpus", lambda: 4)
    options = AlignerOptions("lwbafa-lite-300w68", "yunet", 16)
    aligners = [BulkAligner(engine=EngineOptions(threads=1)), options.aligner()]
    told = BulkAligner(detector=DetectorOptions(threads=2), engine=EngineOptions(threads=2))
    searches = [aligner._aligner.detector.detector for aligner in (*aligners, told)]
    shared = [search._network._of_all for search in searches]  # type: ignore[attr-defined]
    assert [network is not None for network in shared] == [False, False, True]


def test_faces_are_searched_for_as_finely_as_asked(
    aligner: BulkAligner, small_faces_jpeg: bytes
) -> None:
    finer = BulkAligner(engine=EngineOptions(threads=1), detection_px=2700)
    assert len(aligner.rows([small_faces_jpeg])[0]["faces"]) == 0
    again = pickle.loads(pickle.dumps(finer))  # noqa: S301
    for each in finer, again:
        assert len(each.rows([small_faces_jpeg])[0]["faces"]) == 2


@pytest.mark.parametrize("wrong", [0, 3841])
def test_too_fine_a_search_is_refused_when_it_is_made(wrong: int) -> None:
    with pytest.raises(ValueError, match="detection_px is 1 to 3840"):
        BulkAligner(engine=EngineOptions(threads=1), detection_px=wrong)


def test_a_limit_that_leaves_no_face_is_refused(
    aligner: BulkAligner, astronaut_jpeg: bytes
) -> None:
    """Below 0 it would leave out the last faces, as Python counts."""
    for wrong in 0, -1:
        with pytest.raises(ValueError, match="max_faces is 1 or more"):
            BulkAligner(max_faces=wrong)
        with pytest.raises(ValueError, match="max_faces is 1 or more"):
            aligner._aligner.align(astronaut_jpeg, max_faces=wrong)


def test_it_is_pickled_by_what_it_was_made_with(aligner: BulkAligner) -> None:
    assert len(pickle.dumps(aligner)) < 1000
    again = pickle.loads(pickle.dumps(aligner))  # noqa: S301
    assert isinstance(again, BulkAligner)
    assert again.rows([b""])[0]["error"]["code"] == "empty_body"


def test_a_table_becomes_a_table_with_nested_faces(
    aligner: BulkAligner, astronaut_jpeg: bytes, tmp_path: Path
) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    from lwbafa.bulk.nested import SCHEMA

    (tmp_path / "face.jpg").write_bytes(astronaut_jpeg)
    uris = ["a", "b", str(tmp_path / "face.jpg")]
    of_bytes = aligner(pyarrow.table({"uri": uris, "bytes": [astronaut_jpeg, b"x", None]}))
    of_uris = aligner(pyarrow.table({"uri": [str(tmp_path / "face.jpg")]}))
    assert of_bytes.schema == of_uris.schema == SCHEMA
    first, second, third = of_bytes.to_pylist()
    assert third["faces"] == first["faces"]
    assert (first["uri"], first["error"], second["error"]["code"]) == (
        *("a", None, "unsupported_media_type"),
    )
    (face,) = first["faces"]
    assert len(face["landmarks"]) == len(face["scores"]) == 68
    assert set(face["box"]) == {"x", "y", "width", "height", "roll_degrees", "score"}
    assert of_uris.to_pylist()[0]["faces"] == first["faces"]
    nameless = aligner(
        pyarrow.table({"uri": pyarrow.array([None], pyarrow.string()), "bytes": [b"x"]})
    )
    assert [row["uri"] for row in nameless.to_pylist()] == ["#0"]
    assert aligner(SCHEMA.empty_table().select(["uri"])).num_rows == 0
