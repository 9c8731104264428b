"""A training recipe: everything that decides a run, read from a TOML file."""

import tomllib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Phase(_Strict):
    """A stretch of training at one resolution: warm-up to the peak, then a cosine to the end.

    The optimiser and the averaged weights start afresh with each phase.
    """

    input_px: int = Field(multiple_of=64)
    steps: PositiveInt
    peak_learning_rate: PositiveFloat
    final_learning_rate: PositiveFloat
    warmup_steps: int = Field(ge=0)
    ema_decay: float = Field(ge=0, lt=1)


class Recipe(_Strict):
    """Data, loss weights and the phases in order."""

    markup: str
    folders: tuple[str, ...]
    seed: int
    batch_size: PositiveInt
    heatmap_weight: PositiveFloat
    gradient_clip_norm: PositiveFloat
    adam_betas: tuple[float, float]
    phases: tuple[Phase, ...]


def read_recipe(path: Path) -> Recipe:
    """Read and validate a recipe file. Raises OSError, TOMLDecodeError or ValidationError."""
    return Recipe.model_validate(tomllib.loads(path.read_text()))
