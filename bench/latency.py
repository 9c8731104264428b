"""Where an idle service spends the time of a request.

    python -m bench.latency

One caller, by the answers' Server-Timing headers and the client's clock: a small photograph with
the face's box given and with detection, one after the other and after a rest, in which the CPU's
caches and clock cool down; and one of 12 MP as a phone makes it.
"""

import statistics
import time
from functools import partial
from pathlib import Path

import click
from tqdm import tqdm

from bench.report import Cell, Report, Spread, checkpoint_option, print_machine, rounds_option
from proof.harness.photographs import SIDE_PX, Upload, astronaut, phone_photograph
from proof.harness.server import Caller, running_service

REST_S = 0.1

OVERHEAD = "total − network − decode"
CLIENT = "client's total"


def measure(folder: Path, rounds: int, requests: int) -> Report:
    """Milliseconds by stage; every round has this many requests of each case."""
    small, phone = astronaut(), phone_photograph()
    cases = {
        "box given": partial(_stages, small, with_box=True),
        "detection": partial(_stages, small, with_box=False),
        f"detection, {1000 * REST_S:.0f} ms apart": partial(_after_rest, small),
        "12 MP, detection": partial(_stages, phone, with_box=False),
    }
    medians: dict[str, list[dict[str, float]]] = {case: [] for case in cases}
    with (
        running_service(folder) as server,
        Caller(server) as caller,
        tqdm(total=rounds * len(cases), desc="latency", unit="case") as bar,
    ):
        for _ in range(rounds):
            for case, request in cases.items():
                # Each in a row: a caller's next request is mostly like the last.
                samples = [request(caller) for _ in range(requests)]
                medians[case].append(_median_of_each(samples))
                bar.update()
    stages = list(medians["detection"][0])
    rows: list[dict[str, Cell]] = [
        {
            "stage": stage,
            **{case: _spread(stage, medians[case]) for case in cases},
        }
        for stage in stages
    ]
    note = (
        f"One face each: a JPEG of {SIDE_PX} × {SIDE_PX}, and one of 4032 × 3024 as a phone stores "
        f"it (EXIF orientation 6, quality 90, {len(phone.body) / 1e6:.1f} MB), made by enlarging "
        f"the first and adding noise. {requests} requests of one case in a row, their median; of "
        f"those the median (least–greatest) over {rounds} rounds."
    )
    return Report("Latency of an idle service by stage, milliseconds", note, rows)


def _after_rest(upload: Upload, caller: Caller) -> dict[str, float]:
    time.sleep(REST_S)
    return _stages(upload, caller, with_box=False)


def _stages(upload: Upload, caller: Caller, with_box: bool) -> dict[str, float]:
    started = time.perf_counter()
    headers = caller.align(upload, with_box)
    took = 1000 * (time.perf_counter() - started)
    entries = (entry.split(";dur=") for entry in headers["Server-Timing"].split(", "))
    stages = {name: float(duration) for name, duration in entries}
    overhead = stages["total"] - stages["network"] - stages["decode"]
    return {**stages, OVERHEAD: overhead, CLIENT: took}


def _spread(stage: str, medians: list[dict[str, float]]) -> Cell:
    """Over the rounds; a dash for a stage that a case does without."""
    return Spread.of([row[stage] for row in medians]) if stage in medians[0] else "–"


def _median_of_each(samples: list[dict[str, float]]) -> dict[str, float]:
    return {stage: statistics.median(s[stage] for s in samples) for stage in samples[0]}


@click.command()
@checkpoint_option
@rounds_option
@click.option("--requests", default=20, show_default=True, help="Per round, of each case.")
def main(checkpoint: Path, rounds: int, requests: int) -> None:
    """Latency of an idle service by stage."""
    print_machine()
    print(measure(checkpoint, rounds, requests).as_text())


if __name__ == "__main__":
    main()
