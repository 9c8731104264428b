"""The detectors side by side: what they find, how exactly, in which time.

    python -m bench.detectors --data DIR

Faces of 300-W's training crops (DIR holds `300w/`) are scaled to a known height in detector pixels
and laid over canvases that the detector sees at its native scale; see `bench.canvases`. The error
of the landmarks from each detector's boxes is measured on Helen's test faces.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path

import click
import cv2
import numpy as np
import skimage.data
from tqdm import tqdm

from bench.canvases import (
    LARGEST_SHRUNK_PX,
    PHOTOGRAPHS,
    Background,
    Canvas,
    canvases,
    clutter,
    grey,
    part_of,
    turned,
)
from bench.report import (
    Cell,
    Report,
    Spread,
    checkpoint_option,
    faces_option,
    interleaved,
    print_machine,
    rounds_option,
)
from lwbafa.aligner import FaceAligner
from lwbafa.detection import FaceDetector
from lwbafa.detection.choose import DETECTORS, DetectorOptions, create_detector
from lwbafa.engine.choose import EngineOptions
from lwbafa.markups import MARKUP_68
from lwbafa.types import Pixels
from training.datasets import Face, load_faces
from training.evaluate import measure, overlap, with_boxes

SOURCES = ("300w/afw", "300w/helen/trainset", "300w/lfpw/trainset")
TEST_SOURCE = "300w/helen/testset"
BACKGROUNDS: dict[str, Background] = {"clutter": clutter, "grey": grey}
HEIGHTS = (10, 12, 16, 20, 24, 28, 32, 40, 48, 64, 128, 256, 384, 480, 560)
THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85)
SMALL = range(16, 33)
LARGE = range(40, 385)
SIZES = (320, 480, 640, 960)
DETECTION_PX = 640
TURNS = (0, 15, 30, 45, 60, 90, 120, 150, 180)
TURNED_PX = 96
PARTS_PER_PHOTOGRAPH = 30
PORTRAIT_PX = (512, 512)
PHOTOGRAPH_PX = (1600, 1200)
PASSES = 5
MATCHING_OVERLAP = 0.3


@dataclass
class Tally:
    """What a detector made of some canvases.

    By threshold: faces found, further boxes on a face, boxes on no face. `overlaps` are those of
    the faces found at the detector's own threshold.
    """

    own_threshold: float
    faces: int = 0
    canvases: int = 0
    found: list[int] = field(default_factory=lambda: [0] * len(THRESHOLDS))
    doubles: list[int] = field(default_factory=lambda: [0] * len(THRESHOLDS))
    alarms: list[int] = field(default_factory=lambda: [0] * len(THRESHOLDS))
    overlaps: list[float] = field(default_factory=list)

    def recall(self) -> float:
        """Share of the faces found at the detector's own threshold."""
        return self.found[THRESHOLDS.index(self.own_threshold)] / self.faces


ByHeight = dict[str, dict[int, dict[str, Tally]]]
"""By background, height and detector."""


@click.command()
@faces_option
@click.option("--faces", "count", default=200, show_default=True, help="Drawn per height.")
@click.option("--seed", default=0, show_default=True)
@checkpoint_option
@rounds_option
def main(data: Path, count: int, seed: int, checkpoint: Path, rounds: int) -> None:
    """Recall, exactness, false alarms and time of all detectors."""
    cv2.setNumThreads(1)  # as the service does
    faces = load_faces(data, SOURCES, MARKUP_68.landmark_count)
    chosen = np.random.default_rng(seed).permutation(len(faces))[:count]
    faces = [faces[index] for index in chosen]
    by_height = {
        name: {
            height: tally_all(canvases(faces, height, background, seed), f"{height} px, {name}")
            for height in HEIGHTS
        }
        for name, background in BACKGROUNDS.items()
    }
    print_machine()
    for report in (
        height_report(by_height, count),
        threshold_report(by_height["clutter"], nobody(seed)),
        turn_report(faces, seed),
        time_report(by_height, rounds),
        error_report(data, checkpoint),
    ):
        print(report.as_text(), flush=True)


def tally_all(shown: Iterable[Canvas], description: str) -> dict[str, Tally]:
    """Show all detectors the same canvases, at all thresholds."""
    tallies = {name: Tally(_threshold(name)) for name in DETECTORS}
    for canvas in tqdm(shown, desc=description, unit="canvas", mininterval=1):
        for name, tally in tallies.items():
            _count(tally, _eager(name), canvas)
    return tallies


def nobody(seed: int) -> dict[str, Tally]:
    """What the detectors find in parts of photographs that show no face."""
    random = np.random.default_rng(seed)
    names = [name for name in PHOTOGRAPHS for _ in range(PARTS_PER_PHOTOGRAPH)]
    return tally_all((Canvas(part_of(name, random), [], []) for name in names), "no faces")


def height_report(by_height: ByHeight, count: int) -> Report:
    """Recall and overlap by height."""
    rows: list[dict[str, Cell]] = [
        {
            "face height, px": str(height),
            **{
                f"{name}, {background}": _share_and_overlap(by_height[background][height][name])
                for background in BACKGROUNDS
                for name in DETECTORS
            },
        }
        for height in HEIGHTS
    ]
    note = (
        f"Faces found in %, and the median overlap (IoU) of their boxes with the landmarks'; "
        f"{count} faces per height, which is that of the landmarks' box in detector pixels. "
        f"Found: a box at the detector's own threshold with an overlap > {MATCHING_OVERLAP}. "
        "Above about 150 px most crops are enlarged: those rows say little of sharp portraits. Of "
        "480 px and more, a face fills the picture."
    )
    return Report("Faces found by their height", note, rows)


def threshold_report(by_height: dict[int, dict[str, Tally]], empty: dict[str, Tally]) -> Report:
    """What each threshold finds and what it makes up."""
    rows: list[dict[str, Cell]] = []
    for name in DETECTORS:
        for index, threshold in enumerate(THRESHOLDS):
            of_small = [by_height[height][name] for height in HEIGHTS if height in SMALL]
            of_large = [by_height[height][name] for height in HEIGHTS if height in LARGE]
            own = " *" if threshold == _threshold(name) else ""
            rows.append(
                {
                    "detector": f"{name}, {threshold}{own}",
                    "found of 16–32 px, %": _percent(of_small, "found", "faces", index),
                    "of 40–384 px, %": _percent(of_large, "found", "faces", index),
                    "doubles per 100 faces": _percent(of_large, "doubles", "faces", index),
                    "false per 100 pictures": _percent([empty[name]], "alarms", "canvases", index),
                }
            )
    note = (
        "Over clutter. A double is a further box on a face that has one. False: boxes in "
        f"{empty[name].canvases} parts of photographs of {', '.join(PHOTOGRAPHS)}. "
        "* is the detector's own threshold."
    )
    return Report("Score thresholds", note, rows)


def turn_report(faces: Sequence[Face], seed: int) -> Report:
    """Recall and overlap of turned faces."""
    rows: list[dict[str, Cell]] = []
    for degrees in TURNS:
        shown = canvases([turned(face, degrees) for face in faces], TURNED_PX, grey, seed)
        tallies = tally_all(shown, f"turned by {degrees}°")
        rows.append(
            {
                "turned by": f"{degrees}°",
                **{name: _share_and_overlap(tally) for name, tally in tallies.items()},
            }
        )
    note = (
        f"Faces found in %, and the median overlap with the turned landmarks' box; {TURNED_PX} px "
        "high, over grey, turned clockwise in the picture's plane."
    )
    return Report("Turned faces", note, rows)


def time_report(by_height: ByHeight, rounds: int) -> Report:
    """Time and smallest face by the size that photographs are shrunk to."""
    pictures = {
        "portrait": cv2.resize(skimage.data.astronaut(), PORTRAIT_PX),
        # One without a face would be searched in every turn.
        "photograph": cv2.resize(skimage.data.astronaut()[:384], PHOTOGRAPH_PX),
    }
    times = interleaved(
        rounds,
        {
            f"{what} {name} {size}": Timed(_detector(name, size), [picture] * PASSES)
            for what, picture in pictures.items()
            for size in SIZES
            for name in DETECTORS
        },
        "times",
    )
    first = next(iter(DETECTORS))
    rows: list[dict[str, Cell]] = []
    for size in SIZES:
        for name in DETECTORS:
            row: dict[str, Cell] = {"longest side, px": f"{size}, {name}"}
            for what in pictures:
                own, firsts = times[f"{what} {name} {size}"], times[f"{what} {first} {size}"]
                row[f"{what}, ms"] = Spread.of(own)
                row[f"{what}, over {first}"] = Spread.of_ratios(own, firsts)
            for wanted in (0.99, 0.95):
                smallest = _smallest(by_height, name, wanted)
                row[f"{wanted:.0%} found from"] = f"{smallest / size:.1%}" if smallest else "none"
            rows.append(row)
    note = (
        f"One thread; a portrait of {PORTRAIT_PX[0]} × {PORTRAIT_PX[1]} px, never enlarged, and a "
        f"photograph of {PHOTOGRAPH_PX[0]} × {PHOTOGRAPH_PX[1]}; the ratios are of the same round. "
        "The smallest face is a share of the photograph's longer side, over clutter: the least "
        f"measured height from which on recall stays that high, up to {LARGEST_SHRUNK_PX} px."
    )
    return Report("Time, and the smallest face", note, rows)


def error_report(data: Path, checkpoint: Path) -> Report:
    """The error of the landmarks from the detectors' boxes and from the landmarks' own."""
    faces = load_faces(data, [TEST_SOURCE], MARKUP_68.landmark_count)
    aligner = FaceAligner.load(checkpoint, engine=EngineOptions(engine="openvino-int8"))
    boxed = {name: with_boxes(faces, _detector(name, DETECTION_PX)) for name in DETECTORS}
    by_landmarks = next(iter(boxed.values()))[0]
    by_detector = [found._replace(box=name) for name, (_, found) in boxed.items()]
    results = measure(aligner, [by_landmarks, *by_detector])
    errors = [100 * float(np.mean([face.nme for face in result.faces])) for result in results]
    rows: list[dict[str, Cell]] = [
        {
            "box": result.box,
            "missed": str(result.missed),
            "NME %": f"{error:.3f}",
            "over the first": f"{error / errors[0]:.3f}",
        }
        for result, error in zip(results, errors, strict=True)
    ]
    note = f"{len(faces)} faces of {TEST_SOURCE}; {aligner.checkpoint.name}, {aligner.engine.name}."
    return Report("The landmarks' error from each box", note, rows)


def _count(tally: Tally, detector: FaceDetector, canvas: Canvas) -> None:
    tally.canvases += 1
    tally.faces += len(canvas.faces)
    # Suppression is greedy from the best score down, so what a lower threshold adds never changes
    # what a higher one keeps: the lowest answers for all.
    detections = detector.detect(canvas.image)
    for face in canvas.faces:
        on_face = [d for d in detections if overlap(d.box, face) > MATCHING_OVERLAP]
        if on_face:
            best = max(on_face, key=lambda d: overlap(d.box, face))
            if best.score > tally.own_threshold:
                tally.overlaps.append(overlap(best.box, face))
        for index, threshold in enumerate(THRESHOLDS):
            boxes = sum(d.score > threshold for d in on_face)
            tally.found[index] += boxes > 0
            tally.doubles[index] += max(0, boxes - 1)
    for detection in detections:
        if all(overlap(detection.box, face) <= MATCHING_OVERLAP for face in canvas.faces):
            for index, threshold in enumerate(THRESHOLDS):
                tally.alarms[index] += detection.score > threshold


def _share_and_overlap(tally: Tally) -> str:
    median = f"{np.median(tally.overlaps):.2f}" if tally.overlaps else "–"
    return f"{100 * tally.recall():.1f} ({median})"


def _percent(tallies: Sequence[Tally], counted: str, of: str, index: int) -> str:
    count = sum(getattr(tally, counted)[index] for tally in tallies)
    return f"{100 * count / sum(getattr(tally, of) for tally in tallies):.1f}"


def _smallest(by_height: ByHeight, name: str, wanted: float) -> int | None:
    smallest = None
    for height in sorted((h for h in HEIGHTS if h <= LARGEST_SHRUNK_PX), reverse=True):
        if by_height["clutter"][height][name].recall() < wanted:
            break
        smallest = height
    return smallest


class Timed:
    """Milliseconds of one detection; the first of each, which makes ready, is not measured."""

    def __init__(self, detector: FaceDetector, pictures: Sequence[Pixels]) -> None:
        self._detector = detector
        self._pictures = pictures
        self()

    def __call__(self) -> float:
        started = time.perf_counter()
        for picture in self._pictures:
            self._detector.detect(picture)
        return 1000 * (time.perf_counter() - started) / len(self._pictures)


def _threshold(name: str) -> float:
    """A detector's own."""
    threshold: float = import_module(DETECTORS[name]).SCORE_THRESHOLD
    return threshold


@cache
def _eager(name: str) -> FaceDetector:
    """A detector that answers at the lowest threshold."""
    return create_detector(DetectorOptions(name, None, DETECTION_PX, THRESHOLDS[0], threads=1))


def _detector(name: str, size: int) -> FaceDetector:
    return create_detector(DetectorOptions(name, longest_side_px=size, threads=1))


if __name__ == "__main__":
    main()
