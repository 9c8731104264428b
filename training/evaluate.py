"""Measure a checkpoint on annotated faces, from the landmarks' box and from the detector's.

    python -m training.evaluate --checkpoint model_store/lwbafa-300w68 --data DIR \
        [--engine openvino-int8] [--sources …] [--curve ced.png] [--worst worst.png]

The crops, the engine and the detector are the service's own. The pictures show faces of the data:
they are for looking at, not for publishing.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from app.settings import read_settings
from lwbafa.checkpoint import INPUT_PX, Accuracy, load_checkpoint
from lwbafa.detection import FaceDetector
from lwbafa.detection.centerface import CenterFace
from lwbafa.engine import Alignment, Engine
from lwbafa.engine.choose import FASTEST_FIRST, create_engine
from lwbafa.errors import LoadError
from lwbafa.imaging.crop import Crop
from lwbafa.markups import Markup
from lwbafa.types import FaceBox
from training.datasets import WFLW_ATTRIBUTES, DatasetError, Face, load_faces
from training.metrics import auc, failure_rate, landmark_errors
from training.pictures import draw_curves, face_tile, sheet, write_picture

TEST_SOURCES = ("300w/helen/testset",)
BATCH = 8


class Measured(NamedTuple):
    """One face, how it was cropped, what the network said, and each landmark's error (N)."""

    face: Face
    crop: Crop
    alignment: Alignment
    errors: NDArray[np.float64]

    @property
    def nme(self) -> float:
        """The face's normalised mean error."""
        return float(self.errors.mean())


class Protocol(NamedTuple):
    """All faces measured under one box protocol: `landmarks` or `detector`."""

    box: str
    faces: list[Measured]
    missed: int

    def accuracy(self, dataset: str) -> Accuracy:
        """The row that a manifest holds. Raises DatasetError without faces."""
        if not self.faces:
            raise DatasetError(f"{dataset}: no face to measure from the {self.box} box")
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


class BoxedFaces(NamedTuple):
    """The faces of one box protocol, each with its box, and how many have none."""

    box: str
    faces: list[tuple[Face, FaceBox]]
    missed: int


def with_boxes(faces: Sequence[Face], detector: FaceDetector) -> tuple[BoxedFaces, BoxedFaces]:
    """The faces with their landmarks' own boxes, and with the detector's."""
    own = [(face, FaceBox.around(face.landmarks)) for face in faces]
    found = [(face, box) for face in faces if (box := detected_box(face, detector)) is not None]
    return BoxedFaces("landmarks", own, 0), BoxedFaces("detector", found, len(own) - len(found))


def measure(engine: Engine, markup: Markup, boxed: Sequence[BoxedFaces]) -> list[Protocol]:
    """What an engine answers under each protocol."""
    return [Protocol(b.box, _align(engine, b.faces, markup), b.missed) for b in boxed]


def detected_box(face: Face, detector: FaceDetector) -> FaceBox | None:
    """The detector's box for this very face; None if it found nothing there."""
    truth = FaceBox.around(face.landmarks)
    boxes = [detection.box for detection in detector.detect(face.image)]
    best = max(boxes, key=lambda box: overlap(box, truth), default=None)
    return best if best is not None and overlap(best, truth) > 0.3 else None


def overlap(a: FaceBox, b: FaceBox) -> float:
    """Intersection over union of two boxes."""
    width = min(a.x + a.width, b.x + b.width) - max(a.x, b.x)
    height = min(a.y + a.height, b.y + b.height) - max(a.y, b.y)
    shared = max(0.0, width) * max(0.0, height)
    return shared / (a.width * a.height + b.width * b.height - shared)


def _align(engine: Engine, faces: Sequence[tuple[Face, FaceBox]], markup: Markup) -> list[Measured]:
    measured = []
    for start in tqdm(range(0, len(faces), BATCH), desc="aligning", unit="batch", mininterval=1):
        batch = [(face, Crop.around(box)) for face, box in faces[start : start + BATCH]]
        answers = engine.align([crop.cut(face.image, INPUT_PX) for face, crop in batch])
        for (face, crop), answer in zip(batch, answers, strict=True):
            errors = landmark_errors(crop.to_image(answer.points), face.landmarks, markup)
            measured.append(Measured(face, crop, answer, errors))
    return measured


def summary(protocols: Sequence[Protocol]) -> str:
    """One row per protocol, and one per WFLW attribute where faces carry it."""
    lines = [f"{'faces':24}{'box':11}{'number':>7}{'missed':>8}{'NME %':>8}{'FR %':>7}{'AUC %':>8}"]
    for protocol in protocols:
        subsets = {"all": protocol}
        for attribute in WFLW_ATTRIBUTES:
            some = [m for m in protocol.faces if attribute in m.face.attributes]
            if some:
                subsets[attribute] = Protocol(protocol.box, some, 0)
        for name, subset in subsets.items():
            row = subset.accuracy(name)
            lines.append(
                f"{name:24}{row.box:11}{row.faces:7}{row.missed_faces:8}{row.nme_percent:8.2f}"
                f"{row.failure_rate_percent:7.2f}{100 * row.auc:8.2f}"
            )
    return "\n".join(lines)


def by_group(protocols: Sequence[Protocol], markup: Markup) -> str:
    """NME in percent of each group of landmarks, a column per protocol."""
    header = f"{'group':24}" + "".join(f"{protocol.box:>11}" for protocol in protocols)
    lines = [header]
    for name, indices in markup.groups.items():
        errors = [
            np.mean([m.errors[list(indices)].mean() for m in protocol.faces])
            for protocol in protocols
        ]
        lines.append(f"{name:24}" + "".join(f"{100 * error:11.2f}" for error in errors))
    return "\n".join(lines)


def draw_worst(protocol: Protocol, markup: Markup, path: Path, count: int = 10) -> None:
    """The faces with the largest errors side by side, as the network saw them."""
    worst = sorted(protocol.faces, key=lambda measured: -measured.nme)[:count]
    tiles = []
    for measured in worst:
        seen = measured.crop.cut(measured.face.image, INPUT_PX)
        answer = measured.alignment
        tiles.append(face_tile(seen, answer.points, answer.heatmap, markup, measured.nme))
    write_picture(path, sheet(tiles))


def main() -> None:
    """Command line: print the tables, draw what is asked for."""
    parser = argparse.ArgumentParser(description="Measure a checkpoint on annotated faces.")
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="folder of the sources")
    parser.add_argument("--engine", choices=["auto", *FASTEST_FIRST], default="torch")
    parser.add_argument("--sources", nargs="+", default=list(TEST_SOURCES))
    parser.add_argument("--curve", type=Path, help="PNG for the cumulative error distribution")
    parser.add_argument("--worst", type=Path, help="PNG for the ten worst faces")
    arguments = parser.parse_args()
    try:
        settings = read_settings().model_copy(update={"engine": arguments.engine})
        checkpoint = load_checkpoint(arguments.checkpoint)
        engine = create_engine(checkpoint, settings)
        landmarks = checkpoint.markup.landmark_count
        faces = load_faces(arguments.data, arguments.sources, landmarks)
        boxed = with_boxes(faces, CenterFace.of_settings(settings))
        protocols = measure(engine, checkpoint.markup, boxed)
        rows = summary(protocols)
    except (LoadError, DatasetError) as error:
        sys.exit(f"training.evaluate: {error}")
    print(f"{', '.join(arguments.sources)}; engine {engine.name} on {engine.device}")
    print(rows, end="\n\n")
    print(by_group(protocols, checkpoint.markup))
    if arguments.curve:
        curves = {f"{p.box} box": [measured.nme for measured in p.faces] for p in protocols}
        draw_curves(curves, arguments.curve)
    if arguments.worst:
        draw_worst(protocols[0], checkpoint.markup, arguments.worst)


if __name__ == "__main__":
    main()
