"""Rows as a Parquet file: one line for each face. Needs pyarrow, the extra `lwbafa[parquet]`."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import IO, Any

import pyarrow
import pyarrow.parquet

from lwbafa.bulk.rows import Row
from lwbafa.markups import Markup

LINES_AT_A_TIME = 1000

_NUMBERS = pyarrow.list_(pyarrow.float64())
_SCHEMA = pyarrow.schema(
    {
        "file": pyarrow.string(),
        "frame": pyarrow.int64(),
        "status": pyarrow.string(),
        "error_code": pyarrow.string(),
        "error_text": pyarrow.string(),
        "width": pyarrow.int32(),
        "height": pyarrow.int32(),
        "face_id": pyarrow.int32(),
        "score": pyarrow.float64(),
        "box": _NUMBERS,
        "box_score": pyarrow.float64(),
        "x": _NUMBERS,
        "y": _NUMBERS,
        "scores": _NUMBERS,
    }
)
"""`box` is x, y, width, height, roll_degrees; `x`, `y` and `scores` are in the markup's order."""


def write_parquet(rows: Iterable[Row], file: IO[bytes], markup: Markup) -> None:
    """One line for each face; a picture without one, or with an error, has its line as well."""
    lines = (line for row in rows for line in _lines(row))
    with pyarrow.parquet.ParquetWriter(file, _SCHEMA) as writer:
        while some := list(islice(lines, LINES_AT_A_TIME)):
            writer.write_table(pyarrow.Table.from_pylist(some, _SCHEMA))


def _lines(row: Row) -> Iterator[dict[str, Any]]:
    error = row.get("error", {})
    begin = {name: row.get(name) for name in ("file", "frame", "status", "width", "height")}
    begin |= {"error_code": error.get("code"), "error_text": error.get("text")}
    for index, face in enumerate(row["faces"]):
        box = face["box"]
        yield begin | {
            "face_id": index,
            "score": face["score"],
            "box": [box[name] for name in ("x", "y", "width", "height", "roll_degrees")],
            "box_score": box["score"],
            "x": [point["x"] for point in face["landmarks"]],
            "y": [point["y"] for point in face["landmarks"]],
            "scores": [point["score"] for point in face["landmarks"]],
        }
    if not row["faces"]:
        yield begin
