"""Measure every CPU engine of a checkpoint on the same faces, and state it in the manifest.

    python -m training.measure_engines --checkpoint model_store/lwbafa-300w68 --data DIR

The service's `auto` takes an engine only if these figures are next to eager fp32's (`Manifest
.keeps_accuracy`). `training.export` and `training.quantise` end with this; by hand it is needed
where the network's code, OpenVINO or the crops have changed under the same weights.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from app.settings import read_settings
from lwbafa.checkpoint import EngineCheck, EngineName, Manifest, load_checkpoint
from lwbafa.detection.centerface import CenterFace
from lwbafa.engine.choose import create_engine
from lwbafa.errors import LoadError
from training.datasets import DatasetError, Face, load_faces
from training.evaluate import TEST_SOURCES, Protocol, measure, with_boxes


def measure_engines(folder: Path, faces: Sequence[Face], dataset: str) -> None:
    """Fill in `accuracy` and `engines` of a checkpoint's manifest, and print them.

    Raises LoadError.
    """
    checkpoint = load_checkpoint(folder)
    manifest = checkpoint.manifest
    settings = read_settings()
    boxed = with_boxes(faces, CenterFace.of_settings(settings))

    def protocols_of(name: EngineName) -> list[Protocol]:
        choice = settings.model_copy(update={"engine": name, "device": "cpu"})
        return measure(create_engine(checkpoint, choice), checkpoint.markup, boxed)

    reference = protocols_of("torch")
    others: list[EngineName] = ["openvino"]
    if manifest.int8_model:
        others.append("openvino-int8")
    checks = []
    for name in others:
        protocols = protocols_of(name)
        accuracy = tuple(protocol.accuracy(dataset) for protocol in protocols)
        difference = heatmap_difference(protocols, reference)
        checks.append(
            EngineCheck(engine=name, accuracy=accuracy, heatmap_difference=round(difference, 5))
        )
    manifest = manifest.model_copy(
        update={
            "accuracy": tuple(protocol.accuracy(dataset) for protocol in reference),
            "engines": tuple(checks),
        }
    )
    write_manifest(folder, manifest)
    print(summary(manifest))


def heatmap_difference(ones: Sequence[Protocol], others: Sequence[Protocol]) -> float:
    """Mean absolute difference of the merged heatmaps, of 0 to 1, over the same faces."""
    differences = [
        np.abs(a.alignment.heatmap.astype(float) - b.alignment.heatmap).mean() / 255
        for one, other in zip(ones, others, strict=True)
        for a, b in zip(one.faces, other.faces, strict=True)
    ]
    return float(np.mean(differences))


def summary(manifest: Manifest) -> str:
    """Each engine's NME by box, how far its heatmaps are off, and whether it may be chosen."""
    boxes = [row.box for row in manifest.accuracy]
    columns = [*(f"NME %, {box} box" for box in boxes), "heatmaps off by", "chosen by auto"]
    lines = [f"{'engine':16}" + "".join(f"{column:>22}" for column in columns)]
    torch = EngineCheck(engine="torch", accuracy=manifest.accuracy, heatmap_difference=0)
    for check in (torch, *manifest.engines):
        cells = [*(f"{row.nme_percent:.3f}" for row in check.accuracy)]
        cells.append(f"{check.heatmap_difference:.5f}")
        cells.append("may be" if manifest.keeps_accuracy(check.engine) else "never")
        lines.append(f"{check.engine:16}" + "".join(f"{cell:>22}" for cell in cells))
    return "\n".join(lines)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write a checkpoint's `manifest.json`."""
    (folder / "manifest.json").write_text(manifest.model_dump_json(indent=2) + "\n")


@contextmanager
def draft(folder: Path) -> Iterator[Path]:
    """A copy of a checkpoint's folder; what was written in it replaces files there at the end.

    Not after an error. Files that nobody wrote stay as they are by then, the model card for one.
    """
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary, "draft")
        if folder.exists():
            shutil.copytree(folder, copy)
        else:
            copy.mkdir()
        before = {path: path.stat().st_mtime_ns for path in copy.iterdir()}
        yield copy
        folder.mkdir(parents=True, exist_ok=True)
        for path in copy.iterdir():
            if path.stat().st_mtime_ns != before.get(path):
                shutil.copyfile(path, folder / path.name)


def main() -> None:
    """Command line: measure, print, write."""
    parser = argparse.ArgumentParser(description="Measure a checkpoint's engines.")
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="folder of the sources")
    parser.add_argument("--test-sources", nargs="+", default=list(TEST_SOURCES))
    arguments = parser.parse_args()
    try:
        landmark_count = load_checkpoint(arguments.checkpoint).markup.landmark_count
        faces = load_faces(arguments.data, arguments.test_sources, landmark_count)
        measure_engines(arguments.checkpoint, faces, ", ".join(arguments.test_sources))
    except (LoadError, DatasetError) as error:
        sys.exit(f"training.gate: {error}")


if __name__ == "__main__":
    main()
