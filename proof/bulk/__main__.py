"""Command line: run the families, print the table, write the JSON; ends non-zero on a miss."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import click

from proof.bulk import kills, resume, speed
from proof.bulk.memory import draw
from proof.bulk.setup import Setup
from proof.harness import ROOT
from proof.harness.machine import machine
from proof.promises.command import json_option, measured, only_option
from proof.promises.promises import Plan, as_markdown, conclude, write_json, write_table

FAMILIES = {"kills": kills.run, "speed": speed.run, "resume": resume.run}


@click.command()
@only_option(FAMILIES)
@click.option("--photographs", default=20_000, show_default=True)
@click.option("--shard-size", default=100, show_default=True)
@click.option("--kills", "count", default=20, show_default=True, help="Of random processes.")
@click.option(
    "--faces",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of photographs to make them of, beside one public portrait.",
)
@click.option(
    "--work",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Folder for it all: what an earlier call has left there is gone on with.",
)
@click.option("--only-make", is_flag=True, help="Make the photographs, and run nothing.")
@json_option("bulk.json")
@click.option("--document", is_flag=True, help="Put table and plot into docs/.")
@click.option("--seed", default=0, show_default=True, help="Of what is killed, and when.")
def main(
    only: Sequence[str],
    photographs: int,
    shard_size: int,
    count: int,
    faces: Path | None,
    work: Path,
    only_make: bool,
    out: Path,
    document: bool,
    seed: int,
) -> None:
    """Measure what a run on a Ray cluster keeps: all, or the families named."""
    plan = Plan(seed=seed)
    work.mkdir(parents=True, exist_ok=True)
    setup = Setup(work.absolute(), photographs, shard_size, count, faces=faces)
    if only_make:
        kills.photographs_of(setup)
        return
    before = machine()
    families = [
        measured(name, partial(FAMILIES[name], plan, setup), plan)
        for name in only or list(FAMILIES)
    ]
    write_json(out, families, plan, before)
    if document:
        write_table(ROOT / "docs" / "bulk.md", as_markdown(families, plan))
        for evidence in (promise.evidence for family in families for promise in family.promises):
            if "samples" in evidence:
                draw(evidence["samples"], evidence["strikes"], ROOT / "docs" / "bulk-memory.png")
    conclude(families, plan, out)


if __name__ == "__main__":
    main()
