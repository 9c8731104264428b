"""Turn a finished training run into a checkpoint folder, with its accuracy measured.

Writes `model.safetensors`, the OpenVINO model in single precision and `manifest.json`. Quantising
adds the int8 model, calibrating makes scores probabilities, and people write the model card.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load

from lwbafa.checkpoint import BoxConvention, InputContract, Manifest, Training
from lwbafa.markups import MARKUPS
from lwbafa.network import ARCHITECTURES, BoundaryAwareNetwork
from training.checkpoint_folder import draft, write_manifest
from training.datasets import load_faces
from training.errors import RunError
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

    Raises LoadError, DatasetError, RecipeError or RunError, and then leaves `out` as it was.
    """
    trained = Recipe.read(recipe)
    weights = _weights(run / "network.safetensors", recipe, trained)
    faces = load_faces(data, test_sources, MARKUPS[trained.markup].landmark_count)
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
    print(
        f"Its scores mean little until `python -m training calibrate --checkpoint {out}` has run."
    )


def _weights(path: Path, recipe: Path, trained: Recipe) -> bytes:
    """The file of a finished run's weights. Raises RunError if they are not of the recipe."""
    if not path.exists():
        raise RunError(f"{path} does not exist: only a run that came to its end has weights")
    weights = path.read_bytes()
    try:
        shapes = {name: tensor.shape for name, tensor in load(weights).items()}
    except SafetensorError as error:
        raise RunError(f"{path}: not a readable safetensors file ({error})") from error
    with torch.device("meta"):
        network = BoundaryAwareNetwork(ARCHITECTURES[trained.architecture], MARKUPS[trained.markup])
    if shapes != {name: tensor.shape for name, tensor in network.state_dict().items()}:
        raise RunError(f"{path}: the weights of another network than {recipe} describes")
    return weights
