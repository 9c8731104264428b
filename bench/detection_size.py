"""How small a face the detector finds, and so how far a photograph may be shrunk.

    python -m bench.detection_size --data DIR

Faces of 300-W training crops (DIR holds `300w/`) are scaled to a known height in detector pixels
and laid over a canvas that the detector sees at its native scale. Photographs of things under
the faces are harder than life (a head cut out and stuck on a motorcycle), grey is easier: the
truth lies between the two.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import click
import cv2
import numpy as np
import skimage.data
from tqdm import tqdm

from app.service import detector_options
from app.settings import read_settings
from bench.report import Report, Spread, interleaved, print_machine, rounds_option
from lwbafa.detection import Detection, FaceDetector
from lwbafa.detection.choose import create_detector
from lwbafa.markups import MARKUP_68
from lwbafa.types import FaceBox, Pixels
from training.datasets import Face, load_faces
from training.evaluate import overlap

SOURCES = ("300w/afw", "300w/helen/trainset", "300w/lfpw/trainset")
HEIGHTS = (8, 10, 12, 16, 20, 24, 28, 32, 40, 48, 64, 128, 256, 384)
SIZES = (256, 320, 384, 480, 640)
THRESHOLDS = (0.3, 0.4, 0.5, 0.6)
CANVAS_PX = 640
# The faces of 300-W are 85 to 160 px high: beyond this, most are enlarged.
LARGEST_SHRUNK_PX = 128
PHOTOGRAPH_PX = (1600, 1200)
MATCHING_OVERLAP = 0.3


class Canvas(NamedTuple):
    """Pixels, where the faces are, and the rectangles that were pasted with them."""

    image: Pixels
    faces: list[FaceBox]
    pasted: list[FaceBox]


class Tally(NamedTuple):
    """What became of the faces of one height: counts by threshold, overlaps of those found."""

    faces: int
    canvases: int
    found: list[int]
    beside_pasted: list[int]
    within_pasted: list[int]
    overlaps: list[float]

    def recall(self, threshold_index: int) -> float:
        """Share of the faces found."""
        return self.found[threshold_index] / self.faces


@click.command()
@click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    required=True,
    help="Folder that holds 300w/.",
)
@click.option("--faces", "count", default=400, show_default=True, help="Drawn per height.")
@click.option("--seed", default=0, show_default=True)
@click.option(
    "--height", "heights", type=int, multiple=True, default=HEIGHTS, help="Pixels; may be repeated."
)
@rounds_option
def main(data: Path, count: int, seed: int, heights: Sequence[int], rounds: int) -> None:
    """Recall of the detector by the face's height: three tables."""
    cv2.setNumThreads(1)  # as the service does
    faces = load_faces(data, SOURCES, MARKUP_68.landmark_count)
    chosen = np.random.default_rng(seed).permutation(len(faces))[:count]
    faces = [faces[index] for index in chosen]
    tallies = {
        name: {height: tally(faces, height, background, seed) for height in sorted(heights)}
        for name, background in BACKGROUNDS.items()
    }
    print_machine()
    for report in (
        *(recall_report(name, of_name) for name, of_name in tallies.items()),
        alarm_report(tallies["photographs"]),
        size_report(tallies, rounds),
    ):
        print(report.as_text())


def tally(faces: Sequence[Face], height: int, background: "Background", seed: int) -> Tally:
    """Detect all faces at one height, at all thresholds."""
    # Suppression is greedy from the best score down, so what a lower threshold adds never changes
    # what a higher one keeps: the lowest answers for all.
    detector = _detector(CANVAS_PX, min(THRESHOLDS))
    nothing = [0] * len(THRESHOLDS)
    result = Tally(len(faces), 0, [*nothing], [*nothing], [*nothing], [])
    bar = tqdm(total=len(faces), desc=f"{height} px", unit="face", mininterval=1)
    for canvas in canvases(faces, height, background, seed):
        result = result._replace(canvases=result.canvases + 1)
        detections = detector.detect(canvas.image)
        for face in canvas.faces:
            best = max(detections, key=lambda d: overlap(d.box, face), default=None)
            if best is not None and overlap(best.box, face) > MATCHING_OVERLAP:
                result.overlaps.append(overlap(best.box, face))
                _count(result.found, best)
        for detection in detections:
            if all(overlap(detection.box, face) <= MATCHING_OVERLAP for face in canvas.faces):
                within = any(_center_within(detection.box, pasted) for pasted in canvas.pasted)
                _count(result.within_pasted if within else result.beside_pasted, detection)
        bar.update(len(canvas.faces))
    bar.close()
    return result


def canvases(
    faces: Sequence[Face], height: int, background: "Background", seed: int
) -> Iterator[Canvas]:
    """The faces at one height on canvases: several small ones on each, large ones alone."""
    random = np.random.default_rng(seed)
    cells = 3 if height <= 48 else 2 if height <= LARGEST_SHRUNK_PX else 1
    for start in range(0, len(faces), cells**2):
        canvas = Canvas(background(random), [], [])
        for index, face in enumerate(faces[start : start + cells**2]):
            _paste(canvas, face, height, index, cells, random)
        yield canvas


def recall_report(background: str, tallies: dict[int, Tally]) -> Report:
    """Recall by height and threshold."""
    rows: list[dict[str, Spread | float | str]] = [
        {
            "face height, px": str(height),
            **{f"recall % at {t}": 100 * tally.recall(i) for i, t in enumerate(THRESHOLDS)},
            "median overlap": float(np.median(tally.overlaps)) if tally.overlaps else math.nan,
        }
        for height, tally in tallies.items()
    ]
    faces = next(iter(tallies.values())).faces
    note = (
        f"{faces} faces per height; height of the landmarks' box in detector pixels. Found: a box "
        f"with an overlap (IoU) > {MATCHING_OVERLAP}. Above about 150 px most crops are enlarged, "
        "so those rows say little of sharp portraits."
    )
    return Report(f"Recall by face height and score threshold, over {background}", note, rows)


def alarm_report(tallies: dict[int, Tally]) -> Report:
    """Boxes on no annotated face, by height and threshold."""
    rows: list[dict[str, Spread | float | str]] = [
        {
            "face height, px": str(height),
            "canvases": tally.canvases,
            **{
                f"per canvas at {t}": f"{tally.beside_pasted[i] / tally.canvases:.2f} + "
                f"{tally.within_pasted[i] / tally.canvases:.2f}"
                for i, t in enumerate(THRESHOLDS)
            },
        }
        for height, tally in [*tallies.items(), ("all", _pooled(list(tallies.values())))]
    ]
    note = (
        "Boxes on the photographs of nobody (certainly false) + boxes within the pasted crops "
        "(false, or a neighbour without annotation)."
    )
    return Report("False alarms per canvas, over photographs", note, rows)


def size_report(tallies: dict[str, dict[int, Tally]], rounds: int) -> Report:
    """Time and smallest face by the size that photographs are shrunk to."""
    threshold = read_settings().detection_score_threshold
    index = min(range(len(THRESHOLDS)), key=lambda i: abs(THRESHOLDS[i] - threshold))
    photograph = cv2.resize(_nobody(np.random.default_rng(0)), PHOTOGRAPH_PX)
    times = interleaved(
        rounds,
        {str(size): _Timed(_detector(size, threshold), photograph) for size in SIZES},  # type: ignore[arg-type]
        "times",
    )
    rows: list[dict[str, Spread | float | str]] = []
    for size in SIZES:
        row: dict[str, Spread | float | str] = {
            "longest side, px": str(size),
            "ms per photograph": Spread.of(times[str(size)]),
            f"over {SIZES[-1]}": Spread.of_ratios(times[str(size)], times[str(SIZES[-1])]),
        }
        for name, of_name in tallies.items():
            for wanted in (0.99, 0.95):
                smallest = _smallest(of_name, index, wanted)
                row[f"{wanted:.0%} over {name}"] = (
                    f"{smallest} px = {smallest / size:.1%}" if smallest else "none"
                )
        rows.append(row)
    width, height = PHOTOGRAPH_PX
    note = (
        f"A photograph of {width} × {height}, one thread. Then the smallest face, as a share "
        "of the photograph's longer side: the least measured height from which on recall at "
        f"threshold {THRESHOLDS[index]} stays that high, up to {LARGEST_SHRUNK_PX} px."
    )
    return Report("Time and smallest face by detection size", note, rows)


def _smallest(tallies: dict[int, Tally], index: int, wanted: float) -> int | None:
    smallest = None
    for height in sorted((h for h in tallies if h <= LARGEST_SHRUNK_PX), reverse=True):
        if tallies[height].recall(index) < wanted:
            break
        smallest = height
    return smallest


def _pooled(tallies: Sequence[Tally]) -> Tally:
    return Tally(
        sum(t.faces for t in tallies),
        sum(t.canvases for t in tallies),
        [sum(counts) for counts in zip(*(t.found for t in tallies), strict=True)],
        [sum(counts) for counts in zip(*(t.beside_pasted for t in tallies), strict=True)],
        [sum(counts) for counts in zip(*(t.within_pasted for t in tallies), strict=True)],
        [],
    )


class _Timed:
    """Milliseconds of one detection; the first, which loads the network, is not measured."""

    def __init__(self, detector: FaceDetector, photograph: Pixels) -> None:
        self._detector = detector
        self._photograph = photograph
        detector.detect(photograph)

    def __call__(self) -> float:
        passes = 5
        started = time.perf_counter()
        for _ in range(passes):
            self._detector.detect(self._photograph)
        return 1000 * (time.perf_counter() - started) / passes


def _detector(size: int, threshold: float) -> FaceDetector:
    options = detector_options(read_settings())
    return create_detector(replace(options, longest_side_px=size, score_threshold=threshold))


def _nobody(random: np.random.Generator) -> Pixels:
    """A canvas cut from a photograph without people, mirrored or not."""
    photographs = (
        skimage.data.coffee(),
        skimage.data.rocket(),
        skimage.data.stereo_motorcycle()[0],
    )
    photograph = photographs[random.integers(len(photographs))]
    height, width = photograph.shape[:2]
    side = int(min(height, width) * random.uniform(0.6, 1))
    top, left = random.integers(height - side + 1), random.integers(width - side + 1)
    cut = photograph[top : top + side, left : left + side]
    if random.random() < 0.5:
        cut = cut[:, ::-1]
    return cv2.resize(np.ascontiguousarray(cut), (CANVAS_PX, CANVAS_PX))  # type: ignore[return-value]


def _grey(_: np.random.Generator) -> Pixels:
    return np.full((CANVAS_PX, CANVAS_PX, 3), 127, np.uint8)


Background = Callable[[np.random.Generator], Pixels]
BACKGROUNDS: dict[str, Background] = {"photographs": _nobody, "grey": _grey}


def _paste(
    canvas: Canvas, face: Face, height: int, index: int, cells: int, random: np.random.Generator
) -> None:
    """Lay a face's crop, scaled, into a cell of the canvas; what reaches past the cell is cut."""
    box = FaceBox.around(face.landmarks)
    scale = height / box.height
    picture_height, picture_width = (max(1, round(s * scale)) for s in face.image.shape[:2])
    # The service shrinks photographs the same way.
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    picture = cv2.resize(face.image, (picture_width, picture_height), interpolation=how)
    across = np.array([picture_width, picture_height]) / face.image.shape[1::-1]
    scaled = FaceBox.around((face.landmarks + 0.5) * across - 0.5)
    cell = CANVAS_PX // cells
    row, column = divmod(index, cells)
    left = column * cell + _offset(cell, picture_width, scaled.x, scaled.width, random)
    top = row * cell + _offset(cell, picture_height, scaled.y, scaled.height, random)
    from_x, to_x = max(left, column * cell), min(left + picture_width, (column + 1) * cell)
    from_y, to_y = max(top, row * cell), min(top + picture_height, (row + 1) * cell)
    canvas.image[from_y:to_y, from_x:to_x] = picture[
        from_y - top : to_y - top, from_x - left : to_x - left
    ]
    canvas.faces.append(scaled._replace(x=scaled.x + left, y=scaled.y + top))
    canvas.pasted.append(FaceBox(from_x, from_y, to_x - from_x, to_y - from_y))


def _offset(
    cell: int, picture: int, start: float, length: float, random: np.random.Generator
) -> int:
    """Where a picture begins in its cell: anywhere it fits, else with the face in the middle."""
    if picture <= cell:
        return int(random.integers(cell - picture + 1))
    return round((cell - length) / 2 - start)


def _count(counts: list[int], detection: Detection) -> None:
    for index, threshold in enumerate(THRESHOLDS):
        counts[index] += detection.score > threshold


def _center_within(box: FaceBox, rectangle: FaceBox) -> bool:
    x, y = box.x + box.width / 2 - rectangle.x, box.y + box.height / 2 - rectangle.y
    return 0 <= x < rectangle.width and 0 <= y < rectangle.height


if __name__ == "__main__":
    main()
