"""Command line: run the families, print the table, write the JSON; ends non-zero on a miss."""

import argparse
import sys
import time
from pathlib import Path

import uvloop

from bench.report import machine
from proof.harness import ROOT
from proof.promises import disconnects, faults, fuzz, overload, rolling, soak
from proof.promises.promises import Family, Plan, as_markdown, missed, write_json, write_readme

FAMILIES = {
    "fuzz": fuzz.run,
    "overload": overload.run,
    "disconnects": disconnects.run,
    "faults": faults.run,
    "rolling": rolling.run,
    "soak": soak.run,
}
UNASKED = [name for name in FAMILIES if name != "soak"]
"""What runs when nothing is named: the soak takes half an hour."""


def main() -> None:
    """Run what was asked for."""
    options = argparse.ArgumentParser(prog="python -m proof.promises", description=__doc__)
    options.add_argument("--only", choices=FAMILIES, action="append", help="may be given again")
    options.add_argument("--short", action="store_true", help="a minute; times are not judged")
    options.add_argument("--json", type=Path, default=ROOT / "bench" / "results" / "chaos.json")
    options.add_argument("--readme", action="store_true", help="put the table into README.md")
    options.add_argument("--seed", type=int, default=0, help="of the uploads and the arrivals")
    options.add_argument(
        "--from", type=int, default=0, dest="first_upload", help="number of the first fuzzed upload"
    )
    options.add_argument("--minutes", type=float, default=30, help="of the soak")
    arguments = options.parse_args()
    plan = Plan(arguments.short, arguments.seed, arguments.first_upload, arguments.minutes)
    before = machine()
    families = []
    for name in arguments.only or UNASKED:
        started = time.monotonic()
        promises = uvloop.run(FAMILIES[name](plan))
        families.append(Family(name, time.monotonic() - started, promises))
    table = as_markdown(families, plan)
    print(f"\n{', '.join(f'{key}: {value}' for key, value in before.items())}\n\n{table}\n")
    write_json(arguments.json, families, plan, before)
    if arguments.readme:
        write_readme(ROOT / "README.md", table)
    broken = missed(families, plan)
    print(f"{len(broken)} missed; everything measured is in {arguments.json}")
    sys.exit(bool(broken))


if __name__ == "__main__":
    main()
