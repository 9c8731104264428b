"""Measure every CPU engine of a checkpoint on the same faces, and state it in the manifest.

The library's `auto` takes an engine only if these figures are next to eager fp32's
(`Manifest.keeps_accuracy`). Exporting and quantising end with this. By itself it is needed where
the network's code, OpenVINO or the crops have changed under the same weights.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tabulate import tabulate

from lwbafa.aligner import FaceAligner
from lwbafa.checkpoint import Checkpoint, EngineCheck, EngineName, Manifest
from lwbafa.detection.choose import create_detector
from lwbafa.engine.choose import ENGINES, EngineOptions, create_engine
from training.checkpoint_folder import draft, write_manifest, write_model
from training.convert import converted
from training.datasets import Face, load_faces
from training.evaluate import BoxResult, measure, with_boxes

REFERENCE: EngineName = "torch"
"""Eager fp32, in which the network was trained."""


def measure_engines(folder: Path, faces: Sequence[Face], dataset: str) -> None:
    """Fill in `accuracy` and `engines` of a checkpoint's manifest, and print them.

    Raises LoadError.
    """
    checkpoint = Checkpoint.load(folder)
    detector = create_detector()
    boxed = with_boxes(faces, detector)

    def results_of(name: EngineName) -> list[BoxResult]:
        engine = create_engine(checkpoint, EngineOptions(name, "cpu"))
        return measure(FaceAligner(checkpoint, detector, engine), boxed)

    reference = results_of(REFERENCE)
    checks = []
    for name in ENGINES:
        if name != REFERENCE and checkpoint.has_model(name):
            results = results_of(name)
            accuracy = tuple(result.accuracy(dataset) for result in results)
            difference = round(heatmap_difference(results, reference), 5)
            checks.append(
                EngineCheck(engine=name, accuracy=accuracy, heatmap_difference=difference)
            )
    manifest = checkpoint.manifest.model_copy(
        update={
            "accuracy": tuple(result.accuracy(dataset) for result in reference),
            "engines": tuple(checks),
        }
    )
    write_manifest(folder, manifest)
    print(summary(manifest))


def heatmap_difference(ones: Sequence[BoxResult], others: Sequence[BoxResult]) -> float:
    """Mean absolute difference of the merged heatmaps, of 0 to 1, over the same faces."""
    differences = [
        np.abs(a.answer.heatmap.astype(float) - b.answer.heatmap).mean() / 255
        for one, other in zip(ones, others, strict=True)
        for a, b in zip(one.faces, other.faces, strict=True)
    ]
    return float(np.mean(differences))


def summary(manifest: Manifest) -> str:
    """Each engine's NME by box, how far its heatmaps are off, and whether it may be chosen."""
    boxes = [f"NME %, {row.box} box" for row in manifest.accuracy]
    eager = EngineCheck(engine=REFERENCE, accuracy=manifest.accuracy, heatmap_difference=0)
    rows = [
        (
            check.engine,
            *(f"{row.nme_percent:.3f}" for row in check.accuracy),
            f"{check.heatmap_difference:.5f}",
            "may be" if manifest.keeps_accuracy(check.engine) else "never",
        )
        for check in (eager, *manifest.engines)
    ]
    headers = ("engine", *boxes, "heatmaps off by", "chosen by auto")
    return tabulate(rows, headers, disable_numparse=True)


def convert_and_measure(folder: Path, faces: Sequence[Face], dataset: str) -> None:
    """Put the network in single precision beside its weights, then measure every engine."""
    checkpoint = Checkpoint.load(folder)
    files = write_model(folder, "fp32", converted(checkpoint))
    write_manifest(folder, checkpoint.manifest.model_copy(update={"fp32_model": files}))
    measure_engines(folder, faces, dataset)


def remeasure(checkpoint: Path, data: Path, test_sources: Sequence[str]) -> None:
    """Convert and measure a checkpoint again; an error leaves it as it was.

    Raises LoadError or DatasetError.
    """
    faces = load_faces(data, test_sources, Checkpoint.load(checkpoint).markup.landmark_count)
    with draft(checkpoint) as folder:
        convert_and_measure(folder, faces, ", ".join(test_sources))
