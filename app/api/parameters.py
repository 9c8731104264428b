"""The parameters of an alignment, wherever the caller put them: in the query or in the form."""

from collections import Counter
from collections.abc import Sequence

from pydantic import ValidationError

from app.api.problems import explain
from app.api.schemas import AlignQuery
from app.errors import InvalidParameter

Pairs = Sequence[tuple[str, str]]


def refuse_repeated(parameters: Pairs) -> None:
    """Raise InvalidParameter, which names it, if a parameter is given more than once."""
    for name, count in Counter(name for name, _ in parameters).items():
        if count > 1:
            raise InvalidParameter(f"{_shown(name)}: is given {count} times; give it once.")


def with_fields(query: AlignQuery, fields: Pairs) -> AlignQuery:
    """The query's parameters and those that came as fields of a form.

    Raises InvalidParameter, which names it, for one that is wrong, unknown, or in both places.
    """
    refuse_repeated(fields)
    for name, _ in fields:
        if name in query.model_fields_set:
            raise InvalidParameter(f"{name}: is given in the query and in the form; give it once.")
        if name not in AlignQuery.model_fields:
            known = ", ".join(AlignQuery.model_fields)
            raise InvalidParameter(f"{_shown(name)}: is no parameter; there are: {known}.")
    try:
        return AlignQuery.model_validate(query.model_dump(exclude_unset=True) | dict(fields))
    except ValidationError as error:
        raise InvalidParameter(explain(error.errors()[0], "")) from error


def _shown(name: str) -> str:
    """A name as it came, cut where it is no name any more."""
    return name[:40]
