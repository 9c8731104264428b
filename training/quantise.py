"""Make a checkpoint's int8 model: NNCF's post-training quantisation, calibrated on training crops.

    python -m training.quantise --checkpoint model_store/lwbafa-300w68 --recipe FILE --data DIR

Writes `int8.xml` and `int8.bin` beside the weights and their sha256 into the manifest, then
measures all engines (`training.gate`). Users have no training crops: what is shipped is the model.
"""

import argparse
import hashlib
import logging
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.checkpoints import Int8Model, load_checkpoint
from app.engine.openvino_model import converted
from app.errors import StartupError
from app.imaging.crop import Crop, FaceBox
from app.lwbafa import INPUT_PX
from app.quiet_openvino import ov
from training.datasets import DatasetError, Face, load_faces
from training.evaluate import TEST_SOURCES
from training.gate import measure_engines, write_manifest
from training.recipe import Recipe, RecipeError

CALIBRATION_CROPS = 300
IN_FULL_PRECISION = r".*landmark_stage\.(head|coordinates).*"
"""What stays out of int8: 1 % of the arithmetic, and most of what int8 would cost.

On training faces, points move by 1.2 pixels of 256 on average with everything in int8, by 0.5 with
this left out; SAFeature, gates and heatmap heads left out as well change that by 0.03.
"""


def calibration_crops(faces: Sequence[Face]) -> NDArray[np.uint8]:
    """Crops evenly taken from all sources, as the service cuts them: uint8 N×256×256×3."""
    chosen = np.linspace(0, len(faces) - 1, min(len(faces), CALIBRATION_CROPS)).astype(int)
    return np.stack(
        [
            Crop.around(FaceBox.around(faces[i].landmarks)).cut(faces[i].image, INPUT_PX)
            for i in chosen
        ]
    )


def quantised(model: ov.Model, crops: NDArray[np.uint8]) -> ov.Model:
    """The model with all in int8 that accuracy allows."""
    # Imported here, since it reports its use unless `quiet_openvino` came first.
    import nncf

    nncf.set_log_level(logging.WARNING)
    return nncf.quantize(
        model,
        nncf.Dataset(crops, lambda crop: crop[None]),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(crops),
        ignored_scope=nncf.IgnoredScope(patterns=[IN_FULL_PRECISION]),
    )


def write_int8(folder: Path, model: ov.Model) -> None:
    """Put the model beside a checkpoint's weights and into its manifest."""
    manifest = load_checkpoint(folder).manifest
    with tempfile.TemporaryDirectory() as temporary:
        ov.save_model(model, Path(temporary, "int8.xml"))
        graph, weights = (
            Path(temporary, f"int8.{suffix}").read_bytes() for suffix in ("xml", "bin")
        )
    (folder / "int8.xml").write_bytes(graph)
    (folder / "int8.bin").write_bytes(weights)
    files = Int8Model(
        graph_file="int8.xml",
        graph_sha256=hashlib.sha256(graph).hexdigest(),
        weights_file="int8.bin",
        weights_sha256=hashlib.sha256(weights).hexdigest(),
    )
    write_manifest(folder, manifest.model_copy(update={"int8_model": files, "engines": ()}))


def main() -> None:
    """Command line: quantise, write, measure."""
    parser = argparse.ArgumentParser(description="Make and measure a checkpoint's int8 model.")
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--recipe", type=Path, required=True, help="names the training sources")
    parser.add_argument("--data", type=Path, required=True, help="folder of the sources")
    parser.add_argument("--test-sources", nargs="+", default=list(TEST_SOURCES))
    arguments = parser.parse_args()
    try:
        checkpoint = load_checkpoint(arguments.checkpoint)
        sources = Recipe.read(arguments.recipe).sources
        faces = load_faces(arguments.data, sources, checkpoint.markup.landmark_count)
        model = quantised(converted(checkpoint), calibration_crops(faces))
        write_int8(arguments.checkpoint, model)
        measure_engines(arguments.checkpoint, arguments.data, arguments.test_sources)
    except (OSError, StartupError, RecipeError, DatasetError) as error:
        sys.exit(f"training.quantise: {error}")


if __name__ == "__main__":
    main()
