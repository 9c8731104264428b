"""Batches grow only as far as those in them are still in time."""

import asyncio
import time
from collections.abc import Sequence

import pytest

from app.batching.batcher import Batcher
from app.batching.device import Device
from app.batching.jobs import Job

ITEM_S = 0.1


@pytest.fixture
def batcher() -> Batcher[int, int]:
    """One that has learnt that a batch takes a tenth of a second for each item, and is not run."""

    def run(items: Sequence[int]) -> list[int]:
        return [*items]

    made = Batcher(Device(), run, max_batch=8, max_queue=64)
    for size in (1, 2, 4, 8):
        made._times.observe(size, ITEM_S * size)
    return made


async def enqueue(batcher: Batcher[int, int], *seconds: float) -> list[Job[int, int]]:
    """Jobs whose deadlines lie so far ahead."""
    loop, now = asyncio.get_running_loop(), time.monotonic()
    jobs = [Job(n, loop.create_future(), now + s) for n, s in enumerate(seconds)]
    batcher._queue.extend(jobs)
    return jobs


@pytest.mark.parametrize(
    ("seconds", "together"),
    [
        ([9] * 12, 8),
        ([0.35] * 8, 3),
        ([9, 9, 0.45, 9, 9, 9], 4),
        ([0.15, 9, 9, 9], 1),
        ([0.05, 9, 9], 3),
        ([-1, -1, 0.25, 9, 9], 2),
    ],
    ids=["none-near", "all-near", "third-near", "first-near", "first-hopeless", "some-late"],
)
async def test_a_batch_leaves_those_in_it_in_time(
    batcher: Batcher[int, int], seconds: list[float], together: int
) -> None:
    jobs = await enqueue(batcher, *seconds)
    assert batcher.pick_up() == jobs[:together]
    assert batcher.queued == len(jobs) - together


async def test_what_cannot_be_in_time_is_not_run_beside_what_can(
    batcher: Batcher[int, int],
) -> None:
    hopeless, in_time = await enqueue(batcher, 0.05, 9)
    batcher.finish(batcher.begin(batcher.pick_up(), beside=False), last=True)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert hopeless.future.exception() is not None
    assert in_time.future.result().result == 1


async def test_alone_it_is_run_so_that_a_wrong_estimate_is_mended(
    batcher: Batcher[int, int],
) -> None:
    (hopeless,) = await enqueue(batcher, 0.05)
    batcher.finish(batcher.begin(batcher.pick_up(), beside=False), last=True)
    await asyncio.sleep(0)
    assert hopeless.future.result().result == 0
