"""Show the image at work on this machine's Docker engine: one table, non-zero on a miss.

make docker-check                                # all
python -m proof.container --only split           # one family
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import click

from proof.container import compose, image, instances, limits, split
from proof.harness import ROOT
from proof.harness.machine import machine
from proof.promises.promises import (
    ENDS_A_FAMILY,
    Family,
    Plan,
    Promise,
    as_markdown,
    conclude,
    not_measured,
    write_json,
)

FAMILIES: dict[str, Callable[[], Awaitable[list[Promise]]]] = {
    "image": image.run,
    "compose": compose.run,
    "limits": limits.run,
    "instances": instances.run,
    "split": split.run,
}


async def measure(names: Sequence[str]) -> list[Family]:
    """Each family; one that cannot go on is a miss, and the next goes on."""
    families = []
    for name in names:
        started = time.monotonic()
        try:
            promises = await FAMILIES[name]()
        except ENDS_A_FAMILY as error:
            promises = not_measured(error)
        families.append(Family(name, time.monotonic() - started, promises))
        print(as_markdown(families[-1:], Plan()), flush=True)
    return families


@click.command()
@click.option("--only", type=click.Choice(list(FAMILIES)), multiple=True, help="May be repeated.")
@click.option(
    "--json",
    "out",
    type=click.Path(dir_okay=False, path_type=Path),
    default=ROOT / "bench" / "results" / "container.json",
    help="Where everything measured goes.",
)
def main(only: Sequence[str], out: Path) -> None:
    """Show the image at work on this machine's Docker engine: all, or the families named."""
    before = machine()
    families = asyncio.run(measure(only or list(FAMILIES)))
    print(f"\n{', '.join(f'{key}: {value}' for key, value in before.items())}\n")
    print(as_markdown(families, Plan()), end="\n\n")
    write_json(out, families, Plan(), before)
    conclude(families, Plan(), out)


if __name__ == "__main__":
    main()
