"""Small faces in large photographs: what each `detection_px` finds, and in which time.

    python -m bench.crowds --data DIR

Thirty faces of 300-W's training crops (DIR holds `300w/`), their boxes 60 to 120 px high, lie
spread over photographs of things, and over grey, of 4000 × 3000 px.
"""

import time
from collections.abc import Sequence
from pathlib import Path

import click
import cv2
import numpy as np
from tqdm import tqdm

from bench.canvases import GREY, Canvas, part_of, pasted_into
from bench.detectors import MATCHING_OVERLAP
from bench.report import Cell, Report, Spread, faces_option, print_machine
from lwbafa.detection import Detection
from lwbafa.detection.choose import DetectorOptions, create_detector
from lwbafa.markups import MARKUP_68
from lwbafa.types import FaceBox
from training.datasets import Face, load_faces
from training.evaluate import overlap

SOURCE = "300w/helen/trainset"
SIZE = 4000, 3000
COLUMNS, ROWS = 6, 5
HEIGHTS_PX = 60, 120
DETECTION_PX = (960, 1920, 2880, 3840)


@click.command()
@faces_option
@click.option("--pictures", default=10, show_default=True, help="Half of them over grey.")
@click.option("--seed", default=0, show_default=True)
def main(data: Path, pictures: int, seed: int) -> None:
    """Faces found, found twice, made up, and the time."""
    cv2.setNumThreads(1)  # as the service does
    print_machine()
    faces = load_faces(data, [SOURCE], MARKUP_68.landmark_count)
    print(report(faces, pictures, seed).as_text())


def report(faces: Sequence[Face], pictures: int, seed: int) -> Report:
    """One row for each `detection_px`."""
    random = np.random.default_rng(seed)
    search = create_detector(DetectorOptions(threads=1))
    found = {px: list[float]() for px in DETECTION_PX}
    twice = dict.fromkeys(DETECTION_PX, 0)
    alarms = dict.fromkeys(DETECTION_PX, 0)
    seconds = {px: list[float]() for px in DETECTION_PX}
    search.detect(np.zeros((64, 64, 3), np.uint8))
    for number in tqdm(range(pictures), desc="crowds", unit="picture"):
        crowd = _crowd(faces, random, over_grey=number % 2 == 0)
        for px in DETECTION_PX:
            started = time.perf_counter()
            detections = search.detect(crowd.image, px)
            seconds[px].append(time.perf_counter() - started)
            on_faces = [sum(_same(d, face) for d in detections) for face in crowd.faces]
            found[px].append(sum(count > 0 for count in on_faces))
            twice[px] += sum(count > 1 for count in on_faces)
            alarms[px] += sum(not any(_same(d, face) for face in crowd.faces) for d in detections)
    people = COLUMNS * ROWS
    rows: list[dict[str, Cell]] = [
        {
            "detection_px": str(px),
            f"found of {people}": Spread.of(found[px]),
            "found twice": str(twice[px]),
            "elsewhere": str(alarms[px]),
            "seconds": Spread.of(seconds[px]),
            f"over {DETECTION_PX[0]}": Spread.of_ratios(seconds[px], seconds[DETECTION_PX[0]]),
        }
        for px in DETECTION_PX
    ]
    note = (
        f"{pictures} pictures of {SIZE[0]} × {SIZE[1]} px, each with {people} faces "
        f"{HEIGHTS_PX[0]}–{HEIGHTS_PX[1]} px high; one thread, decoded already. Boxes "
        "elsewhere are partly of other people in the crops."
    )
    return Report("Small faces in large photographs", note, rows)


def _same(detection: Detection, face: FaceBox) -> bool:
    return overlap(detection.box, face) > MATCHING_OVERLAP


def _crowd(faces: Sequence[Face], random: np.random.Generator, over_grey: bool) -> Canvas:
    width, height = SIZE
    if over_grey:
        image = np.full((height, width, 3), GREY, np.uint8)
    else:
        name = ("coffee", "rocket", "motorcycle")[random.integers(3)]
        image = cv2.resize(part_of(name, random), SIZE)  # type: ignore[assignment]
    canvas = Canvas(image, [], [])
    for index in range(COLUMNS * ROWS):
        face = faces[int(random.integers(len(faces)))]
        row, column = divmod(index, COLUMNS)
        cell = (column * width // COLUMNS, row * height // ROWS, width // COLUMNS, height // ROWS)
        pasted_into(canvas, face, round(random.uniform(*HEIGHTS_PX)), cell, random)
    return canvas


if __name__ == "__main__":
    main()
