"""Make a checkpoint's int8 model: NNCF's post-training quantisation, calibrated on training crops.

It lies beside the weights, and every engine is measured again. Users have no training crops: what
is shipped is the model.
"""

import logging
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lwbafa.checkpoint import Checkpoint, Manifest
from lwbafa.imaging.crop import Crop
from lwbafa.quiet_openvino import ops, ov
from training.checkpoint_folder import draft, write_manifest, write_model
from training.convert import converted
from training.datasets import Face, load_faces
from training.measure_engines import measure_engines
from training.recipe import Recipe

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

STRAIGHTENED_SIGMOIDS = r"fusions\.\d/|landmark_stage/"
"""The sigmoids over whole maps, by the names of their modules.

In `lwbafa-300w68` they see numbers around 0, within ±0.6 for all but two thousandths of the
training crops' pixels. There a straight line is off by little more than a step of int8, and it
saves 3 % of a face's time. Whether another network bears it, `training.measure_engines` finds out.
"""

UNROUNDED_SUMS = r"\.skips\.\d|fusions\.\d/aten::(matmul|mul|add/Add$)"
"""What the hourglasses' skips and the fusions add, by the names of their modules.

NNCF rounds the operands of every sum to int8, and the sum again. Without the first, OpenVINO makes
fewer passes over large maps: 3 % of a face's time in the skips, 2 % in the fusions. Other sums gain
nothing, since there it adds within a convolution.
"""


def calibration_crops(faces: Sequence[Face], manifest: Manifest) -> NDArray[np.uint8]:
    """Crops evenly taken from all sources, cut as the manifest has them served: uint8 N×S×S×3."""
    scale, size_px = manifest.box_convention.crop_scale, manifest.input.size_px
    chosen = np.linspace(0, len(faces) - 1, min(len(faces), CALIBRATION_CROPS)).astype(int)
    return np.stack([Crop.around(faces[i].box, scale).cut(faces[i].image, size_px) for i in chosen])


def quantised(model: ov.Model, crops: NDArray[np.uint8]) -> ov.Model:
    """The model, which is changed, with all in int8 that accuracy allows."""
    # Imported here, since it reports its use unless `quiet_openvino` came first.
    import nncf

    nncf.set_log_level(logging.WARNING)
    for node in model.get_ordered_ops():
        if node.get_type_name() == "Sigmoid" and re.search(
            STRAIGHTENED_SIGMOIDS, node.get_friendly_name()
        ):
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
    return readers <= {"Add", "Transpose"} and re.search(UNROUNDED_SUMS, rounded) is not None


def quantise(checkpoint: Path, recipe: Path, data: Path, test_sources: Sequence[str]) -> None:
    """Write the int8 model, then measure every engine; an error leaves the checkpoint as it was.

    Raises LoadError, DatasetError or RecipeError.
    """
    loaded = Checkpoint.load(checkpoint)
    landmark_count = loaded.markup.landmark_count
    faces = load_faces(data, Recipe.read(recipe).true_sources, landmark_count)
    test_faces = load_faces(data, test_sources, landmark_count)
    crops = calibration_crops(faces, loaded.manifest)
    model = quantised(converted(loaded), crops)
    with draft(checkpoint) as folder:
        files = write_model(folder, "int8", model)
        changes = {"int8_model": files, "engines": ()}
        write_manifest(folder, loaded.manifest.model_copy(update=changes))
        measure_engines(folder, test_faces, ", ".join(test_sources))
