"""What the commands that measure promises share: their options, and a family's measuring."""

import time
import traceback
from collections.abc import Callable, Collection
from pathlib import Path

import click

from proof.harness import ROOT
from proof.promises.promises import (
    Family,
    Plan,
    Promise,
    as_markdown,
    not_measured,
)


def only_option(names: Collection[str]) -> Callable[..., Callable[..., None]]:
    """`--only`: the families to measure."""
    return click.option(
        "--only", type=click.Choice(list(names)), multiple=True, help="May be repeated."
    )


def json_option(name: str) -> Callable[..., Callable[..., None]]:
    """`--json`: where everything measured goes, by default a file among the results."""
    return click.option(
        "--json",
        "out",
        type=click.Path(dir_okay=False, path_type=Path),
        default=ROOT / "bench" / "results" / name,
        help="Where everything measured goes.",
    )


def measured(name: str, run: Callable[[], list[Promise]], plan: Plan) -> Family:
    """A family, and its table printed; one that cannot go on is a miss, and the next goes on."""
    started = time.monotonic()
    try:
        promises = run()
    except Exception as error:
        traceback.print_exc()
        promises = not_measured(error)
    family = Family(name, time.monotonic() - started, promises)
    print(as_markdown([family], plan), flush=True)
    return family
