"""A device that is given the next batch before the last one ends."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Sequence

import pytest

from app.batching import Batcher, Device
from app.errors import InferenceFailed, InternalError, NotReady
from lwbafa.errors import DeviceLost
from tests.app.batching.doubler import PATIENCE_S, Answers, Numbers, enqueue, happened, numbers


class Doubling:
    """A pass that ends when it is released, and fails if it is told to."""

    def __init__(self, items: Sequence[int], crowded: bool) -> None:
        self.items, self.crowded = list(items), crowded
        self.room, self.released = threading.Event(), threading.Event()
        self.raises: BaseException | None = None

    def wait_for_room(self) -> bool:
        assert self.room.wait(PATIENCE_S)
        if isinstance(self.raises, MemoryError):
            raise self.raises
        return True

    def wait(self) -> list[int]:
        assert self.released.wait(PATIENCE_S)
        if self.raises:
            raise self.raises
        return [2 * item for item in self.items]

    def end(self) -> None:
        self.room.set()
        self.released.set()


class Streams:
    """A device whose passes a test ends; what is run at once it notes and doubles."""

    def __init__(self) -> None:
        self.device = Device()
        self.passes: list[Doubling] = []
        self.at_once: list[list[int]] = []
        self.open = False
        self.batcher: Numbers = Batcher(
            self.device, self.run, max_batch=4, max_queue=100, begin=self.begin
        )

    def begin(self, items: Sequence[int], crowded: bool) -> Doubling:
        self.passes.append(Doubling(items, crowded))
        if self.open:
            self.passes[-1].end()
        return self.passes[-1]

    def run(self, items: Sequence[int]) -> list[int]:
        self.at_once.append(list(items))
        if -1 in items:
            raise ValueError("a bad number")
        return [2 * item for item in items]

    async def begun(self, count: int) -> Doubling:
        """The pass of that number, once it has begun."""
        async with asyncio.timeout(PATIENCE_S):
            while len(self.passes) < count:
                await asyncio.sleep(0.001)
        return self.passes[count - 1]

    async def two(
        self,
    ) -> tuple[Doubling, Doubling, "asyncio.Task[Answers]", "asyncio.Task[Answers]"]:
        """A batch under way, and another begun beside it; each with the task of its caller."""
        (one,) = await enqueue(self.batcher, [1])
        ahead = await self.begun(1)
        (two,) = await enqueue(self.batcher, [5, 6])
        ahead.room.set()
        return ahead, await self.begun(2), one, two


@pytest.fixture
async def streams() -> AsyncIterator[Streams]:
    made = Streams()
    made.device.start()
    async with asyncio.timeout(PATIENCE_S):
        yield made
    made.open = True
    for running in made.passes:
        running.end()
    await made.device.close(PATIENCE_S)


async def test_the_next_batch_is_begun_when_the_last_items_run(streams: Streams) -> None:
    (one,) = await enqueue(streams.batcher, [1])
    ahead = await streams.begun(1)
    (two,) = await enqueue(streams.batcher, [5, 6])
    await asyncio.sleep(0.02)
    assert len(streams.passes) == 1, "not before: more may come that it can take along"
    ahead.room.set()
    following = await streams.begun(2)
    assert not one.done()
    following.end()
    ahead.end()
    assert numbers(await one) == [2]
    assert numbers(await two) == [10, 12]
    assert [running.crowded for running in streams.passes] == [False, True]


async def test_what_ends_first_waits_for_no_later_batch(streams: Streams) -> None:
    ahead, following, one, two = await streams.two()
    ahead.end()
    await one
    assert not two.done()
    following.end()
    await two


async def test_a_batch_fails_beside_another_and_only_its_bad_item_is_lost(
    streams: Streams,
) -> None:
    bad, good = await enqueue(streams.batcher, [-1], [2, 3])
    ahead = await streams.begun(1)
    assert ahead.items == [-1, 2, 3]
    (other,) = await enqueue(streams.batcher, [5, 6])
    ahead.raises = ValueError("a bad number")
    ahead.room.set()
    following = await streams.begun(2)
    ahead.end()
    following.end()
    with pytest.raises(InferenceFailed):
        await bad
    assert numbers(await good) == [4, 6]
    assert numbers(await other) == [10, 12]
    assert streams.at_once == [[-1], [2, 3]]


async def test_without_memory_no_batch_is_begun_before_the_limit_is_lowered(
    streams: Streams,
) -> None:
    (one,) = await enqueue(streams.batcher, [1, 2, 3, 4])
    ahead = await streams.begun(1)
    (two,) = await enqueue(streams.batcher, [5, 6, 7, 8])
    ahead.raises = MemoryError("no room")
    streams.open = True
    ahead.room.set()
    assert numbers(await one) == [2, 4, 6, 8]
    assert numbers(await two) == [10, 12, 14, 16]
    assert streams.at_once == [[1, 2], [3, 4]]
    assert [running.items for running in streams.passes[1:]] == [[5, 6], [7, 8]]


async def test_a_lost_device_is_told_to_the_callers_of_both_batches(
    streams: Streams, caplog: pytest.LogCaptureFixture
) -> None:
    ahead, following, one, two = await streams.two()
    (three,) = await enqueue(streams.batcher, [9])
    ahead.raises = DeviceLost("gone")
    ahead.end()
    outcomes = await asyncio.gather(one, two, three, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [InternalError, InternalError, NotReady]
    assert "the device thread ends" in caplog.text
    following.end()


async def test_a_pass_is_as_old_as_the_device_has_worked_for_it_alone(streams: Streams) -> None:
    ahead, following, one, two = await streams.two()
    await asyncio.sleep(0.1)
    assert streams.device.pass_age_s() >= 0.1
    alone = time.monotonic()
    ahead.end()
    await one
    assert streams.device.pass_age_s() <= time.monotonic() - alone
    following.end()
    (answer, _) = await two
    assert answer.ran_s <= time.monotonic() - alone
    assert answer.queued_s >= 0.1
    assert streams.device.pass_age_s() == 0


async def test_a_hung_pass_is_given_up_with_the_one_behind_it(streams: Streams) -> None:
    _, _, one, two = await streams.two()
    await asyncio.sleep(0.1)
    streams.device.check_progress(0.05)
    outcomes = await asyncio.gather(one, two, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {InternalError}


async def test_beside_another_nothing_is_run_that_cannot_be_in_time(streams: Streams) -> None:
    for size in (1, 2, 4):
        streams.batcher._times.observe(size, 0.5 * size)
    (one,) = await enqueue(streams.batcher, [1])
    ahead = await streams.begun(1)
    queue = streams.batcher._queue
    (two,) = await enqueue(streams.batcher, [5])
    queue[0].deadline = time.monotonic() + 0.4  # of two passes, the first of which has just begun
    ahead.end()
    (outcome,) = await asyncio.gather(two, return_exceptions=True)
    assert len(streams.passes) == 1
    assert type(outcome).__name__ == "DeadlineExceeded"
    await one


async def test_it_closes_with_two_batches_under_way(streams: Streams) -> None:
    ahead, following, one, two = await streams.two()
    closing = asyncio.create_task(streams.device.close())
    await happened(ahead.room)
    ahead.end()
    following.end()
    await closing
    await asyncio.gather(one, two)
    assert streams.device.failure is None


async def test_what_goes_wrong_before_a_pass_costs_its_callers_and_not_the_thread(
    streams: Streams, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(streams.batcher, "begin", lambda batch, beside: 1 / 0)
        (one,) = await enqueue(streams.batcher, [1])
        (outcome,) = await asyncio.gather(one, return_exceptions=True)
        assert isinstance(outcome, InternalError)
    streams.open = True
    assert numbers(await streams.batcher.submit([2])) == [4]
    assert "a batch failed outside the network" in caplog.text
