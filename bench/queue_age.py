"""What an autoscaler could see of a replica at several loads.

    python -m bench.queue_age

One service with its default settings, first saturated to learn its capacity, then offered shares
of that with Poisson arrivals. Every second the gauges are read, as Prometheus would; the time that
faces spent in the queue is of every answered face.
"""

import asyncio
import time
from pathlib import Path
from statistics import mean

import click
import psutil

from bench.report import Cell, Report, checkpoint_option, print_machine
from lwbafa.cpus import granted_cpus
from proof.harness.open_loop import load, poisson
from proof.harness.photographs import FACE, astronaut
from proof.harness.target import Target, percentile, target
from proof.harness.wire import Caller, post

LEVELS = (0.25, 0.5, 0.75, 0.9, 1.1, 2.0)
CLOSED_LOOP_CALLERS = 24
CAPACITY_S = 10
SCRAPE_EVERY_S = 1.0
GIVE_UP_S = 60
GAUGES = (
    "lwbafa_queue_oldest_seconds",
    "lwbafa_preparation_oldest_seconds",
    "lwbafa_inflight_requests",
)
UPLOADS = {
    "box given": post(astronaut().body, boxes=[FACE]),
    "with detection": post(astronaut().body),
}
"""A 512×512 JPEG of one face."""


async def measure(checkpoint: Path, kind: str, seconds: float) -> Report:
    """Offer every level for some seconds."""
    upload = UPLOADS[kind]
    async with target(checkpoint_dirs=checkpoint.resolve(), log_level="warning") as service:
        capacity = await _capacity(service, upload)
        rows: list[dict[str, Cell]] = []
        for level in LEVELS:
            due = poisson(level * capacity, seconds, seed=round(100 * level))
            rows.append({"load": f"{level:g} ×", **await _offer(service, upload, due, seconds)})
            await service.at_rest()
    note = (
        f"Capacity {capacity:.1f} faces a second on {granted_cpus()} CPUs, which the load "
        f"generator shares; {seconds:g} s at each load; gauges read every {SCRAPE_EVERY_S:g} s."
    )
    return Report(f"What an autoscaler sees, {kind}", note, rows)


async def _capacity(service: Target, upload: bytes) -> float:
    """Answers a second of a closed loop that keeps every batch full, after a warm-up as long."""
    done: list[float] = []
    began = time.perf_counter()

    async def caller() -> None:
        connection = Caller(service.address)
        while time.perf_counter() < began + 2 * CAPACITY_S:
            answer = await connection.ask(upload)
            if answer is not None and answer.status == 200:
                done.append(time.perf_counter())
            else:  # a slow first batch makes the service careful
                await asyncio.sleep(0.2)
        connection.close()

    await asyncio.gather(*(caller() for _ in range(CLOSED_LOOP_CALLERS)))
    return sum(CAPACITY_S < moment - began <= 2 * CAPACITY_S for moment in done) / CAPACITY_S


async def _offer(
    service: Target, upload: bytes, due: list[float], seconds: float
) -> dict[str, Cell]:
    """One level's row."""
    process = psutil.Process(service.process.pid)
    stage = [f"lwbafa_stage_seconds_{part}" for part in ("sum", "count")]
    before = [await service.metric(name, stage="queue") for name in stage]
    samples, (seen, busy) = await asyncio.gather(
        load(service.address, due, lambda _: upload, limit_s=GIVE_UP_S),
        _watch(service, process, seconds),
    )
    after = [await service.metric(name, stage="queue") for name in stage]
    waited_s, faces = (b - a for a, b in zip(before, after, strict=True))
    answered = [sample.latency_s for sample in samples if sample.status == 200]
    ages, workers_ages, inflight = (list(values) for values in zip(*seen, strict=True))
    return {
        "faces/s": len(due) / seconds,
        "answered %": 100 * len(answered) / len(samples),
        "p95 ms": 1000 * percentile(answered, 0.95),
        "CPU %": 100 * busy / (seconds * granted_cpus()),
        "queue age, mean ms": 1000 * mean(ages),
        "queue age, most ms": 1000 * max(ages),
        "for a worker, mean ms": 1000 * mean(workers_ages),
        "for a worker, most ms": 1000 * max(workers_ages),
        "time in queue, mean ms": 1000 * waited_s / faces if faces else 0.0,
        "in flight, mean": mean(inflight),
    }


async def _watch(
    service: Target, process: psutil.Process, seconds: float
) -> tuple[list[list[float]], float]:
    """The gauges at every scrape of a while, and the CPU time that the service took meanwhile."""
    began, used = time.perf_counter(), sum(process.cpu_times()[:2])
    seen = []
    for number in range(int(seconds / SCRAPE_EVERY_S)):
        await asyncio.sleep(began + (number + 0.5) * SCRAPE_EVERY_S - time.perf_counter())
        seen.append([await service.metric(name) for name in GAUGES])
    await asyncio.sleep(began + seconds - time.perf_counter())
    return seen, sum(process.cpu_times()[:2]) - used


@click.command()
@checkpoint_option
@click.option("--seconds", default=15.0, show_default=True, help="At each load.")
@click.option("--only", type=click.Choice(list(UPLOADS)), help="One kind of upload.")
def main(checkpoint: Path, seconds: float, only: str | None) -> None:
    """What an autoscaler sees at several loads: a table for each kind of upload."""
    print_machine()
    for kind in [only] if only else UPLOADS:
        print(asyncio.run(measure(checkpoint, kind, seconds)).as_text(), flush=True)


if __name__ == "__main__":
    main()
