"""Instances behind nginx: the requests are spread, one is killed, all are replaced."""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

from lwbafa.cpus import granted_cpus
from proof.container.engine import Container, containers
from proof.container.proxy import Proxy, proxy
from proof.harness.open_loop import Sample, load
from proof.harness.photographs import astronaut
from proof.harness.target import REFERENCE, alike, as_text, content
from proof.harness.wire import Caller, post
from proof.promises.promises import Promise, at_least, at_most

COUNTS = (2, 4)
REQUESTS_PER_S = 3
LIMIT_S = 30
LONGEST_S = 600
SPREAD_S, BEFORE_S, AFTER_S = 20.0, 5.0, 10.0


async def run() -> list[Promise]:
    """Two instances, then four."""
    promises: list[Promise] = []
    for count in COUNTS:
        async with (
            containers(count, granted_cpus() / count) as instances,
            proxy([instance.address for instance in instances]) as front,
        ):
            promises += await _spread(front, instances)
            promises += await _kill_one(front, instances)
            promises += await _replace_all(front, instances)
    return promises


async def _spread(front: Proxy, instances: list[Container]) -> list[Promise]:
    """A steady load, counted by who answered."""
    await _load_during(front, lambda: asyncio.sleep(SPREAD_S))
    name = "lwbafa_request_seconds_count"
    shares = [await instance.metric(name, route="/v1/align") for instance in instances]
    least = 100 * min(shares) / (sum(shares) / len(shares))
    name = f"{len(instances)} instances: requests of the one with fewest, of an even share"
    return [at_least(name, least, 70, "%", requests=shares)]


async def _kill_one(front: Proxy, instances: list[Container]) -> list[Promise]:
    """SIGKILL in mid-load; the container is started again afterwards."""

    async def kill() -> None:
        await asyncio.sleep(BEFORE_S)
        await instances[0].kill()
        await asyncio.sleep(AFTER_S)

    samples, reference = await _load_during(front, kill)
    await instances[0].remove()
    await instances[0].start()
    failed = _failed(samples, reference)
    # The proxy holds the whole request, and repeats what was in flight.
    name = f"{len(instances)} instances, one killed: requests lost"
    return [at_most(name, failed.total(), 0, failed=dict(failed), sent=len(samples))]


async def _replace_all(front: Proxy, instances: list[Container]) -> list[Promise]:
    """Stop, remove and start each again, one after the other, with large uploads among the load."""
    statuses = []

    async def roll() -> None:
        for instance in instances:
            statuses.append(await instance.stop())
            await instance.remove()
            await instance.start()

    samples, reference = await _load_during(front, roll)
    failed = _failed(samples, reference)
    large = await Caller(front.address).ask(post(astronaut(2048, "png").body))
    name = f"{len(instances)} instances, each replaced: requests lost"
    return [
        at_most(name, failed.total(), 0, failed=dict(failed), sent=len(samples), exits=statuses),
        at_most("uploads that nginx wrote to disk", front.written_to_disk(), 0,
                large=as_text(large)),
    ]  # fmt: skip


async def _load_during(
    front: Proxy, event: Callable[[], Coroutine[Any, Any, None]]
) -> tuple[list[Sample], Any]:
    """What came of a steady load from before an event until after it; a right answer's content."""
    first = await Caller(front.address).ask(REFERENCE)
    if first is None or first.status != 200:
        raise RuntimeError(f"the reference photograph was not aligned: {as_text(first)}")
    happening = asyncio.create_task(event())
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
