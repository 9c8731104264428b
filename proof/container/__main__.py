"""Show the image at work on this machine's Docker engine: one table, non-zero on a miss.

make docker-check                                # all
python -m proof.container --only split           # one family
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click

from proof.container import compose, image, instances, limits, split
from proof.harness.machine import machine
from proof.promises.command import json_option, measured, only_option
from proof.promises.promises import Plan, Promise, as_markdown, conclude, write_json

FAMILIES: dict[str, Callable[[], Coroutine[Any, Any, list[Promise]]]] = {
    "image": image.run,
    "compose": compose.run,
    "limits": limits.run,
    "instances": instances.run,
    "split": split.run,
}


@click.command()
@only_option(FAMILIES)
@json_option("container.json")
def main(only: Sequence[str], out: Path) -> None:
    """Show the image at work on this machine's Docker engine: all, or the families named."""
    before = machine()
    families = [measured(name, partial(_run, name), Plan()) for name in only or list(FAMILIES)]
    print(f"\n{', '.join(f'{key}: {value}' for key, value in before.items())}\n")
    print(as_markdown(families, Plan()), end="\n\n")
    write_json(out, families, Plan(), before)
    conclude(families, Plan(), out)


def _run(name: str) -> list[Promise]:
    return asyncio.run(FAMILIES[name]())


if __name__ == "__main__":
    main()
