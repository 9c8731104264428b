"""Rows of the libraries that a user would pick instead, from the file that the benches write.

    python -m bench --only rivals --only accuracy --data DIR --out FILE

Ours stands among them once more, measured as they are: as served, from the detector's box.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

from training.errors import DatasetError
from training.paper.table import Row

HELEN, WFLW = "Helen test", "WFLW held back"
"""What the accuracy bench calls its faces."""


class Rivals(NamedTuple):
    """The measured libraries' rows by table, and the benches' own words on how to read them."""

    of_300w: list[Row]
    of_wflw: list[Row]
    of_cost: list[Row]
    notes: list[str]


def read_rivals(path: Path) -> Rivals:
    """What a file of the benches says. Raises DatasetError if it has neither bench."""
    try:
        result = json.loads(path.read_text())
        benches = result["benches"]
        held = [benches[name] for name in ("accuracy", "rivals") if name in benches]
        accuracy = benches.get("accuracy", {"rows": []})["rows"]
        cost = benches.get("rivals", {"rows": []})["rows"]
        rivals = Rivals(
            of_300w=[_accuracy(row, "common", "") for row in accuracy if _of(row, HELEN)],
            of_wflw=[
                _accuracy(row, "NME %", ", 68 of the 98 points")
                for row in accuracy
                if _of(row, WFLW)
            ],
            of_cost=[_speed(row, result["machine"]) for row in cost],
            notes=[bench["note"] for bench in held],
        )
    except (ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{path}: not a file of the benches ({error!r})") from error
    if not held:
        raise DatasetError(f"{path}: holds neither the bench `rivals` nor `accuracy`")
    return rivals


def _of(row: dict[str, Any], faces: str) -> bool:
    return str(row["faces"]).startswith(f"{faces}, ")


def _accuracy(row: dict[str, Any], column: str, points: str) -> Row:
    missed = "" if row["missed"] == "0" else f", {row['missed']} not found"
    on = f"{row['faces']} faces{missed}, own detector's box{points}"
    return Row(row["library"], {column: f"{row['NME %']:.2f}"}, "measured", on)


def _speed(row: dict[str, Any], machine: dict[str, Any]) -> Row:
    gpu = "" if machine["gpu"] == "none" else f", {machine['gpu']}"
    on = f"{machine['cores_granted']} CPU cores{gpu}, the face's place known"
    return Row(row["library"], {"FPS": f"{row['landmarks alone']['median']:.1f}"}, "measured", on)
