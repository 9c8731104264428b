"""A training recipe: everything that decides a run, read from a TOML file."""

import math
import tomllib
from dataclasses import asdict, field
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass

from lwbafa.markups import MARKUP_98, MARKUPS
from lwbafa.network import ARCHITECTURES
from training.errors import RecipeError

Kind = Literal["true", "converted", "pseudo"]
"""Where labels come from: people, people's 98 points of which the 68 are taken, a model."""

Rarity = Literal["closed_eyes", "open_mouth", "turned"]
"""What a face may be drawn more often for; `training.sources` tells how it is recognised."""

_Positive = Annotated[float, Field(gt=0)]
_Share = Annotated[float, Field(ge=0, le=1)]

_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, config=_STRICT)
class Source:
    """Faces below the data's folder: a folder of .pts files or a WFLW list.

    A face of weight 2 is drawn twice as often as one of weight 1.
    """

    path: str
    kind: Kind = "true"
    weight: _Positive = 1.0


@dataclass(frozen=True, config=_STRICT)
class Augmentation:
    """How far each augmentation goes and how often; lengths are shares of the crop's side.

    Translation, rotation, flip, illumination, blur and occlusion are the paper's (section 4.1), at
    its values. Translation, scale and rotation also cover what separates a face detector's box from
    the landmarks' own. What is 0 costs nothing.
    """

    translation: Annotated[float, Field(ge=0)] = 0.10
    """At most, along either axis; small shifts are more frequent than large ones."""
    scale: Annotated[float, Field(ge=0)] = 0.15
    """The crop's side is multiplied by e^±scale at most."""
    rotation_degrees: Annotated[float, Field(ge=0, le=180)] = 30.0
    flip_probability: _Share = 0.5
    mix_probability: _Share = 0.0
    """Another picture shines through, by up to a third."""
    fewer_pixels_probability: _Share = 0.0
    """Reduced to a half or a quarter of the pixels along each side, and enlarged again."""
    blur_probability: _Share = 0.10
    illumination: _Share = 0.20
    """Spread of brightness and contrast, and by a quarter of it, of each colour's own."""
    gamma: Annotated[float, Field(ge=0)] = 0.0
    """Exponents are e^±gamma at most."""
    grey_probability: _Share = 0.0
    noise_probability: _Share = 0.0
    occlusion_probability: _Share = 0.30
    occluder_sides: tuple[_Share, _Share] = (0.1, 0.4)
    """The least and the greatest side of what is covered by a colour, noise or another picture."""
    edge_probability: _Share = 0.0
    """The photograph's edge runs through the face: up to 35 % of the crop are black."""

    def __post_init__(self) -> None:
        if self.occluder_sides[0] > self.occluder_sides[1]:
            raise ValueError("occluder_sides are the least and the greatest, in this order")


@dataclass(frozen=True, config=_STRICT)
class Phase:
    """A stretch of training at one resolution; optimiser and averaged weights start afresh.

    After a linear warm-up the learning rate falls from its peak: by a `cosine` to the final rate,
    or in `steps`, ×0.1 at 60 % and at 80 % of the phase (the paper's epochs 90 and 120 of 150).
    `shares` says how much of what is drawn is of a kind or a rarity; without it, every face is
    drawn as often as its source's weight says.
    """

    input_px: Annotated[int, Field(ge=64, multiple_of=64)]
    steps: Annotated[int, Field(gt=0)]
    batch_size: Annotated[int, Field(ge=2)]  # BatchNorm cannot learn from one
    peak_learning_rate: _Positive
    warmup_steps: Annotated[int, Field(ge=0)]
    ema_decay: Annotated[float, Field(ge=0, lt=1)]
    schedule: Literal["cosine", "steps"] = "cosine"
    final_learning_rate: Annotated[float, Field(ge=0)] = 0.0
    shares: dict[Kind | Rarity, _Positive] = field(default_factory=dict)
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        if self.shares and not math.isclose(sum(self.shares.values()), 1, abs_tol=1e-6):
            raise ValueError("shares do not add up to 1")


def _as_source(value: Any) -> Any:
    return {"path": value} if isinstance(value, str) else value


@dataclass(frozen=True, config=_STRICT)
class Recipe:
    """Data, losses, optimiser and the phases in order.

    `landmark_loss` is the mean distance over the crop's side (`crop`), over the inter-ocular
    distance (`interocular`), or Soft-Wing over the inter-ocular distance (`soft-wing`).
    `heatmap_loss` is the squared error, or Adaptive Wing (`awing`). `validation_share` of the
    truly labelled photographs is held back.
    """

    markup: str
    sources: Annotated[
        tuple[Annotated[Source, BeforeValidator(_as_source)], ...], Field(min_length=1)
    ]
    phases: Annotated[tuple[Phase, ...], Field(min_length=1)]
    input_px: int = 256
    """What the checkpoint reads, and so the last phase."""
    architecture: str = "lwbafa"
    seed: Annotated[int, Field(ge=0)] = 1
    stored_px: Annotated[int, Field(ge=64)] = 288
    """Side of the square that is kept of each photograph, in memory."""
    landmark_loss: Literal["crop", "interocular", "soft-wing"] = "interocular"
    heatmap_loss: Literal["squared", "awing"] = "squared"
    heatmap_weight: Annotated[float, Field(ge=0)] = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    gradient_clip_norm: _Positive = 5.0
    adam_betas: tuple[_Share, _Share] = (0.9, 0.99)
    validation_share: Annotated[float, Field(ge=0, lt=1)] = 0.05
    validate_every_steps: Annotated[int, Field(gt=0)] = 200

    def __post_init__(self) -> None:
        if self.markup not in MARKUPS:
            raise ValueError(f"markup is not one of {', '.join(MARKUPS)}")
        if self.architecture not in ARCHITECTURES:
            raise ValueError(f"architecture is not one of {', '.join(ARCHITECTURES)}")
        if self.markup == MARKUP_98.name and any(s.kind == "converted" for s in self.sources):
            raise ValueError("98 points cannot be converted from another markup")
        multiple = ARCHITECTURES[self.architecture].input_multiple_px
        for number, phase in enumerate(self.phases, start=1):
            if phase.input_px % multiple:
                raise ValueError(
                    f"phase {number} trains at {phase.input_px} px, but {self.architecture} reads "
                    f"multiples of {multiple} px"
                )
        if self.phases[-1].input_px != self.input_px:
            raise ValueError(
                f"the last phase trains at {self.phases[-1].input_px} px, but the checkpoint reads "
                f"{self.input_px} px: end at input_px, or set input_px"
            )

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a recipe file. Raises RecipeError.

        A phase's `augmentation` holds what differs from the recipe's own.
        """
        try:
            raw = tomllib.loads(path.read_text())
            of_all = raw.pop("augmentation", {})
            for phase in raw.get("phases", ()):
                phase["augmentation"] = {**of_all, **phase.get("augmentation", {})}
            return cls(**raw)
        except ValidationError as error:
            problem = error.errors()[0]
            where = ".".join(str(part) for part in problem["loc"])
            says = problem["msg"].removeprefix("Value error, ")
            raise RecipeError(f"{path}: {where}: {says}" if where else f"{path}: {says}") from error
        except OSError as error:
            raise RecipeError(f"{path}: cannot be read: {error.strerror}") from error
        except (ValueError, TypeError, AttributeError) as error:
            raise RecipeError(f"{path}: {error}") from error

    @property
    def true_sources(self) -> tuple[str, ...]:
        """The paths of the sources that people labelled in the recipe's markup."""
        return tuple(source.path for source in self.sources if source.kind == "true")

    def as_dict(self) -> dict[str, Any]:
        """The recipe as plain values, to be stored beside what it made."""
        return asdict(self)
