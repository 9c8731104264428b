"""What a service that nobody asks takes: CPU time in percent of one core.

python -m bench.idle
"""

import time
from pathlib import Path

import click
from tqdm import tqdm

from bench.report import Report, Spread, checkpoint_option, print_machine, rounds_option
from proof.harness.photographs import astronaut
from proof.harness.server import Caller, Server, running_service

REST_S = 2.0
REQUESTS = 8


def measure(folder: Path, rounds: int, seconds: float) -> Report:
    """Percent of one core, over `seconds` in every round, before and after some requests."""
    with running_service(folder) as server:
        ready = _idle(server, rounds, seconds, "idle, never asked")
        with Caller(server) as caller:
            for _ in range(REQUESTS):
                caller.align(astronaut(), with_box=False)
        asked = _idle(server, rounds, seconds, "idle, asked before")
    note = (
        f"CPU time of the process in {seconds:g} s without a request or connection; median "
        f"(least–greatest) of {rounds}, once ready and again after {REQUESTS} requests."
    )
    row = {"ready, never asked": ready, f"after {REQUESTS} requests": asked}
    return Report("Idle CPU of the service, percent of one core", note, [{**row}])


def _idle(server: Server, rounds: int, seconds: float, description: str) -> Spread:
    time.sleep(REST_S)
    return Spread.of([_percent(server, seconds) for _ in tqdm(range(rounds), desc=description)])


def _percent(server: Server, seconds: float) -> float:
    began, before = time.perf_counter(), server.cpu_s()
    time.sleep(seconds)
    return 100 * (server.cpu_s() - before) / (time.perf_counter() - began)


@click.command()
@checkpoint_option
@rounds_option
@click.option("--seconds", default=20.0, show_default=True, help="Of every measurement.")
def main(checkpoint: Path, rounds: int, seconds: float) -> None:
    """Idle CPU of the service."""
    print_machine()
    print(measure(checkpoint, rounds, seconds).as_text())


if __name__ == "__main__":
    main()
