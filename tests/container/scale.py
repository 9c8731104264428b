"""Instances behind nginx: spread, one killed, all replaced, and the same CPUs split among more."""

import asyncio
import time
from collections import Counter
from typing import Any

from app.settings import granted_cpus
from bench.photographs import astronaut
from tests.chaos.load import Sample, load
from tests.chaos.promises import Promise, at_least, at_most
from tests.chaos.target import REFERENCE, alike, as_text, content
from tests.chaos.wire import Address, Caller, post
from tests.container.engine import Container, containers
from tests.container.proxy import Proxy, proxy

COUNTS = (2, 4)
CONNECTIONS = 32
RAMP_S, MEASURED_S = 8.0, 25.0
REQUESTS_PER_S = 3
LIMIT_S = 30
LONGEST_S = 600


async def run() -> list[Promise]:
    """One instance with all CPUs, then two and four with their share, twice in turn."""
    speeds: dict[int, list[float]] = {count: [] for count in (1, *COUNTS)}
    promises: list[Promise] = []
    for count in (1, *COUNTS, *reversed(COUNTS), 1):
        again = bool(speeds[count])
        async with (
            containers(count, granted_cpus() / count) as instances,
            proxy([instance.address for instance in instances]) as front,
        ):
            speeds[count].append(await _answers_per_second(front.address))
            if count in COUNTS and not again:
                promises += await _spread(instances)
                promises += await _kill_one(front, instances)
                promises += await _replace_all(front, instances)
    for count in COUNTS:
        # The rounds go there and back: what drifts meets all of them.
        ratio = sum(speeds[count]) / sum(speeds[1])
        name = f"faces a second of {count} instances with 1/{count} of the CPUs, of one's with all"
        promises.append(at_least(name, 100 * ratio, 90, "%", faces_per_second=speeds))
    return promises


async def _answers_per_second(address: Address) -> float:
    """In a closed loop, saturated, one face each."""
    done: list[float] = []
    begin = time.monotonic() + RAMP_S
    end = begin + MEASURED_S

    async def send() -> None:
        caller = Caller(address)
        while time.monotonic() < end:
            answer = await caller.ask(REFERENCE)
            if answer is None or answer.status != 200:
                raise RuntimeError(f"not answered when saturated: {as_text(answer)}")
            done.append(time.monotonic())
        caller.close()

    await asyncio.gather(*(send() for _ in range(CONNECTIONS)))
    # Answers come a batch at a time: the window goes from one of them to another.
    first = max((moment for moment in done if moment <= begin), default=begin)
    within = [moment for moment in done if begin < moment <= end]
    return len(within) / (max(within) - first)


async def _spread(instances: list[Container]) -> list[Promise]:
    labels = 'route="/v1/align"'
    name = "lwbafa_request_seconds_count"
    shares = [await instance.metric(name, labels) for instance in instances]
    least = 100 * min(shares) / (sum(shares) / len(shares))
    name = f"{len(instances)} instances: requests of the one with fewest, of an even share"
    return [at_least(name, least, 70, "%", requests=shares)]


async def _kill_one(front: Proxy, instances: list[Container]) -> list[Promise]:
    """SIGKILL in mid-load; the container is started again afterwards."""
    killed_s = 0.0
    began = time.perf_counter()

    async def kill() -> None:
        nonlocal killed_s
        await asyncio.sleep(5)
        killed_s = time.perf_counter() - began
        await instances[0].kill()
        await asyncio.sleep(10)

    samples, reference = await _load_during(front, kill())
    await instances[0].remove()
    await instances[0].start()
    failed = _failed(samples, reference)
    in_flight = sum(sample.sent_s <= killed_s <= sample.done_s for sample in samples)
    name = f"{len(instances)} instances, one killed: requests lost beyond those in flight"
    lost = failed.total()
    evidence: dict[str, Any] = {"failed": failed, "in_flight": in_flight, "sent": len(samples)}
    return [at_most(name, max(0, lost - in_flight), 0, lost=lost, **evidence)]


async def _replace_all(front: Proxy, instances: list[Container]) -> list[Promise]:
    """Stop, remove and start each again, one after the other, with large uploads among the load."""
    statuses = []

    async def roll() -> None:
        for instance in instances:
            statuses.append(await instance.stop())
            await instance.remove()
            await instance.start()

    samples, reference = await _load_during(front, roll())
    failed = _failed(samples, reference)
    large = await Caller(front.address).ask(post(astronaut(2048, "png").body))
    name = f"{len(instances)} instances, each replaced: requests lost"
    return [
        at_most(name, failed.total(), 0, failed=failed, sent=len(samples), exits=statuses),
        at_most("uploads that nginx wrote to disk", front.written_to_disk(), 0,
                large=as_text(large)),
    ]  # fmt: skip


async def _load_during(front: Proxy, event: Any) -> tuple[list[Sample], Any]:
    """What came of a steady load from before an event until after it; a right answer's content."""
    first = await Caller(front.address).ask(REFERENCE)
    assert first is not None
    assert first.status == 200, as_text(first)
    happening = asyncio.create_task(event)
    samples = await load(
        front.address,
        [number / REQUESTS_PER_S for number in range(REQUESTS_PER_S * LONGEST_S)],
        lambda number: REFERENCE,
        limit_s=LIMIT_S,
        keep_alive=False,
        enough=lambda sent: happening.done(),
        kept_bodies=lambda number: True,
    )
    await happening
    return samples, content(first)


def _failed(samples: list[Sample], reference: Any) -> Counter[str]:
    """What was not answered rightly, by status and code."""
    return Counter(
        as_text(sample.answer) if sample.status != 200 else "wrong points"
        for sample in samples
        if sample.answer is None
        or sample.status != 200
        or not alike(content(sample.answer), reference)
    )
