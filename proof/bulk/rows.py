"""Whether a run's rows are those of its photographs, and what the service answers for them."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyarrow.dataset

from lwbafa.bulk.nested import nested
from lwbafa.bulk.rows import Row, aligned, failed
from lwbafa.client import Client
from lwbafa.errors import ServiceError
from lwbafa.model_store import checkpoint_folder
from proof.bulk.photographs import Made, content_of
from proof.harness.server import running_service
from proof.promises.promises import Promise, exactly

MOST_APART = 0.005
"""Of a number: pixels, degrees or a score, which the service rounds to the third or fourth digit
behind the point, and the rows to 32 bits."""


def rows_of(out: Path) -> pyarrow.Table:
    """All rows of a run."""
    return pyarrow.dataset.dataset(str(out / "parts")).to_table()


def complete(rows: pyarrow.Table, made: Made) -> list[Promise]:
    """That each photograph has one row, and those cut short have their error."""
    count = Counter(rows["uri"].to_pylist())
    lost = [uri for uri in made.uris if uri not in count]
    strange = sorted(set(count) - set(made.uris))
    bad = rows.filter(pyarrow.compute.not_equal(rows["status"], "ok")).to_pylist()
    codes = {row["uri"]: row["error"]["code"] for row in bad}
    return [
        exactly("rows for the photographs", len(rows), len(made.uris), strange=strange[:20]),
        exactly("photographs without a row", len(lost), 0, lost=lost[:20]),
        exactly("photographs with two", sum(number > 1 for number in count.values()), 0),
        exactly(
            "photographs cut short: rows with `truncated_image`",
            sum(codes.get(uri) == "truncated_image" for uri in made.torn),
            len(made.torn),
        ),
        exactly(
            "rows with another error",
            sum(code != "truncated_image" for code in codes.values()),
            0,
            codes=dict(Counter(codes.values())),
        ),
    ]


def like_the_service(rows: pyarrow.Table, made: Made, count: int, model: str) -> Promise:
    """That a sample, with some that were cut short, are the answers of a running service."""
    chance = Random(1)
    uris = chance.sample(made.torn, min(len(made.torn), 5))
    uris += chance.sample(made.uris, min(len(made.uris), count))
    chosen = rows.filter(pyarrow.compute.is_in(rows["uri"], pyarrow.array(uris))).to_pylist()
    with (
        running_service(checkpoint_folder(model), detector="yunet") as server,
        Client(server.url, timeout_s=120) as client,
    ):
        apart = [(row, _apart(row, _answered(client, row["uri"]))) for row in chosen]
    unlike = [row["uri"] for row, most in apart if most > MOST_APART]
    return exactly(
        f"of {len(chosen)} answers of the service, unlike their row",
        len(unlike),
        0,
        unlike=unlike,
        most_apart=max((most for _, most in apart if np.isfinite(most)), default=0.0),
        faces=sum(len(row["faces"]) for row in chosen),
    )


def _answered(client: Client, uri: str) -> Row:
    try:
        answer = client.answer(content_of(uri), max_faces=16)
    except ServiceError as error:
        return nested(failed(uri, None, error))
    faces = [face.as_dict() for face in answer.faces]
    return nested(aligned(uri, None, (answer.width, answer.height), faces))


def _apart(row: Row, other: Row) -> float:
    """How far the numbers of two rows are apart at most; infinitely, if they are not alike."""
    numbers, others = list[float](), list[float]()
    alike = _flat({**row, "shard": None, "index": None}, numbers)
    if alike != _flat({**other, "shard": None, "index": None}, others):
        return np.inf
    return float(np.max(np.abs(np.subtract(numbers, others)), initial=0.0))


def _flat(value: Any, numbers: list[float]) -> Any:
    """The value without its numbers, which are gathered; without the text of an error."""
    if isinstance(value, dict):
        return {key: _flat(inner, numbers) for key, inner in value.items() if key != "text"}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_flat(inner, numbers) for inner in value]
    if isinstance(value, float):
        numbers.append(value)
        return "a number"
    return value
