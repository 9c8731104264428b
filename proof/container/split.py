"""The same CPUs split among more instances: how many faces a second they answer in all."""

import asyncio
import time

from lwbafa.cpus import granted_cpus
from proof.container.engine import containers
from proof.container.proxy import proxy
from proof.harness.closed_loop import rate
from proof.harness.target import REFERENCE, as_text
from proof.harness.wire import Address, Caller
from proof.promises.promises import Promise, at_least

COUNTS = (1, 2, 4)
CONNECTIONS = 32
RAMP_S, MEASURED_S = 5.0, 20.0


async def run() -> list[Promise]:
    """One instance with all CPUs, two and four with their share; there and back, for the drift."""
    speeds: dict[int, list[float]] = {count: [] for count in COUNTS}
    for count in (*COUNTS, *reversed(COUNTS)):
        async with (
            containers(count, granted_cpus() / count) as instances,
            proxy([instance.address for instance in instances]) as front,
        ):
            speeds[count].append(await _answers_per_second(front.address))
    alone = sum(speeds[1])
    return [
        at_least(f"faces a second of {count} instances, each with 1/{count} of the CPUs, of one's",
                 100 * sum(speeds[count]) / alone, 90, "%", faces_per_second=speeds)
        for count in COUNTS[1:]
    ]  # fmt: skip


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
    return rate(sorted(done), begin, end)
