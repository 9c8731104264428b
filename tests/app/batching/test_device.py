"""Several batchers on one device: fair turns, waits that count each other, faults that end all."""

import asyncio
import time

import pytest

from app.batching import Device
from app.errors import InternalError, NotReady, QueueFull
from lwbafa.errors import DeviceLost
from tests.app.batching.doubler import PATIENCE_S, Doubler, Numbers, enqueue, happened, numbers

ONE, TWO = 1_000, 2_000
"""What the numbers of the first and the second batcher begin at."""


class Shared:
    """Two batchers that share a device, and the order in which it ran their batches."""

    def __init__(self, max_batch: int = 2, max_queue: int = 8) -> None:
        self.device = Device()
        self.doubler = Doubler(held=True)
        self.one, self.two = (
            Numbers(self.device, self.doubler.run, max_batch=max_batch, max_queue=max_queue)
            for _ in range(2)
        )

    async def __aenter__(self) -> "Shared":
        self.device.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.doubler.released.set()
        await self.device.close(PATIENCE_S)

    async def busy(self) -> "asyncio.Task[object]":
        """Keep the device in a batch of the first batcher."""
        (task,) = await enqueue(self.one, [ONE])
        await happened(self.doubler.entered)
        return task


async def test_the_batcher_whose_oldest_item_waits_longest_is_served_first() -> None:
    async with Shared(max_batch=2) as shared:
        first = await shared.busy()
        tasks = await enqueue(shared.one, [ONE + 1])
        tasks += await enqueue(shared.two, [TWO + 1, TWO + 2, TWO + 3])
        tasks += await enqueue(shared.one, [ONE + 2, ONE + 3])
        shared.doubler.released.set()
        await asyncio.gather(first, *tasks)
    assert shared.doubler.batches == [
        [ONE],
        [ONE + 1, ONE + 2],
        [TWO + 1, TWO + 2],
        [TWO + 3],
        [ONE + 3],
    ]
    assert len(shared.doubler.threads) == 1


async def test_a_batch_never_mixes_the_items_of_two_batchers() -> None:
    async with Shared(max_batch=8) as shared:
        first = await shared.busy()
        tasks = [
            task
            for n in range(1, 4)
            for batcher, base in ((shared.one, ONE), (shared.two, TWO))
            for task in await enqueue(batcher, [base + n])
        ]
        shared.doubler.released.set()
        answers = await asyncio.gather(*tasks)
        await first
    assert [numbers(answer) for answer in answers] == [
        [2 * (base + n)] for n in range(1, 4) for base in (ONE, TWO)
    ]
    assert {tuple(number // ONE for number in batch) for batch in shared.doubler.batches} == {
        (1,),
        (1, 1, 1),
        (2, 2, 2),
    }


async def test_a_full_queue_of_one_leaves_the_other_open() -> None:
    async with Shared(max_queue=2) as shared:
        first = await shared.busy()
        tasks = await enqueue(shared.one, [ONE + 1, ONE + 2])
        with pytest.raises(QueueFull):
            await shared.one.submit([ONE + 3])
        tasks += await enqueue(shared.two, [TWO + 1])
        shared.doubler.released.set()
        await asyncio.gather(first, *tasks)
    assert [TWO + 1] in shared.doubler.batches


async def test_the_work_of_one_counts_in_the_wait_of_the_other() -> None:
    async with Shared(max_batch=2) as shared:
        shared.one._times.observe(2, 1000)
        shared.two._times.observe(2, 10)
        first = await shared.busy()
        tasks = await enqueue(shared.one, [ONE + 1, ONE + 2])
        expected = shared.two.expected_wait_s(2)
        assert expected == pytest.approx(1000 + 10 + 500, abs=PATIENCE_S)
        with pytest.raises(QueueFull) as refused:
            await shared.two.submit([TWO + 1], deadline=time.monotonic() + 900)
        assert refused.value.retry_after_s == pytest.approx(1500, abs=PATIENCE_S)
        shared.doubler.released.set()
        await asyncio.gather(first, *tasks)


async def test_what_ends_the_device_ends_the_waiting_of_all() -> None:
    shared = Shared()
    run = shared.doubler.run

    def lost(items: object) -> list[int]:
        run([ONE])
        raise DeviceLost("gone")

    shared.one._runner._run = lost
    async with shared:
        first = await shared.busy()
        (behind,) = await enqueue(shared.two, [TWO + 1])
        shared.doubler.released.set()
        outcomes = await asyncio.gather(first, behind, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [InternalError, NotReady]
        with pytest.raises(NotReady):
            await shared.two.submit([TWO + 2])
        assert shared.device.failure == "the network's thread was ended by DeviceLost"


async def test_a_hung_pass_of_either_is_noticed() -> None:
    async with Shared() as shared:
        (hung,) = await enqueue(shared.two, [TWO])
        await happened(shared.doubler.entered)
        while shared.device.pass_age_s() < 0.05:
            await asyncio.sleep(0.01)
        shared.device.check_progress(0.05)
        assert isinstance((await asyncio.gather(hung, return_exceptions=True))[0], InternalError)
