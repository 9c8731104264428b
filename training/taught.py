"""What a teaching run leaves: a line for every photograph, the list to train on, and a sheet.

The lines are the run's only state: from them a killed run goes on, and the rest is made of them.
"""

import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from lwbafa.markups import Markup
from training.datasets import read_image
from training.errors import RunError
from training.pictures import COLUMNS, face_tile, sheet, write_picture

SHEET_TILES = 5 * COLUMNS

KEPT, DISAGREE, LEAK = "kept", "teachers disagree", "evaluation face"
"""What can become of a face."""

NO_FACE, UNREADABLE = "no face", "unreadable"
"""What can become of a photograph without any."""


class Records:
    """What became of every photograph: `faces.jsonl`, a line each, and what is made of it."""

    def __init__(self, out: Path, settings: dict[str, Any]) -> None:
        """Read what an earlier run left. Raises RunError if it had other settings."""
        self._out, self._settings = out, settings
        self._path, self._stated = out / "faces.jsonl", out / "settings.json"
        if self._stated.exists() and json.loads(self._stated.read_text()) != settings:
            raise RunError(f"{out} holds labels made with other settings: see {self._stated}")
        self._records: list[dict[str, Any]] = []
        self._counts: Counter[str] = Counter()
        self._whole_bytes = 0
        written = self._path.read_bytes() if self._path.exists() else b""
        for line in written.splitlines(keepends=True):
            if line.endswith(b"\n"):  # a kill may cut the last one short
                self._whole_bytes += len(line)
                self._take(json.loads(line))
        self.done = {record["photograph"] for record in self._records}

    def begin(self) -> None:
        """Make the folder ready to add to. Until then nothing is written, and no setting binds."""
        (self._out / "WFLW_images" / "taught").mkdir(parents=True, exist_ok=True)
        with replacing(self._stated) as draft:
            draft.write_text(json.dumps(self._settings, indent=2) + "\n")
        self._path.touch()
        os.truncate(self._path, self._whole_bytes)

    def add(self, photograph: str, record: dict[str, Any]) -> None:
        """Note what became of a photograph."""
        self._take({"photograph": photograph, **record})
        with self._path.open("a") as file:
            file.write(json.dumps(self._records[-1]) + "\n")

    def counts(self) -> dict[str, int]:
        """How many faces had each verdict, and how many photographs none."""
        return dict(self._counts)

    def write_list(self, markup: Markup) -> None:
        """Write the WFLW list of the faces that are kept."""
        lines = []
        for face in self._kept():
            points = np.array(face["points"])
            numbers = [*points.ravel(), *points.min(axis=0), *points.max(axis=0)]
            fields = [f"{number:.2f}" for number in numbers]
            lines.append(" ".join([*fields, "0 0 0 0 0 0", face["picture"]]) + "\n")
        path = self._out / f"list_{markup.landmark_count}pt_taught.txt"
        path.write_text("".join(lines))

    def draw(self, markup: Markup) -> None:
        """Draw kept faces: those that the teachers see most differently, and some of all others."""
        kept = sorted(self._kept(), key=lambda face: -face["disagreement"])
        if not kept:
            return
        half = SHEET_TILES // 2
        rest = kept[half:]
        chosen = kept[:half] + rest[:: max(1, -(-len(rest) // (SHEET_TILES - half)))]
        tiles = []
        for face in chosen:
            pixels = read_image(self._out / "WFLW_images" / face["picture"])
            points = (np.array(face["points"]) + 0.5) / len(pixels)
            blank = np.zeros((64, 64), np.uint8)
            tiles.append(face_tile(pixels, points, blank, markup, face["disagreement"]))
        write_picture(self._out / "sheet.jpg", sheet(tiles))

    def summary(self) -> str:
        """One line for people."""
        counts = ", ".join(f"{count} {name}" for name, count in self.counts().items())
        return f"{len(self._records)} photographs: {counts}"

    def _take(self, record: dict[str, Any]) -> None:
        self._records.append(record)
        if "error" in record:
            self._counts[UNREADABLE] += 1
        else:
            self._counts.update([face["verdict"] for face in record["faces"]] or [NO_FACE])

    def _kept(self) -> list[dict[str, Any]]:
        faces = (face for record in self._records for face in record.get("faces", ()))
        return [face for face in faces if face["verdict"] == KEPT]


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to instead; a kill leaves the file as it was, or whole."""
    draft = path.with_name(f"draft-{path.name}")
    yield draft
    draft.replace(path)
