"""Command line: run the families, print the table, write the JSON; ends non-zero on a miss."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import click
import uvloop

from proof.harness import ROOT
from proof.harness.machine import machine
from proof.promises import deadlines, disconnects, faults, fuzz, overload, rolling, soak
from proof.promises.command import json_option, measured, only_option
from proof.promises.promises import (
    Plan,
    Promise,
    as_markdown,
    conclude,
    write_json,
    write_table,
)

FAMILIES = {
    "fuzz": fuzz.run,
    "overload": overload.run,
    "deadlines": deadlines.run,
    "disconnects": disconnects.run,
    "faults": faults.run,
    "rolling": rolling.run,
    "soak": soak.run,
}
UNASKED = [name for name in FAMILIES if name != "soak"]
"""What runs when nothing is named: the soak takes half an hour."""


@click.command()
@only_option(FAMILIES)
@click.option("--short", is_flag=True, help="A minute; times are not judged.")
@json_option("chaos.json")
@click.option("--document", is_flag=True, help="Put the table into docs/promises.md.")
@click.option("--seed", default=0, show_default=True, help="Of the uploads and the arrivals.")
@click.option("--from", "first_upload", default=0, help="Number of the first fuzzed upload.")
@click.option("--minutes", default=30.0, show_default=True, help="Of the soak.")
def main(
    only: Sequence[str],
    short: bool,
    out: Path,
    document: bool,
    seed: int,
    first_upload: int,
    minutes: float,
) -> None:
    """Measure the service's promises: all but the soak, or those named."""
    plan = Plan(short, seed, first_upload, minutes)
    before = machine()
    families = [measured(name, partial(_run, name, plan), plan) for name in only or UNASKED]
    table = as_markdown(families, plan)
    print(f"\n{', '.join(f'{key}: {value}' for key, value in before.items())}\n\n{table}\n")
    write_json(out, families, plan, before)
    if document:
        write_table(ROOT / "docs" / "promises.md", table)
    conclude(families, plan, out)


def _run(name: str, plan: Plan) -> list[Promise]:
    return uvloop.run(FAMILIES[name](plan))


if __name__ == "__main__":
    main()
