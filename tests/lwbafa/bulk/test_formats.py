"""What a run ends with, read back by what usually reads it."""

import csv
import io
import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lwbafa.bulk import formats, pts
from lwbafa.bulk.sources import find_sources
from lwbafa.markups import MARKUP_68
from lwbafa.plain import plain_face
from lwbafa.types import FaceBox
from training.datasets import read_pts

POINTS = np.arange(136).reshape(68, 2) + 0.25


def face(shift: float = 0.0) -> dict[str, Any]:
    return {
        "box": {"x": 1.0, "y": 2.0, "width": 3.0, "height": 4.0, "roll_degrees": 0.0, "score": 0.9},
        "score": 0.75,
        "landmarks": [{"x": x + shift, "y": y, "score": 0.5} for x, y in POINTS.tolist()],
    }


ROWS: list[dict[str, Any]] = [
    {"file": "ä.jpg", "status": "ok", "width": 9, "height": 8, "faces": [face(), face(1)]},
    {"file": "none.jpg", "status": "ok", "width": 9, "height": 8, "faces": []},
    {
        "file": "bad.jpg",
        "status": "error",
        "error": {"code": "truncated_image", "text": "It ends, early."},
        "width": None,
        "height": None,
        "faces": [],
    },
    {"file": "v.mp4", "frame": 3, "status": "ok", "width": 9, "height": 8, "faces": [face()]},
]


def written(write: formats.Write) -> bytes:
    file = io.BytesIO()
    write(ROWS, file, MARKUP_68)
    return file.getvalue()


def test_jsonl_is_the_rows() -> None:
    assert [json.loads(line) for line in written(formats.write_jsonl).splitlines()] == ROWS


def test_csv_has_openfaces_columns() -> None:
    lines = list(csv.DictReader(io.StringIO(written(formats.write_csv).decode())))
    head = list(lines[0])
    assert head[:6] == ["file", "frame", "face_id", "confidence", "success", "x_0"]
    assert head[72:75] == ["x_67", "y_0", "y_1"]
    assert head[-2:] == ["y_67", "error"]
    shown = [(line["file"], line["frame"], line["face_id"], line["success"]) for line in lines]
    assert shown == [
        ("ä.jpg", "1", "0", "1"),
        ("ä.jpg", "1", "1", "1"),
        ("none.jpg", "1", "0", "0"),
        ("bad.jpg", "1", "0", "0"),
        ("v.mp4", "3", "0", "1"),
    ]
    assert (lines[1]["x_1"], lines[1]["y_67"], lines[1]["confidence"]) == (
        "3.250",
        "135.250",
        "0.7500",
    )
    assert (lines[2]["x_0"], lines[2]["error"]) == ("", "")
    assert lines[3]["error"] == "truncated_image: It ends, early."


def test_coco_has_keypoints_and_says_what_failed() -> None:
    coco = json.loads(written(formats.write_coco))
    assert [image["file_name"] for image in coco["images"]] == ["ä.jpg", "none.jpg", "v.mp4"]
    assert coco["images"][2]["frame"] == 3
    assert [face["image_id"] for face in coco["annotations"]] == [1, 1, 3]
    assert [face["id"] for face in coco["annotations"]] == [1, 2, 3]
    first = coco["annotations"][0]
    assert first["keypoints"][:6] == [0.25, 1.25, 2, 2.25, 3.25, 2]
    assert (first["num_keypoints"], first["bbox"]) == (68, [0.25, 1.25, 134.0, 134.0])
    (category,) = coco["categories"]
    assert category["keypoints"][36] == "left_eye_36"
    assert category["skeleton"][0] == [1, 2]
    assert max(max(line) for line in category["skeleton"]) == 68
    assert coco["errors"] == [
        {"file_name": "bad.jpg", "code": "truncated_image", "text": "It ends, early."}
    ]


def test_parquet_has_a_line_for_each_face() -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    from lwbafa.bulk.parquet import write_parquet

    lines = parquet.read_table(io.BytesIO(written(write_parquet))).to_pylist()
    assert [line["file"] for line in lines] == [
        *("ä.jpg", "ä.jpg", "none.jpg", "bad.jpg", "v.mp4"),
    ]
    assert lines[0]["x"][:2] == [0.25, 2.25]
    assert lines[2]["x"] is None
    assert (lines[3]["error_code"], lines[4]["frame"]) == ("truncated_image", 3)


def test_parquet_without_pyarrow_is_a_missing_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "lwbafa.bulk.parquet", raising=False)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ModuleNotFoundError):
        import lwbafa.bulk.parquet  # noqa: F401


def test_pts_are_what_training_reads(tmp_path: Path) -> None:
    for name in ("deep/ä.jpg", "none.jpg", "bad.jpg", "v.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    sources = find_sources([str(tmp_path)])
    assert list(pts.already_there(sources)) == []
    of_file = {source.path.name: source.name for source in sources}
    rows = [row | {"file": of_file[row["file"]]} for row in ROWS]
    pts.write_pts_files(rows, sources, None)
    pts.write_pts_files(rows, sources, tmp_path / "out")
    for folder in (tmp_path, tmp_path / "out"):
        assert np.allclose(read_pts(folder / "deep" / "ä.pts"), POINTS)
        assert np.allclose(read_pts(folder / "deep" / "ä.face2.pts"), POINTS + np.array([1, 0]))
        assert np.allclose(read_pts(folder / "v.frame000003.pts"), POINTS)
        assert not (folder / "none.pts").exists()
    assert "\n1.250 2.250\n" in (tmp_path / "deep" / "ä.pts").read_text()
    assert {path.name for path in pts.already_there(sources)} == {
        *("ä.pts", "ä.face2.pts", "v.frame000003.pts"),
    }


def test_scores_that_are_not_defined_are_none() -> None:
    nothing = np.full(2, np.nan, np.float32)
    plain = plain_face(FaceBox(0, 0, 1, 1), None, float("nan"), np.zeros((2, 2)), nothing)
    assert (plain["score"], plain["landmarks"][0]["score"]) == (None, None)
    json.dumps(plain, allow_nan=False)


def test_a_result_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text("before")

    def fails() -> None:
        with formats.written_aside(path) as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fails()
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_result_may_have_a_name_as_long_as_names_may_be(tmp_path: Path) -> None:
    path = tmp_path / f"{'ä' * 125}x.pts"
    assert len(path.name.encode()) == 255
    with formats.written_aside(path) as file:
        file.write(b"whole")
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_the_recipe_for_spark_declares_the_columns_that_there_are() -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    from lwbafa.bulk.nested import SCHEMA

    document = (Path(__file__).parents[3] / "docs" / "bulk.md").read_text()
    (declared,) = re.findall(r'^ROW = """(.*?)"""', document, re.DOTALL | re.MULTILINE)
    columns = ", ".join(f"{column.name} {_of_spark(column.type)}" for column in SCHEMA)
    assert " ".join(declared.split()) == columns


def _of_spark(type_: Any) -> str:
    """An Arrow type as Spark's DDL writes it."""
    import pyarrow

    if pyarrow.types.is_struct(type_):
        return f"struct<{', '.join(f'{field.name}: {_of_spark(field.type)}' for field in type_)}>"
    if pyarrow.types.is_list(type_):
        return f"array<{_of_spark(type_.value_type)}>"
    return {"int32": "int"}.get(str(type_), str(type_))
