"""The parameters of an alignment, wherever the caller put them: in the query or in the form."""

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, NamedTuple, Self, TypeVar

from fastapi import Header
from pydantic import Field, ValidationError
from pydantic.json_schema import SkipJsonSchema

from app.api.problems import explain
from app.api.schemas import BOXES, AlignQuery, FaceQuery
from app.errors import CallerDeadlineExceeded, DeadlineExceeded, InvalidParameter, RequestError
from app.models import LoadedModel
from app.service import Service
from lwbafa.types import FaceBox

Pairs = Sequence[tuple[str, str]]

Query = TypeVar("Query", bound=FaceQuery)

DeadlineMs = Annotated[
    Annotated[int, Field(ge=1)] | SkipJsonSchema[None],
    Header(
        alias="X-Deadline-Ms",
        description="Longest time between the received body and the answer, where shorter than "
        "the service's own",
    ),
]


class Deadline(NamedTuple):
    """How long an answer may take, and whether it is the caller who wants it so soon."""

    seconds: float
    callers: bool

    @classmethod
    def of(cls, caller_ms: int | None, service_ms: int) -> Self:
        """The shorter of both."""
        ms = service_ms if caller_ms is None else min(caller_ms, service_ms)
        return cls(ms / 1000, ms < service_ms)

    def exceeded(self, detail: str) -> RequestError:
        """The refusal of what came too late."""
        return (CallerDeadlineExceeded if self.callers else DeadlineExceeded)(detail)


def refuse_repeated(parameters: Pairs) -> None:
    """Raise InvalidParameter, which names it, if a parameter is given more than once."""
    for name, count in Counter(name for name, _ in parameters).items():
        if count > 1:
            raise InvalidParameter(f"{_shown(name)}: is given {count} times; give it once.")


def with_fields(query: Query, fields: Pairs) -> Query:
    """The query's parameters and those that came as fields of a form.

    Raises InvalidParameter, which names it, for one that is wrong, unknown, or in both places.
    """
    refuse_repeated(fields)
    for name, _ in fields:
        if name in query.model_fields_set:
            raise InvalidParameter(f"{name}: is given in the query and in the form; give it once.")
        if name not in type(query).model_fields:
            known = ", ".join(type(query).model_fields)
            raise InvalidParameter(f"{_shown(name)}: is no parameter; there are: {known}.")
    try:
        return type(query).model_validate(query.model_dump(exclude_unset=True) | dict(fields))
    except ValidationError as error:
        raise InvalidParameter(explain(error.errors()[0], "")) from error


def chosen(query: AlignQuery, service: Service) -> tuple[LoadedModel, list[FaceBox] | None]:
    """The model and the boxes that the parameters name. Raises InvalidParameter."""
    return chosen_model(query, service), _boxes(query.boxes, service.settings.max_request_faces)


def chosen_model(query: FaceQuery, service: Service) -> LoadedModel:
    """The model that is named. Raises InvalidParameter, also for too fine a search."""
    model = service.models.get(query.model)
    if query.detection_px is not None:
        finest_px = model.aligner.detector.finest_px
        if query.detection_px > finest_px:
            raise InvalidParameter(f"detection_px: at most {finest_px} pixels are searched.")
    return model


def _boxes(text: str | None, limit: int) -> list[FaceBox] | None:
    """The caller's boxes. Raises InvalidParameter that says which one is malformed, and how."""
    if text is None:
        return None
    try:
        boxes = [FaceBox(*box) for box in BOXES.validate_json(text)]
    except ValidationError as error:
        raise InvalidParameter(explain(error.errors()[0], "boxes")) from error
    if len(boxes) > limit:
        raise InvalidParameter(f"boxes: {len(boxes)} are more than the {limit} accepted.")
    return boxes


def _shown(name: str) -> str:
    """A name as it came, cut where it is no name any more."""
    return name[:40]
