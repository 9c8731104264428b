"""Show the image at work on this machine's Docker engine: one table, non-zero on a miss.

make docker-check                                # all
python -m proof.container --only split           # one family
"""

import argparse
import asyncio
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from bench.report import machine
from proof.container import compose, image, instances, limits, split
from proof.harness import ROOT
from proof.promises.promises import Family, Plan, Promise, as_markdown, missed, write_json

FAMILIES: dict[str, Callable[[], Awaitable[list[Promise]]]] = {
    "image": image.run,
    "compose": compose.run,
    "limits": limits.run,
    "instances": instances.run,
    "split": split.run,
}


async def measure(names: list[str]) -> list[Family]:
    """Each family; one that cannot go on is a miss, and the next goes on."""
    families = []
    for name in names:
        started = time.monotonic()
        try:
            promises = await FAMILIES[name]()
        except (RuntimeError, OSError, LookupError, subprocess.SubprocessError) as error:
            promises = [Promise("to be measured", "", f"{error}", False)]
        families.append(Family(name, time.monotonic() - started, promises))
        print(as_markdown(families[-1:], Plan()), flush=True)
    return families


def main() -> None:
    """Run what was asked for."""
    options = argparse.ArgumentParser(prog="python -m proof.container", description=__doc__)
    options.add_argument("--only", choices=FAMILIES, action="append", help="may be given again")
    options.add_argument("--json", type=Path, default=ROOT / "bench" / "results" / "container.json")
    arguments = options.parse_args()
    before = machine()
    families = asyncio.run(measure(arguments.only or list(FAMILIES)))
    print(f"\n{', '.join(f'{key}: {value}' for key, value in before.items())}\n")
    print(as_markdown(families, Plan()))
    write_json(arguments.json, families, Plan(), before)
    broken = missed(families, Plan())
    print(f"\n{len(broken)} missed; everything measured is in {arguments.json}")
    sys.exit(bool(broken))


if __name__ == "__main__":
    main()
