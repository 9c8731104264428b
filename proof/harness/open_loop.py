"""Open-loop load: requests leave when they are due, whether or not earlier ones were answered.

A closed loop slows down with the server and hides what callers would have met; here a latency
counts from the moment that a request was due.
"""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from tqdm import tqdm

from proof.harness.wire import Address, Answer, Caller


class Sample(NamedTuple):
    """One request: when it was due and left (seconds from the start), how long it took from then.

    `answer` is None if there was none; its body is kept only where `load` is told to.
    """

    due_s: float
    sent_s: float
    latency_s: float
    answer: Answer | None

    @property
    def done_s(self) -> float:
        """When it was answered."""
        return self.due_s + self.latency_s

    @property
    def status(self) -> int:
        """0 for no answer."""
        return self.answer.status if self.answer else 0


def poisson(rate: float, seconds: float, seed: int) -> list[float]:
    """Moments of a Poisson process that has exactly `rate` × `seconds` arrivals.

    Given their number, such arrivals are uniform: bursts as in life, and the same load every time.
    """
    chance = random.Random(seed)
    return sorted(chance.uniform(0, seconds) for _ in range(round(rate * seconds)))


async def load(
    address: Address,
    due: Sequence[float],
    request: Callable[[int], bytes],
    *,
    limit_s: float,
    description: str = "",
    keep_alive: bool = True,
    enough: Callable[[int], bool] = lambda sent: False,
    kept_bodies: Callable[[int], bool] = lambda number: False,
) -> list[Sample]:
    """Send `request(i)` at `due[i]` and return what came of each, in that order.

    An answer that takes longer than `limit_s` counts as none. `enough` may end the sending early.
    """
    idle: list[Caller] = []
    began = time.perf_counter()

    async def send(number: int, due_s: float, bar: "tqdm[Any]") -> Sample:
        caller = idle.pop() if idle else Caller(address)
        sent_s = time.perf_counter() - began
        answer = None
        try:
            async with asyncio.timeout(limit_s):
                answer = await caller.ask(request(number))
        except (TimeoutError, ConnectionError):
            caller.close()
        latency = time.perf_counter() - began - due_s
        if not keep_alive:
            caller.close()
        idle.append(caller)
        if answer is not None and not kept_bodies(number):
            answer = answer._replace(body=b"")
        bar.update()
        return Sample(due_s, sent_s, latency, answer)

    tasks = []
    with tqdm(total=len(due), desc=description, unit="request", disable=not description) as bar:
        for number, due_s in enumerate(due):
            await asyncio.sleep(due_s - (time.perf_counter() - began))
            if enough(number):
                break
            tasks.append(asyncio.create_task(send(number, due_s, bar)))
        samples = await asyncio.gather(*tasks)
    for caller in idle:
        caller.close()
    return list(samples)
