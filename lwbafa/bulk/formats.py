"""The files that a run ends with, each written aside and then renamed.

Every format is made of the same rows, so a run that is killed while it writes begins only the
writing anew.
"""

import csv
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

from lwbafa.bulk.rows import Row
from lwbafa.markups import Markup

Write = Callable[[Iterable[Row], IO[bytes], Markup], None]


@contextmanager
def written_aside(path: Path) -> Iterator[IO[bytes]]:
    """A file that appears under its name, or replaces what is there, once it is whole.

    What a killed run leaves beside it is overwritten by the next.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Its own name would be too long behind a name that is as long as names may be.
    aside = path.with_name(f".{sha256(os.fsencode(path.name)).hexdigest()[:32]}.aside")
    try:
        with aside.open("wb") as file:
            yield file
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def write_jsonl(rows: Iterable[Row], file: IO[bytes], markup: Markup) -> None:
    """The rows as they are, one a line."""
    for row in rows:
        file.write(json.dumps(row, allow_nan=False, ensure_ascii=False).encode() + b"\n")


def write_csv(rows: Iterable[Row], file: IO[bytes], markup: Markup) -> None:
    """One line for each face in OpenFace's columns, `file` before them and `error` behind.

    A picture without a face, or with an error, is a line with `success` 0 and no coordinates.
    """
    count = range(markup.landmark_count)
    text = io.TextIOWrapper(file, "utf-8", newline="", write_through=True)
    lines = csv.writer(text, lineterminator="\n")
    head = ["file", "frame", "face_id", "confidence", "success"]
    lines.writerow([*head, *(f"x_{i}" for i in count), *(f"y_{i}" for i in count), "error"])
    for row in rows:
        begin = [row["file"], row.get("frame", 1)]
        for index, face in enumerate(row["faces"]):
            points = face["landmarks"]
            lines.writerow(
                [*begin, index, _rounded(face["score"]), 1]
                + [f"{point[axis]:.3f}" for axis in "xy" for point in points]
                + [""]
            )
        if not row["faces"]:
            lines.writerow([*begin, 0, 0, 0, *[""] * (2 * len(count)), _error_text(row)])
    text.detach()


def write_coco(rows: Iterable[Row], file: IO[bytes], markup: Markup) -> None:
    """COCO's keypoints: `images`, `annotations`, one category; and `errors`, which is ours.

    Coordinates are pixels, the first pixel's centre at 0, as in the rows.
    """
    images: list[Mapping[str, Any]] = []
    faces: list[Mapping[str, Any]] = []
    errors: list[Mapping[str, Any]] = []
    for row in rows:
        where = {"file_name": row["file"]} | ({"frame": row["frame"]} if "frame" in row else {})
        if row["status"] != "ok":
            errors.append(where | row["error"])
            continue
        size = {"width": row["width"], "height": row["height"]}
        images.append({"id": len(images) + 1} | where | size)
        for face in row["faces"]:
            faces.append(_coco_face(face) | {"id": len(faces) + 1, "image_id": len(images)})
    names = {i: f"{group}_{i}" for group, points in markup.groups.items() for i in points}
    category = {
        "id": 1,
        "name": "face",
        "keypoints": [names.get(i, str(i)) for i in range(markup.landmark_count)],
        # COCO counts the ends of lines from 1.
        "skeleton": [
            [start + 1, end + 1]
            for boundary in markup.boundaries
            for start, end in zip(boundary.landmarks, boundary.landmarks[1:], strict=False)
        ],
    }
    content = {
        "images": images,
        "annotations": faces,
        "categories": [category],
        "errors": errors,
    }
    file.write(json.dumps(content, allow_nan=False, ensure_ascii=False).encode() + b"\n")


def _coco_face(face: Mapping[str, Any]) -> dict[str, Any]:
    points = face["landmarks"]
    xs, ys = ([point[axis] for point in points] for axis in "xy")
    width, height = max(xs) - min(xs), max(ys) - min(ys)
    return {
        "category_id": 1,
        "bbox": [min(xs), min(ys), width, height],
        "area": width * height,
        "iscrowd": 0,
        "score": face["score"],
        "num_keypoints": len(points),
        "keypoints": [value for point in points for value in (point["x"], point["y"], 2)],
    }


def _rounded(score: float | None) -> str:
    return "" if score is None else f"{score:.4f}"


def _error_text(row: Row) -> str:
    return f"{row['error']['code']}: {row['error']['text']}" if "error" in row else ""


WRITERS: Mapping[str, Write] = {"jsonl": write_jsonl, "csv": write_csv, "coco": write_coco}
"""The formats that are one file and need no other package."""
