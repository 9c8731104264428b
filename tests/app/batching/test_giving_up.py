"""What becomes of those who wait when the device thread ends or hangs."""

import asyncio
import ctypes
import threading
import time
from collections.abc import Sequence

import pytest

from app.batching import Batcher
from app.errors import InternalError, NotReady
from lwbafa.errors import DeviceLost
from tests.app.batching.doubler import (
    PATIENCE_S,
    Answers,
    Doubler,
    Numbers,
    enqueue,
    numbers,
    occupy,
    serving,
)

# A device thread that ends with an exception has written it to the log.
pytestmark = pytest.mark.usefixtures("caplog")


class Fatal(BaseException):
    """What no handler of Exception sees."""


async def outcomes(*tasks: "asyncio.Task[Answers]") -> list[Answers | BaseException]:
    """Answers or errors: everything that waits must get one of them."""
    return await asyncio.gather(*tasks, return_exceptions=True)


async def refused(batcher: Numbers) -> None:
    with pytest.raises(NotReady) as error:
        await batcher.submit([7])
    assert error.value.retry_after_s == 0


@pytest.mark.parametrize("fatal", [Fatal, SystemExit, KeyboardInterrupt, GeneratorExit, DeviceLost])
async def test_a_pass_that_ends_the_thread_leaves_nobody_waiting(
    fatal: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    doubler = Doubler(held=True)

    def run(items: Sequence[int]) -> list[int]:
        results = doubler.run(items)
        if 1 in items:
            raise fatal("the end")
        return results

    async with serving(doubler, run=run, max_batch=2) as batcher:
        first = await occupy(batcher, doubler)
        in_batch = await enqueue(batcher, [1], [2])
        behind = await enqueue(batcher, [3, 4, 5], [6])
        doubler.released.set()
        assert numbers(await first) == [0]
        for outcome in await outcomes(*in_batch):
            assert isinstance(outcome, InternalError)
            assert isinstance(outcome.__cause__, fatal)
        for outcome in await outcomes(*behind):
            assert isinstance(outcome, NotReady)
            assert outcome.retry_after_s == 0
        assert doubler.device.failure == f"the network's thread was ended by {fatal.__name__}"
        assert batcher.queued == 0
        await refused(batcher)
    assert doubler.batches == [[0], [1, 2]]
    assert "the device thread ends" in caplog.text


@pytest.mark.parametrize("error", [ValueError, MemoryError, SystemExit])
async def test_a_device_that_cannot_be_prepared_leaves_nobody_waiting(
    error: type[BaseException],
) -> None:
    entered, may_fail = threading.Event(), threading.Event()

    def prepare() -> None:
        entered.set()
        assert may_fail.wait(PATIENCE_S)
        raise error("no such device")

    doubler = Doubler()
    async with serving(doubler, prepare=prepare) as batcher:
        tasks = await enqueue(batcher, [1], [2])
        may_fail.set()
        assert {type(outcome) for outcome in await outcomes(*tasks)} == {NotReady}
        assert doubler.device.failure is not None
        assert not doubler.device.prepared


async def test_a_hung_pass_is_given_up_and_everybody_is_told() -> None:
    doubler = Doubler(held=True)
    async with serving(doubler) as batcher:
        hung = await occupy(batcher, doubler)
        behind = await enqueue(batcher, [1], [2, 3])
        doubler.device.check_progress(PATIENCE_S)
        assert doubler.device.failure is None
        while batcher.pass_age_s() < 0.05:
            await asyncio.sleep(0.01)
        doubler.device.check_progress(0.05)
        assert doubler.device.failure is not None
        assert "a forward pass has not ended for 0." in doubler.device.failure
        assert {type(outcome) for outcome in await outcomes(hung)} == {InternalError}
        assert {type(outcome) for outcome in await outcomes(*behind)} == {NotReady}
        await refused(batcher)
        reason = doubler.device.failure
        await asyncio.sleep(0.05)
        doubler.device.check_progress(0.05)
        assert doubler.device.failure == reason
    assert doubler.batches == [[0]]


async def test_a_pass_that_ends_after_it_was_given_up_disturbs_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    doubler = Doubler(held=True)
    async with serving(doubler) as batcher:
        hung = await occupy(batcher, doubler)
        while batcher.pass_age_s() == 0:
            await asyncio.sleep(0.01)
        doubler.device.check_progress(0)
        assert {type(outcome) for outcome in await outcomes(hung)} == {InternalError}
        doubler.released.set()
    assert not caplog.records


async def test_an_idle_device_does_not_hang() -> None:
    doubler = Doubler()
    async with serving(doubler) as batcher:
        await batcher.submit([1])
        await asyncio.sleep(0.05)
        doubler.device.check_progress(0)
        assert doubler.device.failure is None


async def test_many_short_passes_of_one_batch_are_not_a_hung_one() -> None:
    """Each of 31 passes that find one bad item has its own time."""

    def run(items: Sequence[int]) -> list[int]:
        time.sleep(0.02)
        raise ValueError("every item is bad")

    async with serving(Doubler(), run=run, max_batch=16) as batcher:
        (task,) = await enqueue(batcher, range(16))
        oldest = 0.0
        started = time.monotonic()
        while not task.done():
            oldest = max(oldest, batcher.pass_age_s())
            await asyncio.sleep(0.005)
        assert oldest < time.monotonic() - started
        await asyncio.wait([task])
        assert task.exception() is not None


async def test_a_thread_that_is_killed_from_outside_leaves_nobody_waiting() -> None:
    doubler = Doubler(held=True)
    async with serving(doubler) as batcher:
        in_hand = await occupy(batcher, doubler)
        behind = await enqueue(batcher, [1])
        (ident,) = doubler.threads
        raised = ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(ident), ctypes.py_object(SystemExit)
        )
        assert raised == 1
        doubler.released.set()
        assert {type(outcome) for outcome in await outcomes(in_hand)} == {InternalError}
        assert {type(outcome) for outcome in await outcomes(*behind)} == {NotReady}
        assert doubler.device.failure is not None


async def test_a_thread_that_ended_without_a_word_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No Python code runs on a thread that a native library ends."""
    doubler = Doubler()
    batcher: Numbers = Batcher(doubler.device, doubler.run, max_batch=8, max_queue=8)
    monkeypatch.setattr(doubler.device._thread, "run", lambda: None)
    doubler.device.start()
    doubler.device._thread.join()
    doubler.device.check_progress(PATIENCE_S)
    assert doubler.device.failure == "the network's thread has ended"
    await refused(batcher)


async def test_closing_while_full_answers_everybody_even_if_the_thread_dies_of_it() -> None:
    doubler = Doubler(held=True)

    def run(items: Sequence[int]) -> list[int]:
        results = doubler.run(items)
        if 2 in items:
            raise Fatal
        return results

    async with serving(doubler, run=run, max_batch=1, max_queue=4) as batcher:
        first = await occupy(batcher, doubler)
        tasks = await enqueue(batcher, [1], [2], [3], [4])
        closing = asyncio.create_task(doubler.device.close())
        await asyncio.sleep(0)
        await refused(batcher)
        doubler.released.set()
        await closing
        answers = await outcomes(first, *tasks)
    assert isinstance(answers[0], list)
    assert isinstance(answers[1], list)
    assert [type(answer) for answer in answers[2:]] == [InternalError, NotReady, NotReady]
    assert doubler.batches == [[0], [1], [2]]


async def test_memory_that_comes_short_costs_no_answer_and_makes_smaller_batches() -> None:
    doubler = Doubler(held=True)

    def run(items: Sequence[int]) -> list[int]:
        results = doubler.run(items)
        if len(items) > 2:
            raise MemoryError("room for two")
        return results

    async with serving(doubler, run=run, max_batch=8) as batcher:
        first = await occupy(batcher, doubler)
        tasks = await enqueue(batcher, *([n] for n in range(1, 13)))
        assert batcher.max_batch == 8
        doubler.released.set()
        answers = await asyncio.gather(first, *tasks)
        assert batcher.max_batch == 2
    assert [numbers(answer) for answer in answers] == [[2 * n] for n in range(13)]
    assert [len(batch) for batch in doubler.batches] == [1, 8, 4, 2, 2, 2, 2, 2, 2]
    assert [report.out_of_memory for report in doubler.reports] == [0, 2, 0, 0]
    assert sum(report.failed for report in doubler.reports) == 0
