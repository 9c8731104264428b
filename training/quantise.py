"""Make a checkpoint's int8 model: NNCF's post-training quantisation, calibrated on training crops.

    python -m training.quantise --checkpoint model_store/lwbafa-300w68 --recipe FILE --data DIR

Writes `int8.xml` and `int8.bin` beside the weights and their sha256 into the manifest, then
measures all engines. Users have no training crops: what is shipped is the model.
"""

import argparse
import hashlib
import logging
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from lwbafa.engine.openvino_model import converted
from numpy.typing import NDArray

from lwbafa.checkpoint import INPUT_PX, Int8Model, load_checkpoint
from lwbafa.errors import LoadError
from lwbafa.imaging.crop import Crop
from lwbafa.quiet_openvino import ops, ov
from lwbafa.types import FaceBox
from training.datasets import DatasetError, Face, load_faces
from training.evaluate import TEST_SOURCES
from training.measure_engines import draft, measure_engines, write_manifest
from training.recipe import Recipe, RecipeError

CALIBRATION_CROPS = 300
IN_FULL_PRECISION = (
    r".*landmark_stage\.(head|coordinates).*",
    r".*scaled_dot_product_attention.*",
    r".*fusions\.\d/aten::matmul.*",
    r".*aten::amax.*",
)
"""What stays out of int8: the landmark head; self-attention and the enlarging of pyramid levels,
which are no faster in int8; the merged heatmap, which is an answer.

On training faces, points move by 1.2 pixels of 256 on average with everything in int8, by 0.46 with
this left out; SAFeature, gates and heatmap heads left out as well change that by 0.03. The head's
products with weights would save 1 % more, but then points jump by half a pixel where the photograph
hardly changes.
"""

GATES = r"fusions\.\d/|landmark_stage/"
"""The sigmoids over whole maps, by the names of their modules.

In `lwbafa-300w68` they see numbers around 0, within ±0.6 for all but two thousandths of the
training crops' pixels. There a straight line is off by little more than a step of int8, and it
saves 3 % of a face's time. Whether another network bears it, `training.measure_engines` finds out.
"""

ADDED_UNROUNDED = r"\.skips\.\d|fusions\.\d/aten::(matmul|mul|add/Add$)"
"""What the hourglasses' skips and the fusions add, by the names of their modules.

NNCF rounds the operands of every sum to int8, and the sum again. Without the first, OpenVINO makes
fewer passes over large maps: 3 % of a face's time in the skips, 2 % in the fusions. Other sums gain
nothing, since there it adds within a convolution.
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
    """The model, which is changed, with all in int8 that accuracy allows."""
    # Imported here, since it reports its use unless `quiet_openvino` came first.
    import nncf

    nncf.set_log_level(logging.WARNING)
    for node in model.get_ordered_ops():
        if node.get_type_name() == "Sigmoid" and re.search(GATES, node.get_friendly_name()):
            _straighten(node)
    model = nncf.quantize(
        model,
        nncf.Dataset(crops, lambda crop: crop[None]),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(crops),
        ignored_scope=nncf.IgnoredScope(patterns=list(IN_FULL_PRECISION)),
    )
    for node in model.get_ordered_ops():
        if _rounds_what_is_added(node):
            node.output(0).replace(node.input_value(0))
    return model


def _straighten(sigmoid: ov.Node) -> None:
    """Put a sigmoid's tangent at 0, clamped to [0, 1], into its place."""
    line = ops.add(ops.multiply(sigmoid.input_value(0), np.float32(0.25)), np.float32(0.5))
    clamped = ops.clamp(line, 0, 1)
    clamped.set_friendly_name(sigmoid.get_friendly_name())
    sigmoid.output(0).replace(clamped.output(0))


def _rounds_what_is_added(node: ov.Node) -> bool:
    # NNCF rounds before the Transpose that brings enlarged levels to their sum.
    if node.get_type_name() != "FakeQuantize":
        return False
    readers = {reader.get_node().get_type_name() for reader in node.output(0).get_target_inputs()}
    rounded = node.input_value(0).get_node().get_friendly_name()
    return readers <= {"Add", "Transpose"} and re.search(ADDED_UNROUNDED, rounded) is not None


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
        landmark_count = checkpoint.markup.landmark_count
        faces = load_faces(arguments.data, sources, landmark_count)
        test_faces = load_faces(arguments.data, arguments.test_sources, landmark_count)
        model = quantised(converted(checkpoint), calibration_crops(faces))
        with draft(arguments.checkpoint) as folder:
            write_int8(folder, model)
            measure_engines(folder, test_faces, ", ".join(arguments.test_sources))
    except (OSError, LoadError, RecipeError, DatasetError) as error:
        sys.exit(f"training.quantise: {error}")


if __name__ == "__main__":
    main()
