"""Half an hour of steady load: what grows, and what slows down."""

import asyncio
from contextlib import suppress
from typing import NamedTuple

from proof.harness.open_loop import load, poisson
from proof.harness.target import REFERENCE, Target, percentile, target
from proof.promises.promises import Plan, Promise, at_most

REQUESTS_PER_S = 5.0
"""Well below what two cores can do, so that a latency is the service's own and not the queue's."""
WARM_UP_SHARE = 0.1
MOMENTS = 120
LIMIT_S = 60


class Moment(NamedTuple):
    """What the process used at a time."""

    at_s: float
    resident_mib: float


async def run(plan: Plan) -> list[Promise]:
    """After a warm-up, compare the first quarter of the time with the last."""
    seconds = 5.0 if plan.short else 60 * plan.soak_minutes
    moments: list[Moment] = []
    # In a short run on a busy machine requests may queue for long; none is to be refused for it.
    async with target(request_deadline_ms=1000 * LIMIT_S) as service:
        files = service.open_files()
        watching = asyncio.create_task(_watch(service, seconds / MOMENTS, moments))
        samples = await load(
            service.address,
            poisson(REQUESTS_PER_S, seconds, plan.seed),
            lambda number: REFERENCE,
            limit_s=LIMIT_S,
            description="soak",
        )
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        await service.at_rest()
        left_open = await service.files_left_open(files)
        logged = service.errors_logged()
    begin = WARM_UP_SHARE * seconds
    quarter = (seconds - begin) / 4
    failed = [sample.status for sample in samples if sample.status != 200]
    early = [s.latency_s for s in samples if begin <= s.due_s < begin + quarter]
    late = [s.latency_s for s in samples if s.due_s >= seconds - quarter]
    before = [moment for moment in moments if begin <= moment.at_s < begin + quarter]
    after = [moment for moment in moments if moment.at_s >= seconds - quarter]
    name = f"requests failed of {len(samples):,} in {seconds / 60:.3g} minutes"
    return [
        at_most(name, len(failed), 0, statuses=sorted(set(failed))),
        at_most("memory drift", _growth([m.resident_mib for m in before],
                                        [m.resident_mib for m in after]), 64, "MiB", timed=True,
                moments=moments),
        at_most("latency drift, median", 100 * _drift(early, late, 0.5), 10, "%", timed=True,
                early_s=percentile(early, 0.5), late_s=percentile(late, 0.5)),
        at_most("latency drift, p99", 100 * _drift(early, late, 0.99), 25, "%", timed=True,
                early_s=percentile(early, 0.99), late_s=percentile(late, 0.99)),
        at_most("file descriptors left open", left_open, 0),
        at_most("errors logged", len(logged), 0, lines=logged[:50]),
    ]  # fmt: skip


async def _watch(service: Target, every_s: float, moments: list[Moment]) -> None:
    began = asyncio.get_running_loop().time()
    while True:
        at_s = asyncio.get_running_loop().time() - began
        moments.append(Moment(at_s, service.resident_mib()))
        await asyncio.sleep(every_s)


def _growth(before: list[float], after: list[float]) -> float:
    return percentile(after, 0.5) - percentile(before, 0.5)


def _drift(early: list[float], late: list[float], share: float) -> float:
    """Relative change of a percentile; 0 where there is nothing to compare."""
    return percentile(late, share) / percentile(early, share) - 1 if early and late else 0.0
