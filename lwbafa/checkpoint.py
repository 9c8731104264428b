"""Checkpoints: a folder with a manifest and a safetensors file, verified before it is opened.

Beside them may lie the same network as OpenVINO models: in int8, made by
`python -m training quantise`, and in single precision, made by `python -m training export`.
"""

import hashlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lwbafa.calibration import Calibration
from lwbafa.errors import LoadError
from lwbafa.imaging.crop import CROP_SCALE
from lwbafa.markups import MARKUPS, Markup

if TYPE_CHECKING:
    from lwbafa.network import BoundaryAwareNetwork

EngineName = str
"""One of `lwbafa.engine.choose.ENGINES`, as manifests, settings and command lines call it."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

logger = logging.getLogger(__name__)

MOST_NME_LOSS = 0.01
MOST_HEATMAP_DIFFERENCE = 0.01
"""What an engine may lose to be chosen: relative NME, and mean difference of the heatmaps (0–1)."""


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class InputContract(_Record):
    """What the network reads: a square RGB crop, scaled by (value − mean) / divisor."""

    size_px: int = Field(256, multiple_of=64, ge=64, description="Side of the square crop")
    color_order: Literal["RGB"] = "RGB"
    mean: float = Field(127.5, description="Subtracted from every 8-bit channel value")
    divisor: float = Field(127.5, gt=0, description="What the difference is divided by")


class BoxConvention(_Record):
    """How a face box becomes the crop."""

    box: str = Field(
        "landmarks' bounding box: brows to chin, ear to ear", description="What the box encloses"
    )
    crop_scale: float = Field(CROP_SCALE, gt=0, description="Crop side over the box's longer side")


class Accuracy(_Record):
    """One measured row; NME in percent of the inter-ocular distance."""

    dataset: str
    faces: int = Field(description="Faces measured")
    missed_faces: int = Field(description="Faces the detector did not find, not measured")
    box: str = Field(description="Where the crop's box came from: landmarks or detector")
    nme_percent: float
    failure_rate_percent: float = Field(description="Share of faces with an NME above 10 %")
    auc: float = Field(description="mean(max(0, 1 − NME / 0.10))")


class EngineCheck(_Record):
    """What another engine than eager fp32 answered on the faces of the manifest's `accuracy`."""

    engine: EngineName
    accuracy: tuple[Accuracy, ...]
    heatmap_difference: float = Field(
        description="Mean absolute difference of the merged heatmaps from eager fp32's, 0 to 1"
    )


class OpenVinoFiles(_Record):
    """An OpenVINO model made of the same weights: its two files."""

    graph_file: str = Field(pattern=r"^[\w.-]+\.xml$")
    graph_sha256: Sha256
    weights_file: str = Field(pattern=r"^[\w.-]+\.bin$")
    weights_sha256: Sha256


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
    sha256: Sha256
    input: InputContract
    box_convention: BoxConvention
    training: Training
    accuracy: tuple[Accuracy, ...] = Field(description="Of eager fp32, by box")
    fp32_model: OpenVinoFiles | None = None
    int8_model: OpenVinoFiles | None = None
    engines: tuple[EngineCheck, ...] = ()
    calibration: Calibration | None = None

    def keeps_accuracy(self, engine: EngineName) -> bool:
        """Whether an engine was measured and loses next to nothing against eager fp32."""
        if engine == "torch":
            return True
        reference = {(row.dataset, row.box): row.nme_percent for row in self.accuracy}
        return any(
            check.heatmap_difference <= MOST_HEATMAP_DIFFERENCE
            and {(row.dataset, row.box) for row in check.accuracy} == set(reference) != set()
            and all(
                row.nme_percent <= (1 + MOST_NME_LOSS) * reference[row.dataset, row.box]
                for row in check.accuracy
            )
            for check in self.engines
            if check.engine == engine
        )


class Checkpoint:
    """A checkpoint folder whose files are what its manifest states.

    `calibration` makes its map values probabilities; None if none was fitted for these weights.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self._folder = folder
        self.manifest = manifest
        self.markup: Markup = MARKUPS[manifest.markup]
        self.calibration = _fitting_calibration(manifest)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read and verify a checkpoint folder.

        Raises LoadError if a file is missing, a sha256 differs, or the markup is not known.
        """
        manifest = _read_manifest(folder / "manifest.json")
        _read_verified(folder / manifest.weights_file, manifest.sha256)
        return cls(folder, manifest)

    @property
    def name(self) -> str:
        """What it is called wherever several are at hand."""
        return self.manifest.name

    def load_network(self) -> "BoundaryAwareNetwork":
        """A network of the caller's own, in evaluation mode, float32, on the CPU.

        Raises LoadError if this version does not know the architecture, or the tensors are not
        exactly the network's.
        """
        # Here and not above: a process that runs OpenVINO's models needs no PyTorch.
        import safetensors
        import safetensors.torch

        from lwbafa.network import ARCHITECTURES, BoundaryAwareNetwork

        manifest = self.manifest
        path = self._folder / manifest.weights_file
        if manifest.architecture not in ARCHITECTURES:
            raise LoadError(f"checkpoint {path} is of an unknown architecture")
        network = BoundaryAwareNetwork(ARCHITECTURES[manifest.architecture], self.markup)
        try:
            tensors = safetensors.torch.load(_read_verified(path, manifest.sha256))
            network.load_state_dict(tensors, strict=True)
        except (safetensors.SafetensorError, RuntimeError) as error:
            first_line = str(error).splitlines()[0]
            raise LoadError(f"checkpoint {path} does not fit the network: {first_line}") from error
        return network.eval()

    def has_model(self, engine: EngineName) -> bool:
        """Whether the folder holds what an engine runs; PyTorch runs the weights themselves."""
        return engine == "torch" or self._openvino_model(engine) is not None

    def openvino_files(self, engine: EngineName) -> tuple[bytes, bytes]:
        """Graph and weights of an OpenVINO engine's model. Raises LoadError if there is none."""
        model = self._openvino_model(engine)
        if model is None:
            raise LoadError(f"checkpoint {self._folder} has no model for the engine {engine}")
        return (
            _read_verified(self._folder / model.graph_file, model.graph_sha256),
            _read_verified(self._folder / model.weights_file, model.weights_sha256),
        )

    def _openvino_model(self, engine: EngineName) -> OpenVinoFiles | None:
        models = {"openvino": self.manifest.fp32_model, "openvino-int8": self.manifest.int8_model}
        return models.get(engine)


def _read_verified(path: Path, sha256: str) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise LoadError(f"checkpoint {path} cannot be read: {error.strerror}") from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise LoadError(f"checkpoint {path} does not have the sha256 that its manifest states")
    return data


def _fitting_calibration(manifest: Manifest) -> Calibration | None:
    """The manifest's calibration, unless it is of other weights: better none than a wrong one."""
    found = manifest.calibration
    if found is None:
        why = "has no calibration"
    elif found.weights_sha256 != manifest.sha256:
        why = "has the calibration of other weights, which is left out"
    elif len(found.biases) != MARKUPS[manifest.markup].landmark_count:
        why = "has the calibration of another markup, which is left out"
    else:
        return found
    advice = "scores are the boundary map's values until `python -m training calibrate` has run"
    logger.warning("checkpoint %s %s: %s", manifest.name, why, advice)
    return None


def _read_manifest(path: Path) -> Manifest:
    try:
        manifest = Manifest.model_validate_json(path.read_bytes())
    except OSError as error:
        raise LoadError(f"manifest {path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise LoadError(f"manifest {path} is not valid: {where}: {problem['msg']}") from error
    if manifest.markup not in MARKUPS:
        raise LoadError(f"manifest {path} names an unknown markup")
    return manifest
