"""Up to five times what the service can do: what it accepts it answers, the rest it refuses."""

import asyncio
import time
from typing import NamedTuple

from proof.harness.checkpoints import FULL
from proof.harness.open_loop import Sample, load, poisson
from proof.harness.target import REFERENCE, Target, percentile, target
from proof.harness.wire import Caller
from proof.promises.promises import Plan, Promise, at_least, at_most

DEADLINE_MS = 3_000
SETTINGS = {
    # Five times what the lite network does are 1,300 requests a second: sending them takes the
    # cores that the service is to be measured on.
    "checkpoint_dirs": FULL,
    "request_deadline_ms": DEADLINE_MS,
    # What waits when a rush ends is still to be done: two seconds' work on two cores at most.
    "max_batch_faces": 8,
    "max_queue_faces": 24,
    "max_request_faces": 8,
}
CLOSED_LOOP_CALLERS = 20  # as many as are in a batch or wait for one
LIVEZ_PER_S = 20.0
BASE_REQUESTS = 20
MOST = 5
GIVE_UP_S = 30
FIRST_BATCH_S = 1.0
"""So late an idle service's first answers come at most."""
SAME_BATCH_S = 0.05
RECOVERED = 1.5
"""Times the base latency at which the service counts as recovered."""


class Phase(NamedTuple):
    """One offered load and what came of it."""

    seconds: float
    samples: list[Sample]
    generator_share: float

    @property
    def answered(self) -> list[Sample]:
        """Aligned within the deadline."""
        return [sample for sample in self.samples if sample.status == 200]

    @property
    def refused(self) -> list[Sample]:
        """Told to come back."""
        return [sample for sample in self.samples if sample.status == 429]

    @property
    def goodput(self) -> float:
        """Answers a second, while the load lasted."""
        return _rate([sample.done_s for sample in self.answered], self.seconds)

    def describe(self) -> dict[str, object]:
        """For the JSON."""
        statuses = [sample.status for sample in self.samples]
        lag = [sample.sent_s - sample.due_s for sample in self.samples]
        return {
            "offered_per_s": len(self.samples) / self.seconds,
            "goodput_per_s": self.goodput,
            "statuses": {status: statuses.count(status) for status in sorted(set(statuses))},
            "accepted_ms": _spread([sample.latency_s for sample in self.answered]),
            "refused_ms": _spread([sample.latency_s for sample in self.refused]),
            "sent_late_by_ms": _spread(lag),
            "generator_cpu_share_of_one_core": self.generator_share,
        }


async def run(plan: Plan) -> list[Promise]:
    """Capacity first, then 1, 2 and 5 times as much, then the way back."""
    seconds = plan.pick(20, 2)
    async with target(**SETTINGS) as service:
        base = await _sequential(service, plan.pick(BASE_REQUESTS, 3))
        capacity = await _closed_loop(service, plan.pick(12, 2))
        phases: dict[int, Phase] = {}
        for times in (1, 2):
            phases[times] = await _phase(service, capacity, times, seconds, plan)
            await service.at_rest()
        phases[MOST], live, recovery = await asyncio.gather(
            _phase(service, capacity, MOST, seconds, plan),
            _livez(service, seconds),
            _recovery(service, seconds, RECOVERED * percentile(base, 0.5)),
        )
        await service.at_rest()
        logged = service.errors_logged()
    peak = max(capacity, *(phase.goodput for phase in phases.values()))
    # Accepted is all that was not refused: one that was given up at its deadline counts as late.
    accepted = [s.latency_s for p in phases.values() for s in p.samples if s.status != 429]
    refused = [sample for phase in phases.values() for sample in phase.refused]
    others = [s.status for p in phases.values() for s in p.samples if s.status not in (200, 429)]
    blunt = sum(not _says_when(sample) for sample in refused)
    dead = sum(sample.status != 200 for sample in live)
    found = {f"{times}x": phase.describe() for times, phase in phases.items()}
    return [
        at_least(
            f"requests answered at 1 × capacity ({capacity:.1f} a second)",
            100 * len(phases[1].answered) / len(phases[1].samples), 95, "%", timed=True, **found,
        ),
        *(
            at_least(
                f"goodput at {times} × capacity, of the peak",
                100 * phases[times].goodput / peak, 90, "%", timed=True,
            )
            for times in (2, MOST)
        ),
        at_most(
            "accepted requests, p99", percentile(accepted, 0.99), DEADLINE_MS / 1000, "s",
            timed=True,
        ),
        at_most(
            "refusals, p99", 1000 * percentile([s.latency_s for s in refused], 0.99), 25, "ms",
            timed=True, count=len(refused), spread_ms=_spread([s.latency_s for s in refused]),
        ),
        at_least("refusals", len(refused), 1),
        at_most("refusals without Retry-After", blunt, 0),
        # A busy machine may miss deadlines; it may not fail in any other way.
        at_most("neither answered nor refused", len(others), 0, timed=set(others) <= {504}),
        at_most("/livez at 5 ×, p99", 1000 * percentile([s.latency_s for s in live], 0.99), 100,
                "ms", timed=True),
        at_most("/livez at 5 × not 200", dead, 0),
        at_most(f"back at {RECOVERED:g} × the base latency after", recovery, 2, "s", timed=True,
                base_ms=_spread(base)),
        at_most("errors logged", len(logged), 0, lines=logged[:50]),
    ]  # fmt: skip


async def _sequential(service: Target, count: int) -> list[float]:
    """Latencies of an idle service."""
    caller, latencies = Caller(service.address), []
    for _ in range(count):
        started = time.perf_counter()
        await caller.ask(REFERENCE)
        latencies.append(time.perf_counter() - started)
    caller.close()
    return latencies


async def _closed_loop(service: Target, seconds: float) -> float:
    """Answers a second where every caller sends again as soon as it was answered."""
    began = time.perf_counter()
    done: list[float] = []

    async def caller() -> None:
        connection = Caller(service.address)
        while time.perf_counter() - began < seconds:
            answer = await connection.ask(REFERENCE)
            if answer is not None and answer.status == 200:
                done.append(time.perf_counter() - began)
            else:
                await asyncio.sleep(0.05)
        connection.close()

    await asyncio.gather(*(caller() for _ in range(CLOSED_LOOP_CALLERS)))
    return _rate(done, seconds) or 1 / seconds


def _rate(moments: list[float], seconds: float) -> float:
    """Answers a second, from the first batch's to the first that ends after `seconds`.

    A batch's answers come together, so a window from edge to edge would cut two batches. Silence
    counts: a first batch that is late is taken for one in time, and after the last nothing is.
    """
    if not moments:
        return 0.0
    first = min(min(moments), FIRST_BATCH_S)
    last = min((moment for moment in moments if moment >= seconds), default=seconds)
    return sum(first + SAME_BATCH_S < moment <= last + SAME_BATCH_S for moment in moments) / (
        last - first
    )


async def _phase(service: Target, capacity: float, times: int, seconds: float, plan: Plan) -> Phase:
    rate = times * capacity
    if times == MOST:  # in a short run on a slow machine, still more than can wait
        rate = max(rate, 40 / seconds)
    due = poisson(rate, seconds, plan.seed + times)
    cpu, began = time.process_time(), time.perf_counter()
    samples = await load(
        service.address,
        due,
        lambda number: REFERENCE,
        limit_s=2 * DEADLINE_MS / 1000 + 30,
        description=f"overload, {times} ×",
    )
    share = (time.process_time() - cpu) / (time.perf_counter() - began)
    return Phase(seconds, samples, share)


async def _livez(service: Target, seconds: float) -> list[Sample]:
    due = [number / LIVEZ_PER_S for number in range(int(seconds * LIVEZ_PER_S))]
    request = b"GET /livez HTTP/1.1\r\nHost: chaos\r\n\r\n"
    return await load(service.address, due, lambda number: request, limit_s=30)


async def _recovery(service: Target, load_s: float, limit_s: float) -> float:
    """Seconds from the load's end until a request is sent that is answered within a limit."""
    await asyncio.sleep(load_s)
    ended = time.perf_counter()
    caller = Caller(service.address)
    while (sent := time.perf_counter()) < ended + GIVE_UP_S:
        answer = await caller.ask(REFERENCE)
        if answer is None or answer.status != 200:
            await asyncio.sleep(0.05)
        elif time.perf_counter() - sent <= limit_s:
            break
    caller.close()
    return sent - ended


def _says_when(refusal: Sample) -> bool:
    assert refusal.answer is not None
    value = refusal.answer.headers.get("retry-after", "")
    return value.isdecimal() and int(value) >= 1


def _spread(values: list[float]) -> dict[str, float]:
    return {
        f"p{share:g}": round(1000 * percentile(values, share / 100), 2) for share in (50, 99, 100)
    }
