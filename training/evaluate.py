"""Measure a checkpoint on annotated faces, from the landmarks' box and from the detector's.

    python -m training.evaluate --checkpoint model_store/lwbafa-300w68 --data DIR

The crops, the engine and the detector are the service's own.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from app.checkpoints import Accuracy, Checkpoint, load_checkpoint
from app.detection import FaceDetector
from app.detection.centerface import CenterFace
from app.engine.torch_engine import TorchEngine
from app.errors import StartupError
from app.imaging.crop import Crop, FaceBox
from app.lwbafa import INPUT_PX, Markup
from app.settings import Settings, granted_cpus
from training.datasets import TEST_300W, DatasetError, Face, load_300w

FAILURE_NME = 0.10
BATCH = 8


def nme(points: NDArray[np.floating], truth: NDArray[np.floating], markup: Markup) -> float:
    """Mean point-to-point distance over the outer-eye-corner distance, N×2 each, any unit."""
    left, right = markup.outer_eye_corners
    interocular = np.linalg.norm(truth[left] - truth[right])
    return float(np.linalg.norm(points - truth, axis=1).mean() / interocular)


def failure_rate(errors: Sequence[float]) -> float:
    """Share of faces whose NME is above 10 %."""
    return float((np.asarray(errors) > FAILURE_NME).mean())


def auc(errors: Sequence[float]) -> float:
    """Area under the cumulative error curve up to 10 %, as a share of all there is."""
    return float(np.maximum(0, 1 - np.asarray(errors) / FAILURE_NME).mean())


def detected_box(face: Face, detector: FaceDetector) -> FaceBox | None:
    """The detector's box for this very face; None if it found nothing there."""
    truth = FaceBox.of_landmarks(face.landmarks)
    boxes = [detection.box for detection in detector.detect(face.image)]
    best = max(boxes, key=lambda box: overlap(box, truth), default=None)
    return best if best is not None and overlap(best, truth) > 0.3 else None


def overlap(a: FaceBox, b: FaceBox) -> float:
    """Intersection over union of two boxes."""
    width = min(a.x + a.width, b.x + b.width) - max(a.x, b.x)
    height = min(a.y + a.height, b.y + b.height) - max(a.y, b.y)
    shared = max(0.0, width) * max(0.0, height)
    return shared / (a.width * a.height + b.width * b.height - shared)


def align_faces(
    engine: TorchEngine, faces: Sequence[Face], boxes: Sequence[FaceBox]
) -> list[NDArray[np.float64]]:
    """Landmarks N×2 in image pixels of each face from its box, with a progress bar."""
    points = []
    for start in tqdm(range(0, len(faces), BATCH), desc="aligning", unit="batch", mininterval=1):
        crops = [Crop.around(box) for box in boxes[start : start + BATCH]]
        pixels = [
            crop.cut(face.image, INPUT_PX) for crop, face in zip(crops, faces[start:], strict=False)
        ]
        answers = engine.align(pixels)
        points += [
            crop.to_image(answer.points) for crop, answer in zip(crops, answers, strict=True)
        ]
    return points


def measure(
    checkpoint: Checkpoint, faces: Sequence[Face], dataset: str, detector: FaceDetector
) -> tuple[Accuracy, Accuracy]:
    """Accuracy from the landmarks' box and from the detector's; takes the network over."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    engine = TorchEngine(checkpoint.network, checkpoint.markup, device, granted_cpus())
    own = [FaceBox.of_landmarks(face.landmarks) for face in faces]
    found = [(face, box) for face in faces if (box := detected_box(face, detector)) is not None]
    return (
        _accuracy(engine, checkpoint.markup, faces, own, dataset, "landmarks", 0),
        _accuracy(
            engine,
            checkpoint.markup,
            [face for face, _ in found],
            [box for _, box in found],
            dataset,
            "detector",
            len(faces) - len(found),
        ),
    )


def _accuracy(
    engine: TorchEngine,
    markup: Markup,
    faces: Sequence[Face],
    boxes: Sequence[FaceBox],
    dataset: str,
    source: str,
    missed: int,
) -> Accuracy:
    errors = [
        nme(points, face.landmarks, markup)
        for points, face in zip(align_faces(engine, faces, boxes), faces, strict=True)
    ]
    return Accuracy(
        dataset=dataset,
        faces=len(faces),
        missed_faces=missed,
        box=source,
        nme_percent=round(100 * float(np.mean(errors)), 3),
        failure_rate_percent=round(100 * failure_rate(errors), 2),
        auc=round(auc(errors), 4),
    )


def default_detector() -> CenterFace:
    """The detector as the service runs it by default."""
    settings = Settings()
    return CenterFace(
        settings.detector_file,
        settings.detection_longest_side_px,
        settings.detection_score_threshold,
    )


def main() -> None:
    """Command line: print one row per box protocol."""
    parser = argparse.ArgumentParser(description="Measure a checkpoint on 300-W test faces.")
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="300-W root folder")
    parser.add_argument("--folders", nargs="+", default=list(TEST_300W))
    arguments = parser.parse_args()
    try:
        checkpoint = load_checkpoint(arguments.checkpoint)
        faces = load_300w(arguments.data, arguments.folders)
        rows = measure(
            checkpoint, faces, "300-W " + ", ".join(arguments.folders), default_detector()
        )
    except (StartupError, DatasetError) as error:
        sys.exit(f"training.evaluate: {error}")
    print("box        faces  missed  NME %   FR@10 %  AUC@10 %")
    for row in rows:
        print(
            f"{row.box:9}  {row.faces:5}  {row.missed_faces:6}  {row.nme_percent:5.2f}   "
            f"{row.failure_rate_percent:7.2f}  {100 * row.auc:8.2f}"
        )


if __name__ == "__main__":
    main()
