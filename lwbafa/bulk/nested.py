"""Rows as a Parquet table: one line for each photograph, its faces nested. Needs pyarrow."""

import io
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import pyarrow
import pyarrow.parquet

from lwbafa.bulk.rows import Row
from lwbafa.bulk.sources import as_text

LINES_AT_A_TIME = 1000

_BOX = pyarrow.struct(
    {name: pyarrow.float32() for name in ("x", "y", "width", "height", "roll_degrees", "score")}
)
_FACE = pyarrow.struct(
    {
        "box": _BOX,
        "score": pyarrow.float32(),
        "landmarks": pyarrow.list_(
            pyarrow.struct({"x": pyarrow.float32(), "y": pyarrow.float32()})
        ),
        "scores": pyarrow.list_(pyarrow.float32()),
    }
)
SCHEMA = pyarrow.schema(
    {
        "uri": pyarrow.string(),
        "status": pyarrow.string(),
        "error": pyarrow.struct({"code": pyarrow.string(), "text": pyarrow.string()}),
        "width": pyarrow.int32(),
        "height": pyarrow.int32(),
        "faces": pyarrow.list_(_FACE),
    }
)
"""What `BulkAligner` answers. `landmarks` and `scores` are in the markup's order."""

_OF_SHARD = pyarrow.schema([("shard", pyarrow.int64()), ("index", pyarrow.int32()), *SCHEMA])


def nested(row: Row) -> Row:
    """A row with its `uri`, and each face's scores beside its landmarks."""
    return {
        "uri": as_text(row["file"]),
        "status": row["status"],
        "error": row.get("error"),
        "width": row["width"],
        "height": row["height"],
        "faces": [_face(face) for face in row["faces"]],
    }


def table_of(rows: Iterable[Row]) -> pyarrow.Table:
    """Nested rows as a table of `SCHEMA`."""
    return pyarrow.Table.from_pylist(list(rows), SCHEMA)


def part_of(shard: int, rows: Iterable[Row]) -> bytes:
    """Nested rows as a Parquet file, each with its shard's number and its place in the shard."""
    file = io.BytesIO()
    lines: Iterator[Row] = (
        {"shard": shard, "index": index} | row for index, row in enumerate(rows)
    )
    with pyarrow.parquet.ParquetWriter(file, _OF_SHARD, compression="zstd") as writer:
        while some := list(islice(lines, LINES_AT_A_TIME)):
            writer.write_table(pyarrow.Table.from_pylist(some, _OF_SHARD))
    return file.getvalue()


def _face(face: dict[str, Any]) -> dict[str, Any]:
    points = face["landmarks"]
    return {
        "box": face["box"],
        "score": face["score"],
        "landmarks": [{"x": point["x"], "y": point["y"]} for point in points],
        "scores": [point["score"] for point in points],
    }
