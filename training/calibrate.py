"""Fit what makes a checkpoint's scores probabilities, and state in its manifest how good they are.

It is fitted on training faces from the detector's box, a third of them once more, made harder: on
faces as they come, few points are wrong. It is measured on faces that no checkpoint was trained on.
Whoever makes new weights runs it again: a calibration is of the weights whose sha256 it names.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lwbafa.aligner import FaceAligner
from lwbafa.calibration import Calibration, Evidence, Reliability
from lwbafa.engine.choose import EngineOptions
from training.checkpoint_folder import write_manifest
from training.datasets import Face, load_faces, read_annotations
from training.evaluate import measure, with_boxes
from training.harder import harder
from training.reliability import Judged, brier, calibration_error, draw_reliability, table

TRAINING_FACES = {
    "300w-68": ("300w/afw", "300w/helen/trainset", "300w/lfpw/trainset"),
    "wflw-98": ("wflw/WFLW_annotations/list_98pt_rect_attr_train.txt",),
}
TEST_FACES = {
    "300w-68": ("300w/helen/testset",),
    "wflw-98": ("wflw/WFLW_annotations/list_98pt_rect_attr_val.txt",),
}
"""By markup: what is fitted and measured on unless the command names others."""

MOST_FACES = 400
"""To fit on: enough for a number a landmark, and a core is through in two minutes."""

HARDER_EVERY = 3
RIDGE = 1.0
"""Pulls on every number like half a point does: one that was always right has no end otherwise."""


def fit(map_values: NDArray[np.float32], right: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The biases, slope and mean slope (N + 2) under which what happened is likeliest.

    Of map values F×N and which points were right F×N. A slope that would fall is 0.
    """
    evidence = Evidence.of(map_values)
    shape = map_values.shape
    columns = np.stack([evidence.logits, np.broadcast_to(evidence.mean, shape)], axis=-1)
    weights = _logistic(columns, right)
    while (falls := weights[-2:] < 0).any():
        columns = np.where(falls, 0, columns)
        weights = _logistic(columns, right)
    return weights


def _logistic(columns: NDArray[np.float64], right: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Newton's steps for a bias for each landmark and a weight for each column: F×N×2 to N + 2."""
    count = right.shape[1]
    landmarks = np.broadcast_to(np.eye(count), (*right.shape, count))
    design = np.concatenate([landmarks, columns], axis=-1).reshape(-1, count + columns.shape[-1])
    weights = np.zeros(design.shape[1])
    for _ in range(50):
        expected = 1 / (1 + np.exp(-design @ weights))
        slope = design.T @ (right.ravel() - expected) - RIDGE * weights
        spread = (expected * (1 - expected))[:, None]
        step = np.linalg.solve((design * spread).T @ design + RIDGE * np.eye(len(weights)), slope)
        weights += step
        if np.abs(step).max() < 1e-6:
            break
    return weights


def some_faces(data: Path, sources: Sequence[str], landmark_count: int) -> list[Face]:
    """At most `MOST_FACES` faces, evenly taken from all sources. Raises DatasetError."""
    there = [a for source in sources for a in read_annotations(data, source, landmark_count)]
    chosen = np.linspace(0, len(there) - 1, min(len(there), MOST_FACES)).astype(int)
    return [there[i].read() for i in chosen]


def calibrated(aligner: FaceAligner, faces: Sequence[Face], sources: str) -> Calibration:
    """A calibration for the aligner's checkpoint, not measured yet."""
    _, detected = with_boxes(faces, aligner.detector)
    made_harder = harder(faces[::HARDER_EVERY])
    seen = [r.judged(map_values=True) for r in measure(aligner, [detected, made_harder])]
    weights = fit(np.concatenate([j.scores for j in seen]), np.concatenate([j.right for j in seen]))
    *biases, slope, mean_slope = weights.tolist()
    return Calibration(
        weights_sha256=aligner.checkpoint.manifest.sha256,
        fitted_on=f"{len(detected.faces)} faces of {sources}, "
        f"and {len(made_harder.faces)} made harder",
        slope=round(slope, 4),
        mean_slope=round(mean_slope, 4),
        biases=tuple(round(bias, 4) for bias in biases),
    )


def calibrate(
    checkpoint: Path,
    data: Path,
    engine: str,
    sources: Sequence[str],
    test_sources: Sequence[str],
    diagram: Path | None,
) -> None:
    """Fit, measure, write the manifest, print and draw. Raises LoadError or DatasetError."""
    aligner = FaceAligner.load(checkpoint, engine=EngineOptions(engine))
    manifest, markup = aligner.checkpoint.manifest, aligner.checkpoint.markup
    sources = sources or TRAINING_FACES[markup.name]
    test_sources = test_sources or TEST_FACES[markup.name]
    faces = some_faces(data, sources, markup.landmark_count)
    test_faces = load_faces(data, test_sources, markup.landmark_count)
    fitted = calibrated(aligner, faces, ", ".join(sources))
    boxed = (*with_boxes(test_faces, aligner.detector), harder(test_faces[::2]))
    before = [result.judged(map_values=True) for result in measure(aligner, boxed)]
    after = [j._replace(scores=fitted.probabilities(j.scores)) for j in before]
    rows = [reliability_row(j, ", ".join(test_sources), aligner.engine.name) for j in after]
    fitted = fitted.model_copy(update={"reliability": tuple(rows)})
    write_manifest(checkpoint, manifest.model_copy(update={"calibration": fitted}))
    print(f"{', '.join(test_sources)}; engine {aligner.engine.name}; fitted on {fitted.fitted_on}")
    print(table({"map values": before, "calibrated": after}, markup))
    if diagram:
        _, detected, _ = zip(before, after, strict=True)
        panels = dict(zip(("map value", "score"), detected, strict=True))
        title = f"{manifest.name} {manifest.version}, {len(detected[0].scores)} faces"
        draw_reliability(panels, markup, f"{title}, detector's box", diagram)


def reliability_row(scored: Judged, dataset: str, engine: str) -> Reliability:
    """The row that a manifest holds."""
    return Reliability(
        dataset=dataset,
        box=scored.box,
        engine=engine,
        faces=len(scored.scores),
        expected_calibration_error=round(calibration_error(scored.scores, scored.right), 4),
        brier=round(brier(scored.scores, scored.right), 4),
    )
