"""What waits for the workers: its time is told, refused when it comes, or never begun."""

import asyncio
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from app.errors import DeadlineExceeded, NotAnImage, QueueFull
from app.preparation import MOST_SLACK, REMEMBERED, Preparation, Slack

MB = 10**6


class Network:
    """A batcher's estimates: a pass, and what waits for it."""

    def __init__(self, pass_s: float = 0.0, wait_s: float = 0.0) -> None:
        self.pass_s, self.wait_s = pass_s, wait_s
        self.asked = self.queued = 0

    def predict_s(self, items: int) -> float:
        return self.pass_s * items

    def expected_wait_s(self, items: int = 0) -> float:
        self.asked = items
        return self.wait_s + self.pass_s * items


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


@pytest.fixture
def gate(executor: ThreadPoolExecutor) -> Iterator[threading.Event]:
    """What work waits for; open at the end, so that the executor can end."""
    event = threading.Event()
    yield event
    event.set()


async def learnt(preparation: Preparation, seconds: float, size: int = MB) -> None:
    for _ in range(3):
        await preparation.run(lambda: time.sleep(seconds), size, time.monotonic() + 9)


async def begun_and_left(preparation: Preparation, gate: threading.Event) -> None:
    """A photograph is with a worker until the gate opens, and its caller has left."""
    leaves = asyncio.create_task(preparation.run(gate.wait, MB, time.monotonic() + 9))
    await asyncio.sleep(0.02)
    leaves.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaves


async def test_an_idle_service_takes_whatever_comes(executor: ThreadPoolExecutor) -> None:
    preparation = Preparation(executor, 1)
    await learnt(preparation, 0.05)
    preparation.refuse_if_late(Network(9.0), time.monotonic() - 1, MB)  # type: ignore[arg-type]
    assert preparation.expected_wait_s() == 0


async def test_what_waits_is_told_and_refuses_what_would_be_late(
    executor: ThreadPoolExecutor,
) -> None:
    preparation = Preparation(executor, 1)
    await learnt(preparation, 0.1)
    gate = threading.Event()
    held = [
        asyncio.create_task(preparation.run(gate.wait, MB, time.monotonic() + 9)) for _ in range(4)
    ]
    await asyncio.sleep(0.02)
    assert 0.25 < preparation.expected_wait_s() < 0.55
    network = Network(0.1)
    preparation.refuse_if_late(network, time.monotonic() + 2, MB)  # type: ignore[arg-type]
    assert network.asked == 5, "faces of the four that are prepared, and its own"
    with pytest.raises(QueueFull) as refused:
        preparation.refuse_if_late(network, time.monotonic() + 0.2, MB)  # type: ignore[arg-type]
    assert refused.value.retry_after_s == pytest.approx(0.6, abs=0.25)
    with pytest.raises(QueueFull):
        preparation.refuse_if_late(Network(0, 5.0), time.monotonic() + 2)  # type: ignore[arg-type]
    gate.set()
    await asyncio.gather(*held)
    assert preparation.expected_wait_s() == 0


async def test_times_are_learnt_by_bytes(executor: ThreadPoolExecutor) -> None:
    preparation = Preparation(executor, 1)
    for _ in range(3):
        await learnt(preparation, 0.01, MB)
        await learnt(preparation, 0.1, 10 * MB)
    gate = threading.Event()
    held = asyncio.create_task(preparation.run(gate.wait, MB, time.monotonic() + 9))
    await asyncio.sleep(0.01)
    soon = time.monotonic() + 0.07
    preparation.refuse_if_late(Network(), soon, MB)  # type: ignore[arg-type]
    with pytest.raises(QueueFull):
        preparation.refuse_if_late(Network(), soon, 10 * MB)  # type: ignore[arg-type]
    gate.set()
    await held


async def test_what_can_no_longer_be_in_time_is_never_begun(executor: ThreadPoolExecutor) -> None:
    preparation = Preparation(executor, 1)
    await learnt(preparation, 0.1)
    begun: list[str] = []

    def work(name: str) -> None:
        begun.append(name)
        time.sleep(0.15)

    first = asyncio.create_task(preparation.run(lambda: work("first"), MB, time.monotonic() + 9))
    await asyncio.sleep(0.01)
    late = asyncio.create_task(preparation.run(lambda: work("late"), MB, time.monotonic() + 0.2))
    last = asyncio.create_task(preparation.run(lambda: work("last"), MB, time.monotonic() + 9))
    with pytest.raises(DeadlineExceeded):
        await late
    await asyncio.gather(first, last)
    assert begun == ["first", "last"]


async def test_what_is_drawn_for_answers_keeps_photographs_waiting(
    executor: ThreadPoolExecutor, gate: threading.Event
) -> None:
    preparation = Preparation(executor, 1)
    for _ in range(3):
        await preparation.draw(lambda: time.sleep(0.1), "image/png", MB)
        await preparation.draw(lambda: None, "application/json", MB)
    network = Network()

    async def held_by(kind: str) -> "asyncio.Task[bool]":
        held = asyncio.create_task(preparation.draw(gate.wait, kind, MB))
        await asyncio.sleep(0.02)
        return held

    first = await held_by("application/json")
    assert preparation.expected_wait_s() < 0.02
    second = await held_by("image/png")
    assert 0.05 < preparation.expected_wait_s() < 0.3
    with pytest.raises(QueueFull):
        preparation.refuse_if_late(network, time.monotonic() + 0.03, MB)  # type: ignore[arg-type]
    preparation.refuse_if_late(network, time.monotonic() + 2, MB)  # type: ignore[arg-type]
    assert network.asked == 1, "what is drawn brings no face to the network"
    gate.set()
    await asyncio.gather(first, second)
    assert preparation.expected_wait_s() == 0


async def test_who_leaves_makes_room(executor: ThreadPoolExecutor) -> None:
    preparation = Preparation(executor, 1)
    await learnt(preparation, 0.1)
    gate = threading.Event()
    held = asyncio.create_task(preparation.run(gate.wait, MB, time.monotonic() + 9))
    waits = asyncio.create_task(preparation.run(gate.wait, MB, time.monotonic() + 9))
    await asyncio.sleep(0.02)
    before = preparation.expected_wait_s()
    waits.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waits
    assert preparation.expected_wait_s() < before - 0.05
    gate.set()
    await held


async def test_a_worker_is_not_free_because_its_caller_has_left(
    executor: ThreadPoolExecutor, gate: threading.Event
) -> None:
    preparation = Preparation(executor, 1)
    await learnt(preparation, 0.1)
    await begun_and_left(preparation, gate)
    assert preparation.expected_wait_s() > 0.02
    gate.set()
    await asyncio.sleep(0.1)
    assert preparation.expected_wait_s() == 0


async def test_time_is_learnt_of_photographs_that_nobody_waits_for_any_more(
    executor: ThreadPoolExecutor, gate: threading.Event
) -> None:
    """Else those that take longer than a deadline allows would never be learnt."""
    preparation = Preparation(executor, 1)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await preparation.run(lambda: time.sleep(0.3), MB, time.monotonic() + 9)
    await asyncio.sleep(0.4)
    held = asyncio.create_task(preparation.run(gate.wait, MB, time.monotonic() + 9))
    await asyncio.sleep(0.02)
    with pytest.raises(QueueFull):
        preparation.refuse_if_late(Network(), time.monotonic() + 0.4, MB)  # type: ignore[arg-type]
    gate.set()
    await held


async def test_a_worker_that_hangs_does_not_keep_estimates_from_being_corrected(
    executor: ThreadPoolExecutor, gate: threading.Event
) -> None:
    preparation = Preparation(executor, 1)
    await learnt(preparation, 0.1)
    await begun_and_left(preparation, gate)
    preparation.refuse_if_late(Network(9.0), time.monotonic(), MB)  # type: ignore[arg-type]
    gate.set()


async def test_small_photographs_tell_nothing_of_far_larger_ones(
    executor: ThreadPoolExecutor, gate: threading.Event
) -> None:
    """Detection takes most of the time, whatever the bytes."""
    preparation = Preparation(executor, 1)
    await learnt(preparation, 0.05, 10_000)
    held = asyncio.create_task(preparation.run(gate.wait, 10_000, time.monotonic() + 9))
    await asyncio.sleep(0.01)
    preparation.refuse_if_late(Network(), time.monotonic() + 2, 5 * MB)  # type: ignore[arg-type]
    gate.set()
    await held


async def test_who_has_waited_once_does_not_wait_again(
    executor: ThreadPoolExecutor, gate: threading.Event
) -> None:
    """Else, where the workers are what is scarce, every answer is there after its deadline."""
    preparation = Preparation(executor, 1)
    done: list[int | str] = []
    held = asyncio.create_task(preparation.run(gate.wait, MB, time.monotonic() + 9))
    photographs = [
        asyncio.create_task(preparation.run(partial(done.append, number), MB, time.monotonic() + 9))
        for number in range(3)
    ]
    await asyncio.sleep(0.02)
    drawn = [
        asyncio.create_task(preparation.draw(partial(done.append, name), "json", MB))
        for name in ("first", "second", "left")
    ]
    await asyncio.sleep(0.02)
    drawn.pop().cancel()
    await asyncio.sleep(0.02)
    gate.set()
    await asyncio.gather(held, *photographs, *drawn)
    assert done == ["first", "second", 0, 1, 2]


async def test_the_longest_wait_for_a_worker_is_told(
    executor: ThreadPoolExecutor, gate: threading.Event
) -> None:
    preparation = Preparation(executor, 1)
    assert preparation.oldest_age_s() == 0
    held = asyncio.create_task(preparation.run(gate.wait, MB, time.monotonic() + 9))
    await asyncio.sleep(0.05)
    assert preparation.oldest_age_s() == 0, "it is with a worker"
    waiting = [
        asyncio.create_task(preparation.run(gate.wait, MB, time.monotonic() + 9)) for _ in range(2)
    ]
    await asyncio.sleep(0.05)
    age = preparation.oldest_age_s()
    assert 0.03 < age < 0.5
    waiting.pop(0).cancel()
    await asyncio.sleep(0.05)
    assert preparation.oldest_age_s() > age
    gate.set()
    await asyncio.gather(held, *waiting)
    assert preparation.oldest_age_s() == 0


async def test_what_waits_ends_with_the_executor(
    executor: ThreadPoolExecutor, gate: threading.Event
) -> None:
    preparation = Preparation(executor, 1)
    held = asyncio.create_task(preparation.run(gate.wait, MB, time.monotonic() + 9))
    waiting = asyncio.create_task(preparation.run(gate.wait, MB, time.monotonic() + 9))
    await asyncio.sleep(0.02)
    executor.shutdown(wait=False, cancel_futures=True)
    with pytest.raises(asyncio.CancelledError):
        await waiting
    gate.set()
    await held


async def test_all_that_waits_ends_with_the_executor_whatever_was_taken_first(
    executor: ThreadPoolExecutor, gate: threading.Event
) -> None:
    preparation = Preparation(executor, 1)
    first, drawn = threading.Event(), threading.Event()
    held = asyncio.create_task(preparation.run(first.wait, MB, time.monotonic() + 9))
    waiting = asyncio.create_task(preparation.run(gate.wait, MB, time.monotonic() + 9))
    await asyncio.sleep(0.02)

    def draw() -> None:
        drawn.set()
        gate.wait()

    drawing = asyncio.create_task(preparation.draw(draw, "json", MB))
    await asyncio.sleep(0.02)
    first.set()  # the thread comes for the photograph that waits, and takes what is drawn
    await asyncio.to_thread(drawn.wait, 9)
    executor.shutdown(wait=False, cancel_futures=True)
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(waiting, 9)
    gate.set()
    await asyncio.gather(held, drawing)


async def test_the_upload_of_who_leaves_is_let_go_of_at_once(
    executor: ThreadPoolExecutor, gate: threading.Event
) -> None:
    """Else callers who upload and leave would fill the memory behind one slow photograph."""

    class Upload:
        def decode(self) -> None:
            raise AssertionError("nobody waits for it")

    preparation = Preparation(executor, 1)
    held = asyncio.create_task(preparation.run(gate.wait, MB, time.monotonic() + 9))
    await asyncio.sleep(0.02)
    upload = Upload()
    kept = weakref.ref(upload)
    leaves = asyncio.create_task(preparation.run(upload.decode, MB, time.monotonic() + 9))
    del upload
    await asyncio.sleep(0.02)
    assert kept() is not None
    leaves.cancel()
    await asyncio.wait([leaves])
    del leaves  # its traceback is where the upload was
    await asyncio.sleep(0.02)
    assert kept() is None
    gate.set()
    await held


def test_faces_are_learnt() -> None:
    preparation = Preparation(ThreadPoolExecutor(1), 1)
    for _ in range(300):
        preparation.observe_faces(8)
    assert preparation._faces == pytest.approx(8, abs=0.1)


@pytest.mark.parametrize(
    ("took", "factor"),
    [
        ([], 1.0),
        ([0.5] * 20, 1.0),
        ([1.5] * 20, 1.5),
        ([1.0] * 19 + [1.9], 1.0),
        ([1.0] * 16 + [1.9] * 4, 1.9),
        ([9.0] * 20, MOST_SLACK),
        ([9.0] * 20 + [1.2] * REMEMBERED, 1.2),
    ],
    ids=["nothing", "too-long", "too-short", "one-odd", "some-odd", "all-odd", "forgotten"],
)
def test_an_estimate_is_lengthened_until_most_answers_keep_it(
    took: list[float], factor: float
) -> None:
    slack = Slack()
    for seconds in took:
        slack.observe(1.0, seconds)
    assert slack.factor == pytest.approx(factor)


async def test_what_was_promised_too_early_before_is_refused(
    executor: ThreadPoolExecutor, gate: threading.Event
) -> None:
    preparation = Preparation(executor, 1)
    held = asyncio.create_task(preparation.run(gate.wait, MB, time.monotonic() + 9))
    await asyncio.sleep(0.02)
    network = Network(pass_s=0.5)
    soon = time.monotonic() + 1.5
    expected = preparation.refuse_if_late(network, soon, MB)  # type: ignore[arg-type]
    assert expected == pytest.approx(1.0)
    for _ in range(9):
        with pytest.raises(DeadlineExceeded), preparation.learning(1.0, time.monotonic() + 1.7):
            raise DeadlineExceeded("late")
    with pytest.raises(QueueFull) as refused:
        preparation.refuse_if_late(network, soon, MB)  # type: ignore[arg-type]
    assert refused.value.retry_after_s == pytest.approx(1.0)
    gate.set()
    await held


@pytest.mark.parametrize("error", [asyncio.CancelledError, NotAnImage])
def test_nothing_is_learnt_of_who_leaves_and_of_what_fails(
    executor: ThreadPoolExecutor, error: type[BaseException]
) -> None:
    preparation = Preparation(executor, 1)
    with pytest.raises(error), preparation.learning(0.1, time.monotonic() + 9):
        raise error("no photograph")
    assert preparation._slack.factor == 1


async def test_what_was_ended_at_its_deadline_counts_as_that_long(
    executor: ThreadPoolExecutor,
) -> None:
    preparation = Preparation(executor, 1)

    async def answer() -> None:
        with preparation.learning(0.1, time.monotonic() + 0.15):
            await asyncio.sleep(9)

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(answer(), 0.16)
    assert preparation._slack.factor == pytest.approx(1.5, abs=0.05)
