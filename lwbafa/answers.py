"""The service's answers as plain values; how they travel is the client's business.

An answer comes from outside: what is not as the API documents it is a ServiceError.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from lwbafa.errors import ServiceError
from lwbafa.plain import plain_face
from lwbafa.types import FaceBox

UNEXPECTED = "unexpected_answer"
"""The code of what is neither an answer nor a problem document of the service."""

Finite = Annotated[float, Field(allow_inf_nan=False)]


@dataclass(frozen=True)
class Model:
    """The checkpoint that answered; `groups` are the landmarks' indices by the part of the face."""

    name: str
    version: str
    markup: str
    groups: dict[str, list[int]]


@dataclass(frozen=True, eq=False)
class Face:
    """One face, in pixels of the upright photograph; (0, 0) is the centre of the top left pixel.

    `landmarks` N×2 float64 in the markup's order, never clamped; `scores` N float32, 0 to 1, the
    probability that each is right, NaN where a landmark has none; `score` their mean; `box_score`
    the detector's, None for a caller's box; `map_values` N float32, as `AlignedFace` has them, None
    if they were not asked for.
    """

    landmarks: NDArray[np.float64]
    scores: NDArray[np.float32]
    score: float
    box: FaceBox
    box_score: float | None
    model: Model
    map_values: NDArray[np.float32] | None = None

    def group(self, name: str) -> NDArray[np.float64]:
        """The landmarks n×2 of a group, such as `left_eye`; left is the image's left.

        Raises KeyError, which names the groups, for one that the model does not have.
        """
        groups = self.model.groups
        if name not in groups:
            raise KeyError(f"there is no group {name}; there are: {', '.join(groups)}")
        return self.landmarks[groups[name]]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON, as `AlignedFace.as_dict` has them."""
        return plain_face(self.box, self.box_score, self.score, self.landmarks, self.scores)


@dataclass(frozen=True)
class Answer:
    """What the service answered to one photograph, whose upright size is in pixels."""

    request_id: str
    model: Model
    width: int
    height: int
    faces: list[Face]


class _Wire(BaseModel):
    """What the client reads of the JSON; a newer service may say more."""

    model_config = ConfigDict(extra="ignore", strict=True)


class _Model(_Wire):
    name: str
    version: str
    markup: str
    groups: dict[str, list[Annotated[int, Field(ge=0)]]]

    def plain(self) -> Model:
        return Model(self.name, self.version, self.markup, self.groups)


class _Box(_Wire):
    x: Finite
    y: Finite
    width: Finite
    height: Finite
    roll_degrees: Finite
    score: Finite | None


class _Landmark(_Wire):
    x: Finite
    y: Finite
    score: Finite | None


class _Face(_Wire):
    box: _Box
    score: Finite | None
    landmarks: Annotated[list[_Landmark], Field(min_length=1)]
    map_values: list[Finite | None] | None = None

    @model_validator(mode="after")
    def _values_are_of_the_landmarks(self) -> Self:
        if self.map_values is not None and len(self.map_values) != len(self.landmarks):
            raise ValueError("there are more or fewer map values than landmarks")
        return self

    def plain(self, model: Model) -> Face:
        box = self.box
        return Face(
            landmarks=np.array([(point.x, point.y) for point in self.landmarks], np.float64),
            scores=_numbers(point.score for point in self.landmarks),
            score=_number(self.score),
            box=FaceBox(box.x, box.y, box.width, box.height, box.roll_degrees),
            box_score=box.score,
            model=model,
            map_values=None if self.map_values is None else _numbers(self.map_values),
        )


class _Image(_Wire):
    width: Annotated[int, Field(gt=0)]
    height: Annotated[int, Field(gt=0)]


class _Answer(_Wire):
    request_id: str
    model: _Model
    image: _Image
    faces: list[_Face]

    @model_validator(mode="after")
    def _groups_are_of_the_landmarks(self) -> Self:
        last = max((i for group in self.model.groups.values() for i in group), default=-1)
        if any(last >= len(face.landmarks) for face in self.faces):
            raise ValueError("a group names a landmark that there is not")
        return self


class _Models(_Wire):
    models: Annotated[list[_Model], Field(min_length=1)]


class _Problem(_Wire):
    code: str
    detail: str
    request_id: str


Wire = TypeVar("Wire", bound=_Wire)


def read_answer(body: bytes) -> Answer:
    """What a 200 of `POST /v1/align` says. Raises ServiceError."""
    answer = _read(_Answer, body)
    model = answer.model.plain()
    faces = [face.plain(model) for face in answer.faces]
    return Answer(answer.request_id, model, answer.image.width, answer.image.height, faces)


def read_models(body: bytes) -> list[Model]:
    """What a 200 of `GET /v1/models` says. Raises ServiceError."""
    return [model.plain() for model in _read(_Models, body).models]


def read_problem(status: int, body: bytes, request_id: str) -> ServiceError:
    """What any other status says; a proxy's own page has the code `unexpected_answer`."""
    try:
        problem = _Problem.model_validate_json(body)
    except ValidationError:
        beginning = body[:100].decode(errors="replace")
        return ServiceError(status, UNEXPECTED, f"no problem document: {beginning!r}", request_id)
    return ServiceError(status, problem.code, problem.detail, problem.request_id)


def _read(kind: type[Wire], body: bytes) -> Wire:
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ServiceError(200, UNEXPECTED, f"{where}: {first['msg']}", "") from error


def _numbers(scores: Iterable[float | None]) -> NDArray[np.float32]:
    return np.array([_number(score) for score in scores], np.float32)


def _number(score: float | None) -> float:
    return float("nan") if score is None else score
