"""Measure a checkpoint on annotated faces, from the landmarks' box and from the detector's.

The crops, the engine and the detector are the library's own: what is measured is what is served.
The pictures show faces of the data: they are for looking at, not for publishing.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from tabulate import tabulate
from tqdm import tqdm

from lwbafa.aligner import FaceAligner
from lwbafa.calibration import RIGHT_WITHIN
from lwbafa.checkpoint import Accuracy
from lwbafa.detection import FaceDetector
from lwbafa.engine.choose import EngineOptions
from lwbafa.face import AlignedFace
from lwbafa.imaging.photograph import Photograph
from lwbafa.markups import Markup
from lwbafa.types import FaceBox
from training.datasets import WFLW_ATTRIBUTES, Face, load_faces
from training.errors import DatasetError
from training.metrics import auc, failure_rate, landmark_errors
from training.pictures import draw_curves, face_tile, sheet, write_picture
from training.reliability import Judged, table
from training.strata import by_opening, by_pose

BATCH = 8
TURNS_DEGREES = (15, 30, 45)

LEAST_OVERLAP = 0.3
"""Of the detector's box with the true one, to be of the same face."""


class Measured(NamedTuple):
    """One face, what was answered, and each landmark's error (N), in inter-ocular distances."""

    face: Face
    answer: AlignedFace
    errors: NDArray[np.float64]

    @property
    def nme(self) -> float:
        """The face's normalised mean error."""
        return float(self.errors.mean())


class BoxResult(NamedTuple):
    """All faces measured from boxes of one kind: `landmarks` or `detector`."""

    box: str
    faces: list[Measured]
    missed: int

    def accuracy(self, dataset: str) -> Accuracy:
        """The row that a manifest holds. Raises DatasetError without faces."""
        self._refuse_if_empty(dataset)
        errors = [measured.nme for measured in self.faces]
        return Accuracy(
            dataset=dataset,
            faces=len(errors),
            missed_faces=self.missed,
            box=self.box,
            nme_percent=round(100 * float(np.mean(errors)), 3),
            failure_rate_percent=round(100 * failure_rate(errors), 2),
            auc=round(auc(errors), 4),
        )

    def judged(self, *, map_values: bool = False) -> Judged:
        """The scores that were answered, or the map values behind them. Raises DatasetError."""
        self._refuse_if_empty("scores")
        answers = [m.answer.map_values if map_values else m.answer.scores for m in self.faces]
        errors = np.stack([measured.errors for measured in self.faces])
        return Judged(self.box, np.stack(answers), errors <= RIGHT_WITHIN)

    def _refuse_if_empty(self, what: str) -> None:
        if not self.faces:
            raise DatasetError(f"{what}: no face to measure from the {self.box} box")


class BoxedFaces(NamedTuple):
    """Faces, each with its box of one kind, and how many have none."""

    box: str
    faces: list[tuple[Face, FaceBox]]
    missed: int


def with_boxes(faces: Sequence[Face], detector: FaceDetector) -> tuple[BoxedFaces, BoxedFaces]:
    """The faces with their landmarks' own boxes, and with the detector's."""
    own = [(face, face.box) for face in faces]
    found = [(face, box) for face in faces if (box := detected_box(face, detector)) is not None]
    return BoxedFaces("landmarks", own, 0), BoxedFaces("detector", found, len(own) - len(found))


def detected_box(face: Face, detector: FaceDetector) -> FaceBox | None:
    """The detector's box for this very face; None if it found nothing there."""
    boxes = [detection.box for detection in detector.detect(face.image)]
    best = max(boxes, key=lambda box: overlap(box, face.box), default=None)
    return best if best is not None and overlap(best, face.box) > LEAST_OVERLAP else None


def overlap(a: FaceBox, b: FaceBox) -> float:
    """Intersection over union of two boxes."""
    shared = a.intersection(b)
    return shared / (a.width * a.height + b.width * b.height - shared)


def measure(aligner: FaceAligner, boxed: Sequence[BoxedFaces]) -> list[BoxResult]:
    """What an aligner answers from boxes of each kind."""
    return [BoxResult(b.box, _align(aligner, b.faces), b.missed) for b in boxed]


def _align(aligner: FaceAligner, faces: Sequence[tuple[Face, FaceBox]]) -> list[Measured]:
    markup = aligner.checkpoint.markup
    measured = []
    for start in tqdm(range(0, len(faces), BATCH), desc="aligning", unit="batch", mininterval=1):
        batch = [
            (face, aligner.prepare(Photograph.of_pixels(face.image), [box], max_faces=1))
            for face, box in faces[start : start + BATCH]
        ]
        alignments = aligner.engine.align([prepared.pixels[0] for _, prepared in batch])
        for (face, prepared), alignment in zip(batch, alignments, strict=True):
            (answer,) = aligner.finish(prepared, [alignment])
            errors = landmark_errors(answer.landmarks, face.landmarks, markup)
            measured.append(Measured(face, answer, errors))
    return measured


def summary(results: Sequence[BoxResult]) -> str:
    """One row per kind of box, and one per WFLW attribute where faces carry it."""
    rows = []
    for result in results:
        subsets = {"all": result}
        for attribute in WFLW_ATTRIBUTES:
            some = [m for m in result.faces if attribute in m.face.attributes]
            if some:
                subsets[attribute] = BoxResult(result.box, some, 0)
        for name, subset in subsets.items():
            row = subset.accuracy(name)
            rows.append(
                (
                    name,
                    row.box,
                    row.faces,
                    row.missed_faces,
                    row.nme_percent,
                    row.failure_rate_percent,
                    100 * row.auc,
                )
            )
    return tabulate(
        rows, ("faces", "box", "number", "missed", "NME %", "FR %", "AUC %"), floatfmt=".2f"
    )


def by_group(results: Sequence[BoxResult], markup: Markup) -> str:
    """NME in percent of each group of landmarks, a column per kind of box."""
    rows = [
        (
            name,
            *(
                100 * np.mean([m.errors[list(indices)].mean() for m in result.faces])
                for result in results
            ),
        )
        for name, indices in markup.groups.items()
    ]
    return tabulate(rows, ("group", *(f"{r.box} box" for r in results)), floatfmt=".2f")


def by_turn(aligner: FaceAligner, faces: Sequence[Face], upright: float) -> str:
    """NME in percent from the landmarks' boxes, turned either way, and over the `upright` one's."""
    rows = []
    for degrees in TURNS_DEGREES:
        turned = [
            (face, face.box._replace(roll_degrees=sign * degrees))
            for face in faces
            for sign in (-1, 1)
        ]
        nme = float(np.mean([measured.nme for measured in _align(aligner, turned)]))
        rows.append((f"{degrees} either way", len(turned), 100 * nme, nme / upright))
    return tabulate(rows, ("crop turned by, degrees", "crops", "NME %", "ratio"), floatfmt=".2f")


def draw_worst(result: BoxResult, markup: Markup, path: Path, count: int = 10) -> None:
    """The faces with the largest errors side by side, as the network saw them."""
    worst = sorted(result.faces, key=lambda measured: -measured.nme)[:count]
    tiles = []
    for measured in worst:
        answer = measured.answer
        seen = answer.crop.cut(measured.face.image, 4 * len(answer.heatmap))
        points = answer.crop.from_image(answer.landmarks)
        tiles.append(face_tile(seen, points, answer.heatmap, markup, measured.nme))
    write_picture(path, sheet(tiles))


def evaluate(
    checkpoint: Path,
    data: Path,
    engine: str,
    test_sources: Sequence[str],
    curve: Path | None = None,
    worst: Path | None = None,
) -> None:
    """Print the tables, draw what is asked for. Raises LoadError or DatasetError."""
    aligner = FaceAligner.load(checkpoint, engine=EngineOptions(engine))
    markup = aligner.checkpoint.markup
    faces = load_faces(data, test_sources, markup.landmark_count)
    results = measure(aligner, with_boxes(faces, aligner.detector))
    rows = summary(results)
    print(f"{', '.join(test_sources)}; engine {aligner.engine.name} on {aligner.engine.device}")
    by_landmarks = results[0]
    truths = [m.face.landmarks for m in by_landmarks.faces]
    answers = [m.answer.landmarks for m in by_landmarks.faces]
    print(rows, by_group(results, markup), sep="\n\n", end="\n\n")
    scores = "map values" if aligner.checkpoint.calibration is None else "calibrated"
    print(table({scores: [result.judged() for result in results]}, markup), end="\n\n")
    print("From the landmarks' box:", end="\n\n")
    print(by_opening(truths, answers, markup), end="\n\n")
    errors = [m.nme for m in by_landmarks.faces]
    print(by_pose(truths, errors, markup), end="\n\n")
    print(by_turn(aligner, faces, float(np.mean(errors))))
    if curve:
        draw_curves({f"{r.box} box": [m.nme for m in r.faces] for r in results}, curve)
    if worst:
        draw_worst(by_landmarks, markup, worst)
