import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence

import pytest

from app.batching import Batcher, BatchReport, Device
from app.errors import DeadlineExceeded, InferenceFailed, NotReady, QueueFull
from proof.harness import ROOT
from tests.app.batching.doubler import (
    PATIENCE_S,
    Answers,
    Doubler,
    Numbers,
    enqueue,
    happened,
    numbers,
    occupy,
    serving,
)


async def test_two_hundred_callers_at_once_get_their_own_results_in_their_order() -> None:
    calls = [list(range(10 * caller, 10 * caller + 1 + caller % 7)) for caller in range(200)]
    doubler = Doubler()
    async with serving(doubler, max_batch=16) as batcher:
        answers = await asyncio.gather(*(batcher.submit(call) for call in calls))
    assert [numbers(answer) for answer in answers] == [[2 * n for n in call] for call in calls]
    assert max(map(len, doubler.batches)) <= 16
    assert len(doubler.batches) < len(calls)
    in_order_of_arrival = [number for call in calls for number in call]
    assert [number for batch in doubler.batches for number in batch] == in_order_of_arrival


async def test_a_call_without_items_is_answered_without_a_batch() -> None:
    doubler = Doubler()
    async with serving(doubler) as batcher:
        assert await batcher.submit([]) == []
    assert doubler.batches == []


@pytest.mark.parametrize("waiting", [1, 3, 8, 11])
async def test_what_queues_during_a_batch_is_the_next_batch(waiting: int) -> None:
    doubler = Doubler(held=True)
    async with serving(doubler, max_batch=8) as batcher:
        first = await occupy(batcher, doubler)
        tasks = await enqueue(batcher, *([n] for n in range(1, waiting + 1)))
        assert batcher.queued == waiting
        doubler.released.set()
        answers = await asyncio.gather(first, *tasks)
    assert len(doubler.batches[1]) == min(waiting, 8)
    assert [numbers(answer) for answer in answers] == [[2 * n] for n in range(waiting + 1)]


async def test_a_long_call_is_split_and_a_batch_is_shared_by_calls() -> None:
    doubler = Doubler(held=True)
    async with serving(doubler, max_batch=4) as batcher:
        await occupy(batcher, doubler)
        tasks = await enqueue(batcher, [1, 2], [3, 4, 5, 6, 7], [8])
        doubler.released.set()
        answers = await asyncio.gather(*tasks)
    assert doubler.batches[1:] == [[1, 2, 3, 4], [5, 6, 7, 8]]
    assert [numbers(answer) for answer in answers] == [[2, 4], [6, 8, 10, 12, 14], [16]]


async def test_on_an_idle_device_an_item_is_run_alone_and_without_a_pause() -> None:
    doubler = Doubler()
    async with serving(doubler) as batcher:
        waits = []
        for number in range(50):
            (answer,) = await batcher.submit([number])
            waits.append(answer.queued_s)
            if min(waits) < 0.005:  # a pause to fill the batch would be in every one of them
                break
    assert min(waits) < 0.005
    assert {len(batch) for batch in doubler.batches} == {1}


async def test_an_answer_says_how_long_it_waited_and_how_long_it_ran() -> None:
    doubler = Doubler(held=True)
    async with serving(doubler) as batcher:
        first = await occupy(batcher, doubler)
        (second,) = await enqueue(batcher, [1])
        await asyncio.sleep(0.05)
        assert batcher.oldest_age_s() >= 0.05
        doubler.released.set()
        (ran,), (queued,) = await asyncio.gather(first, second)
        assert batcher.oldest_age_s() == 0
    assert ran.ran_s >= 0.05
    assert queued.queued_s >= 0.05
    assert doubler.reports[0].seconds == ran.ran_s


async def test_a_full_queue_refuses_at_once_and_says_when_to_come_back() -> None:
    doubler = Doubler(held=True)
    async with serving(doubler, max_queue=3) as batcher:
        first = await occupy(batcher, doubler)
        tasks = await enqueue(batcher, [1], [2, 3])
        with pytest.raises(QueueFull) as refused:
            await batcher.submit([4])
        assert not first.done()
        assert refused.value.retry_after_s is not None
        doubler.released.set()
        await asyncio.gather(*tasks)
        assert numbers(await batcher.submit([5])) == [10]
    assert not any(4 in batch for batch in doubler.batches)


async def test_a_call_that_does_not_fit_the_queue_is_refused_as_a_whole() -> None:
    doubler = Doubler(held=True)
    async with serving(doubler, max_queue=3) as batcher:
        await occupy(batcher, doubler)
        await enqueue(batcher, [1])
        with pytest.raises(QueueFull):
            await batcher.submit([2, 3, 4])
        assert batcher.queued == 1
        await enqueue(batcher, [5, 6])
        assert batcher.queued == 3
    assert doubler.batches == [[0], [1, 5, 6]]


@pytest.mark.parametrize("bad", [1, 7, 16])
async def test_one_bad_item_of_sixteen_fails_alone(bad: int) -> None:
    doubler = Doubler(held=True, fails_on=frozenset({bad}))
    async with serving(doubler, max_batch=16) as batcher:
        await occupy(batcher, doubler)
        tasks = await enqueue(batcher, *([n] for n in range(1, 17)))
        doubler.released.set()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    failure = outcomes.pop(bad - 1)
    assert isinstance(failure, InferenceFailed)
    assert isinstance(failure.__cause__, ValueError)
    good = [outcome for outcome in outcomes if isinstance(outcome, list)]
    assert [numbers(answer) for answer in good] == [[2 * n] for n in range(1, 17) if n != bad]
    assert (doubler.reports[1].size, doubler.reports[1].failed) == (16, 1)
    assert len(doubler.batches[1]) == 16
    # Halving finds it in few runs: two for each of the four halvings.
    assert len(doubler.batches) <= 2 + 2 * 4


async def test_a_call_with_a_bad_item_fails_and_its_neighbours_do_not() -> None:
    doubler = Doubler(held=True, fails_on=frozenset({3, 4}))
    async with serving(doubler) as batcher:
        await occupy(batcher, doubler)
        before, failing, after = await enqueue(batcher, [1, 2], [3, 4, 5], [6])
        doubler.released.set()
        with pytest.raises(InferenceFailed):
            await failing
        assert numbers(await before) == [2, 4]
        assert numbers(await after) == [12]
    assert doubler.reports[1].failed == 2


async def test_once_an_item_of_a_call_failed_its_waiting_ones_are_not_run() -> None:
    doubler = Doubler(fails_on=frozenset({1}))
    caller_knows = threading.Event()

    def run(items: Sequence[int]) -> list[int]:
        if 3 in items:
            assert caller_knows.wait(PATIENCE_S)
        return doubler.run(items)

    async with serving(doubler, run=run, max_batch=2) as batcher:
        with pytest.raises(InferenceFailed):
            await batcher.submit([1, 2, 3, 4, 5, 6])
        caller_knows.set()
    # The batch of 3 and 4 may have begun before the caller knew.
    assert doubler.batches in ([[1, 2], [1], [2], [3, 4]], [[1, 2], [1], [2]])
    begun = {item for batch in doubler.batches for item in batch}
    assert sum(report.dropped for report in doubler.reports) == 6 - len(begun)


@pytest.mark.parametrize("change", [lambda results: results[:-1], lambda results: [*results, 0]])
async def test_too_few_or_too_many_results_are_never_handed_to_the_wrong_caller(
    change: Callable[[list[int]], list[int]],
) -> None:
    """Only batches of one are answered rightly here, so every item must be tried alone."""
    doubler = Doubler(held=True)

    def run(items: Sequence[int]) -> list[int]:
        results = doubler.run(items)
        return results if len(items) == 1 else change(results)

    async with serving(doubler, run=run) as batcher:
        await occupy(batcher, doubler)
        tasks = await enqueue(batcher, [1], [2, 3], [4, 5, 6])
        doubler.released.set()
        answers = await asyncio.gather(*tasks)
    assert [numbers(answer) for answer in answers] == [[2], [4, 6], [8, 10, 12]]


async def test_an_item_without_a_result_fails_and_the_next_one_is_served() -> None:
    async with serving(Doubler(), run=lambda items: [] if 1 in items else items) as batcher:
        with pytest.raises(InferenceFailed):
            await batcher.submit([1])
        assert numbers(await batcher.submit([2])) == [2]


async def test_cancelled_calls_are_never_run() -> None:
    doubler = Doubler(held=True)
    async with serving(doubler) as batcher:
        first = await occupy(batcher, doubler)
        tasks = await enqueue(batcher, [1], [2, 3], [4], [5, 6])
        for task in (tasks[1], tasks[3]):
            task.cancel()
        await asyncio.wait((tasks[1], tasks[3]))
        doubler.released.set()
        answers = await asyncio.gather(first, tasks[0], tasks[2])
    assert [numbers(answer) for answer in answers] == [[0], [2], [8]]
    assert doubler.batches == [[0], [1, 4]]
    assert sum(report.dropped for report in doubler.reports) == 4


async def test_a_batch_of_which_every_caller_left_is_not_run_at_all() -> None:
    doubler = Doubler(held=True)
    async with serving(doubler) as batcher:
        await occupy(batcher, doubler)
        tasks = await enqueue(batcher, [1], [2])
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        doubler.released.set()
    assert doubler.batches == [[0]]
    assert sum(report.dropped for report in doubler.reports) == 2


async def test_a_caller_who_leaves_during_the_batch_disturbs_no_other() -> None:
    doubler = Doubler(held=True)
    async with serving(doubler) as batcher:
        first = await occupy(batcher, doubler)
        (second,) = await enqueue(batcher, [1])
        first.cancel()
        await asyncio.wait([first])
        doubler.released.set()
        assert numbers(await second) == [2]
    assert first.cancelled()


async def test_an_item_whose_deadline_passed_in_the_queue_is_not_run() -> None:
    doubler = Doubler(held=True)
    async with serving(doubler) as batcher:
        await occupy(batcher, doubler)
        (patient,) = await enqueue(batcher, [1])
        deadline = time.monotonic() + 0.1
        hasty = asyncio.create_task(batcher.submit([2, 3], deadline=deadline))
        await asyncio.sleep(0.15)
        assert batcher.queued == 3
        assert not hasty.done()
        doubler.released.set()
        with pytest.raises(DeadlineExceeded):
            await hasty
        assert numbers(await patient) == [2]
    assert doubler.batches == [[0], [1]]
    assert doubler.reports[1]._replace(seconds=0) == BatchReport(1, 0, 0, 2, 0, 0)


async def test_a_call_that_comes_after_its_deadline_is_refused() -> None:
    doubler = Doubler()
    async with serving(doubler) as batcher:
        with pytest.raises(DeadlineExceeded):
            await batcher.submit([1], deadline=time.monotonic() - 0.001)
    assert doubler.batches == []


def teach(batcher: Numbers, size: int, seconds: float) -> None:
    """As if a batch had taken that long, for which no test can wait."""
    batcher._times.observe(size, seconds)


async def test_a_call_whose_deadline_the_queue_cannot_meet_is_refused_at_once() -> None:
    doubler = Doubler(held=True)
    async with serving(doubler, max_batch=4) as batcher:
        teach(batcher, 4, 3600)
        await occupy(batcher, doubler)
        await enqueue(batcher, [1, 2, 3])
        with pytest.raises(QueueFull) as refused:
            await batcher.submit([4], deadline=time.monotonic() + PATIENCE_S)
        assert (refused.value.retry_after_s or 0) > 60
        assert batcher.queued == 3
        in_time = await enqueue(batcher, [5])
        assert batcher.queued == 4
        doubler.released.set()
        assert numbers(await in_time[0]) == [10]
    assert doubler.batches == [[0], [1, 2, 3, 5]]


async def test_a_call_can_be_refused_before_its_items_are_made() -> None:
    doubler = Doubler(held=True)
    async with serving(doubler, max_queue=2) as batcher:
        batcher.check_admission(2, deadline=time.monotonic() + PATIENCE_S)
        await occupy(batcher, doubler)
        await enqueue(batcher, [1])
        with pytest.raises(QueueFull):
            batcher.check_admission(2, deadline=float("inf"))
        with pytest.raises(DeadlineExceeded):
            batcher.check_admission(1, deadline=time.monotonic() - 0.001)
        teach(batcher, 1, 3600)
        with pytest.raises(QueueFull):
            batcher.check_admission(1, deadline=time.monotonic() + PATIENCE_S)
        assert batcher.queued == 1


async def test_an_idle_device_refuses_nobody_for_having_been_slow_once() -> None:
    """Else, with the expected time longer than every deadline, none would ever be run again."""
    doubler = Doubler()
    async with serving(doubler) as batcher:
        teach(batcher, 1, 3600)
        for number in range(3):
            answers = await batcher.submit([number], deadline=time.monotonic() + PATIENCE_S)
            assert numbers(answers) == [2 * number]


async def test_once_the_device_is_idle_no_wait_is_expected() -> None:
    doubler = Doubler()
    async with serving(doubler) as batcher:
        teach(batcher, 1, 3600)
        await batcher.submit([1])
        assert batcher.expected_wait_s() == 0


async def test_batches_teach_how_long_they_take_unless_they_fail() -> None:
    doubler = Doubler(held=True, fails_on=frozenset({13}))
    async with serving(doubler) as batcher:
        for number, known in ((13, False), (1, True)):
            doubler.entered.clear()
            doubler.released.clear()
            (task,) = await enqueue(batcher, [number])
            await happened(doubler.entered)
            await asyncio.sleep(0.05)
            doubler.released.set()
            await asyncio.wait([task])
            assert (batcher.expected_wait_s(1) >= 0.05) is known


async def test_the_expected_wait_is_that_of_the_batches_ahead() -> None:
    doubler = Doubler(held=True)
    async with serving(doubler, max_batch=4, max_queue=6) as batcher:
        for size in (1, 4):
            teach(batcher, size, 1000 + 100 * size)
        assert batcher.expected_wait_s(4) == pytest.approx(1400)
        await occupy(batcher, doubler)
        running = 1100
        assert batcher.expected_wait_s() == pytest.approx(running, abs=PATIENCE_S)
        await enqueue(batcher, range(1, 7))
        ahead = running + 1400 + 1200
        assert batcher.expected_wait_s() == pytest.approx(ahead, abs=PATIENCE_S)
        assert batcher.expected_wait_s(2) == pytest.approx(ahead + 200, abs=PATIENCE_S)
        with pytest.raises(QueueFull) as refused:
            await batcher.submit([9])
        assert refused.value.retry_after_s == pytest.approx(ahead, abs=PATIENCE_S)


async def test_closing_finishes_what_was_queued_and_refuses_what_comes_later() -> None:
    doubler = Doubler(held=True)
    async with serving(doubler, max_batch=2) as batcher:
        tasks = [await occupy(batcher, doubler)]
        tasks += await enqueue(batcher, [1], [2, 3], [4, 5])
        closing = asyncio.create_task(doubler.device.close())
        await asyncio.sleep(0)
        with pytest.raises(NotReady):
            await batcher.submit([6])
        assert not closing.done()
        doubler.released.set()
        await closing
        answers = await asyncio.gather(*tasks)
        assert [numbers(answer) for answer in answers] == [[0], [2], [4, 6], [8, 10]]
        doubler.device.check_progress(PATIENCE_S)
        assert doubler.device.failure is None
        with pytest.raises(NotReady):
            await batcher.submit([7])
    assert doubler.batches == [[0], [1, 2], [3, 4], [5]]


async def test_an_idle_batcher_closes() -> None:
    doubler = Doubler()
    async with serving(doubler):
        assert doubler.device._thread.is_alive()
    assert not doubler.device._thread.is_alive()


async def test_a_batcher_whose_device_is_busy_is_not_waited_for_longer_than_told() -> None:
    doubler = Doubler(held=True)
    async with serving(doubler) as batcher:
        task = await occupy(batcher, doubler)
        await doubler.device.close(timeout_s=0.01)
        assert doubler.device._thread.is_alive()
        doubler.released.set()
        assert numbers(await task) == [0]


async def test_a_batcher_that_was_not_started_refuses() -> None:
    device = Device()
    batcher: Numbers = Batcher(device, lambda items: items, max_batch=1, max_queue=1)
    with pytest.raises(NotReady):
        await batcher.submit([1])
    device.check_progress(PATIENCE_S)
    assert device.failure is None


async def test_a_listener_that_raises_costs_no_answer_and_not_the_thread(
    caplog: pytest.LogCaptureFixture,
) -> None:
    heard = []

    def listen(report: BatchReport) -> None:
        heard.append(report.size)
        raise OSError("nobody writes this metric down")

    async with serving(Doubler(), on_batch=listen) as batcher:
        for number in range(3):
            assert numbers(await batcher.submit([number])) == [2 * number]
    assert heard == [1, 1, 1]
    assert len(caplog.records) == 3
    assert "nobody writes this metric down" in caplog.text


async def test_the_device_is_prepared_on_its_own_thread_before_the_first_batch() -> None:
    doubler = Doubler()
    may_prepare = threading.Event()
    prepared_on: list[int] = []

    def prepare() -> None:
        assert may_prepare.wait(PATIENCE_S)
        assert doubler.batches == []
        prepared_on.append(threading.get_ident())

    async with serving(doubler, prepare=prepare) as batcher:
        tasks = await enqueue(batcher, [1], [2])
        assert batcher.queued == 2
        assert not doubler.device.prepared
        may_prepare.set()
        answers = await asyncio.gather(*tasks)
        assert doubler.device.prepared
    assert [numbers(answer) for answer in answers] == [[2], [4]]
    assert doubler.batches == [[1, 2]]
    assert doubler.threads == set(prepared_on)


async def test_every_batch_runs_on_the_same_thread_and_it_is_not_the_callers() -> None:
    doubler = Doubler()
    async with serving(doubler, max_batch=1) as batcher:
        await batcher.submit(range(10))
        await asyncio.gather(*(batcher.submit([n]) for n in range(10)))
    assert len(doubler.batches) == 20
    assert len(doubler.threads) == 1
    assert threading.get_ident() not in doubler.threads


def test_an_event_loop_that_closes_during_a_batch_does_not_end_the_thread() -> None:
    doubler = Doubler(held=True)
    batcher: Numbers = Batcher(doubler.device, doubler.run, max_batch=8, max_queue=100)
    doubler.device.start()

    async def leave() -> None:
        (await occupy(batcher, doubler)).cancel()

    async def stay() -> Answers:
        doubler.released.set()
        try:
            return await asyncio.wait_for(batcher.submit([1]), PATIENCE_S)
        finally:
            await doubler.device.close()

    asyncio.run(leave())
    assert numbers(asyncio.run(stay())) == [2]


def test_batching_imports_neither_a_network_nor_an_image_library() -> None:
    listing = "import sys, app.batching; print(*sys.modules)"
    modules = subprocess.run(
        [sys.executable, "-c", listing],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    ).stdout.split()
    assert "app.batching.batcher" in modules
    assert not {"torch", "numpy", "cv2", "PIL"} & set(modules)


async def test_places_of_calls_that_ended_are_free_at_once() -> None:
    doubler = Doubler(held=True)
    async with serving(doubler, max_batch=4, max_queue=8) as batcher:
        first = await occupy(batcher, doubler)
        (leaving,) = await enqueue(batcher, list(range(100, 108)))
        with pytest.raises(QueueFull):
            await batcher.submit([200])
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        assert batcher.queued == 0
        (staying,) = await enqueue(batcher, [200])
        doubler.released.set()
        assert numbers(await staying) == [400]
        await first
    assert sum(report.dropped for report in doubler.reports) == 8
    assert doubler.batches == [[0], [200]]
