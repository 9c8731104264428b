"""A training recipe: everything that decides a run, read from a TOML file.

Plain dataclasses, so that training needs nothing that a plain PyTorch image lacks.
"""

import tomllib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from lwbafa.markups import MARKUPS
from lwbafa.network import ARCHITECTURES
from training.errors import RecipeError


@dataclass(frozen=True)
class Augmentation:
    """How far each augmentation goes; lengths as shares of the crop's side.

    The paper's six (section 4.1) at its values, plus scale. Translation, scale and rotation also
    cover what separates a face detector's box from the landmarks' own.
    """

    translation: float = 0.10
    scale: float = 0.15
    rotation_degrees: float = 30.0
    flip_probability: float = 0.5
    illumination: float = 0.20
    blur_probability: float = 0.10
    occlusion_probability: float = 0.30


@dataclass(frozen=True)
class Phase:
    """A stretch of training at one resolution; optimiser and averaged weights start afresh.

    After a linear warm-up the learning rate falls from its peak: by a `cosine` to the final rate,
    or in `steps`, ×0.1 at 60 % and at 80 % of the phase (the paper's epochs 90 and 120 of 150).
    """

    input_px: int
    steps: int
    peak_learning_rate: float
    warmup_steps: int
    ema_decay: float
    schedule: Literal["cosine", "steps"] = "cosine"
    final_learning_rate: float = 0.0

    def __post_init__(self) -> None:
        _require(self.input_px >= 64 and self.input_px % 64 == 0, "input_px: a multiple of 64")
        _require(self.steps > 0, "steps: above 0")
        _require(self.peak_learning_rate > 0, "peak_learning_rate: above 0")
        _require(self.warmup_steps >= 0, "warmup_steps: at least 0")
        _require(0 <= self.ema_decay < 1, "ema_decay: from 0, below 1")
        _require(self.schedule in ("cosine", "steps"), "schedule: cosine or steps")


@dataclass(frozen=True)
class Recipe:
    """Data, losses, optimiser and the phases in order.

    `landmark_loss` is the mean landmark distance, over the crop's side (`crop`) or over the
    inter-ocular distance (`interocular`). `validation_share` of the photographs is held back.
    """

    markup: str
    sources: tuple[str, ...]
    phases: tuple[Phase, ...]
    architecture: str = "lwbafa"
    seed: int = 1
    batch_size: int = 16
    accumulated_batches: int = 1
    landmark_loss: Literal["crop", "interocular"] = "interocular"
    heatmap_weight: float = 1e-3
    gradient_clip_norm: float = 5.0
    adam_betas: tuple[float, float] = (0.9, 0.99)
    augmentation: Augmentation = field(default_factory=Augmentation)
    validation_share: float = 0.05
    validate_every_steps: int = 200

    def __post_init__(self) -> None:
        _require(self.markup in MARKUPS, f"markup: one of {', '.join(MARKUPS)}")
        _require(self.architecture in ARCHITECTURES, "architecture: lwbafa or bafa")
        _require(bool(self.sources), "sources: at least one")
        _require(bool(self.phases), "phases: at least one")
        _require(self.batch_size > 1, "batch_size: at least 2, for BatchNorm")
        _require(self.accumulated_batches > 0, "accumulated_batches: above 0")
        _require(0 <= self.validation_share < 1, "validation_share: from 0, below 1")
        _require(self.validate_every_steps > 0, "validate_every_steps: above 0")
        _require(self.landmark_loss in ("crop", "interocular"), "landmark_loss: crop, interocular")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a recipe file. Raises RecipeError."""
        try:
            raw = tomllib.loads(path.read_text())
            raw["phases"] = tuple(Phase(**phase) for phase in raw.get("phases", ()))
            raw["augmentation"] = Augmentation(**raw.get("augmentation", {}))
            for name in ("sources", "adam_betas"):
                if name in raw:
                    raw[name] = tuple(raw[name])
            return cls(**raw)
        except (OSError, ValueError, TypeError, RecipeError) as error:
            raise RecipeError(f"{path}: {error}") from error

    def as_dict(self) -> dict[str, Any]:
        """The recipe as plain values, to be stored beside what it made."""
        return asdict(self)


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise RecipeError(what)
