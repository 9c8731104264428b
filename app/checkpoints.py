"""Checkpoints: a folder with a manifest and one safetensors file, verified before it is opened."""

import hashlib
from pathlib import Path

import safetensors
import safetensors.torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.errors import StartupError
from app.imaging.crop import CROP_SCALE
from app.lwbafa import (
    ARCHITECTURES,
    INPUT_DIVISOR,
    INPUT_MEAN,
    INPUT_PX,
    MARKUPS,
    BoundaryAwareNetwork,
    Markup,
)


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class InputContract(_Record):
    """What the network reads: a square RGB crop, scaled by (value − mean) / divisor."""

    size_px: int = Field(description="Side of the square crop")
    color_order: str
    mean: float = Field(description="Subtracted from every 8-bit channel value")
    divisor: float = Field(description="What the difference is divided by")


class BoxConvention(_Record):
    """How a face box becomes the crop."""

    box: str = Field(description="What the box encloses")
    crop_scale: float = Field(description="Crop side over the box's longer side")


class Accuracy(_Record):
    """One measured row; NME in percent of the inter-ocular distance."""

    dataset: str
    faces: int = Field(description="Faces measured")
    missed_faces: int = Field(description="Faces the detector did not find, not measured")
    box: str = Field(description="Where the crop's box came from: landmarks or detector")
    nme_percent: float
    failure_rate_percent: float = Field(description="Share of faces with an NME above 10 %")
    auc: float = Field(description="mean(max(0, 1 − NME / 0.10))")


class Training(_Record):
    """Where the weights come from and on what terms they may be used."""

    data: str
    terms: str
    recipe: str
    hardware: str


class Manifest(_Record):
    """`manifest.json` of a checkpoint."""

    name: str
    version: str
    architecture: str
    markup: str
    weights_file: str = Field(pattern=r"^[\w.-]+\.safetensors$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    input: InputContract
    box_convention: BoxConvention
    training: Training
    accuracy: tuple[Accuracy, ...]


class Checkpoint:
    """A verified network in evaluation mode (float32, on the CPU) with its manifest and markup."""

    def __init__(self, network: BoundaryAwareNetwork, manifest: Manifest) -> None:
        self.network = network
        self.manifest = manifest
        self.markup: Markup = MARKUPS[manifest.markup]


CURRENT_INPUT = InputContract(
    size_px=INPUT_PX, color_order="RGB", mean=INPUT_MEAN, divisor=INPUT_DIVISOR
)
CURRENT_BOX = BoxConvention(
    box="landmarks' bounding box: brows to chin, ear to ear", crop_scale=CROP_SCALE
)


def load_checkpoint(folder: Path) -> Checkpoint:
    """Read, verify and load a checkpoint folder.

    Raises StartupError if a file is missing, the sha256 differs, the tensors are not exactly the
    network's, or the checkpoint expects another input than this version makes.
    """
    manifest = _read_manifest(folder / "manifest.json")
    path = folder / manifest.weights_file
    try:
        data = path.read_bytes()
    except OSError as error:
        raise StartupError(f"checkpoint {path} cannot be read: {error.strerror}") from error
    if hashlib.sha256(data).hexdigest() != manifest.sha256:
        raise StartupError(f"checkpoint {path} does not have the sha256 that its manifest states")
    network = BoundaryAwareNetwork(ARCHITECTURES[manifest.architecture], MARKUPS[manifest.markup])
    try:
        network.load_state_dict(safetensors.torch.load(data), strict=True)
    except (safetensors.SafetensorError, RuntimeError) as error:
        first_line = str(error).splitlines()[0]
        raise StartupError(f"checkpoint {path} does not fit the network: {first_line}") from error
    return Checkpoint(network.eval(), manifest)


def _read_manifest(path: Path) -> Manifest:
    try:
        manifest = Manifest.model_validate_json(path.read_bytes())
    except OSError as error:
        raise StartupError(f"manifest {path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise StartupError(f"manifest {path} is not valid: {where}: {problem['msg']}") from error
    if manifest.architecture not in ARCHITECTURES or manifest.markup not in MARKUPS:
        raise StartupError(f"manifest {path} names an unknown architecture or markup")
    if manifest.input != CURRENT_INPUT or manifest.box_convention != CURRENT_BOX:
        raise StartupError(f"manifest {path} expects another input than this version makes")
    return manifest
