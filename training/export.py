"""Turn a finished training run into a checkpoint folder, with its accuracy measured.

Writes `model.safetensors`, the OpenVINO model in single precision and `manifest.json`. Quantising
adds the int8 model, and people write the model card.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from lwbafa.checkpoint import BoxConvention, InputContract, Manifest, Training
from lwbafa.markups import MARKUPS
from training.checkpoint_folder import draft, write_manifest
from training.datasets import load_faces
from training.measure_engines import convert_and_measure
from training.recipe import Recipe


def export(
    run: Path,
    recipe: Path,
    data: Path,
    test_sources: Sequence[str],
    version: str,
    terms: str,
    hardware: str,
    out: Path,
) -> None:
    """Write the checkpoint, then load what was written and measure it.

    Raises LoadError, DatasetError or RecipeError, and then leaves `out` as it was.
    """
    trained = Recipe.read(recipe)
    faces = load_faces(data, test_sources, MARKUPS[trained.markup].landmark_count)
    weights = (run / "network.safetensors").read_bytes()
    manifest = Manifest(
        name=out.name,
        version=version,
        architecture=trained.architecture,
        markup=trained.markup,
        weights_file="model.safetensors",
        sha256=hashlib.sha256(weights).hexdigest(),
        input=InputContract(size_px=trained.input_px),
        box_convention=BoxConvention(),
        training=Training(
            data=", ".join(source.path for source in trained.sources),
            terms=terms,
            recipe=recipe.as_posix(),
            hardware=hardware,
        ),
        accuracy=(),
    )
    with draft(out) as folder:
        (folder / manifest.weights_file).write_bytes(weights)
        write_manifest(folder, manifest)
        convert_and_measure(folder, faces, ", ".join(test_sources))
