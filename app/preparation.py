"""The queue before the network: photographs that wait to be decoded and searched, and for how long.

The workers take them first come, first served, but before them what is to be drawn for answers: who
has waited once does not wait again. What they cannot bring to the network in time is refused when
it comes, or, if it turns out so later, is never begun.
"""

import asyncio
import math
import time
from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TypeVar

from app.batching.batcher import Batcher
from app.batching.time_model import BatchTimeModel
from app.errors import DeadlineExceeded, QueueFull
from app.workers import UrgentFirst

Made = TypeVar("Made")

REMEMBERED = 50
"""Photographs whose times and faces the estimates remember."""

KEPT = 0.9
"""The share of photographs that an estimate is to be long enough for."""

MOST_SLACK = 2.0
"""No queue is to be refused for a few photographs of far more faces than most."""


@dataclass(eq=False)
class _Task:
    """A photograph, or an answer to be drawn, that waits for a worker or is with one.

    Its caller may have left: a worker that has begun goes on to the end.
    """

    seconds: float
    has_faces_to_align: bool
    came: float = field(default_factory=time.monotonic)
    begun: float | None = None
    took_s: float | None = None
    wanted: bool = True

    def left_s(self, now: float) -> float:
        return self.seconds if self.begun is None else max(0.0, self.seconds - (now - self.begun))


class _Times:
    """How long a worker takes for a photograph of so many bytes."""

    def __init__(self) -> None:
        self._model = BatchTimeModel(REMEMBERED)
        self._sizes: deque[int] = deque(maxlen=REMEMBERED)

    def observe(self, size: int, took_s: float) -> None:
        self._model.observe(size, took_s)
        self._sizes.append(size)

    def predict_s(self, size: int) -> float:
        """Expected seconds; for a photograph larger than all seen, those of the largest seen.

        Most of the time does not grow with the bytes: a line through a few small photographs would
        tell minutes of a large one, which would be refused and so never correct it.
        """
        return self._model.predict(min(size, max(self._sizes, default=0)))


class Slack:
    """How much longer than expected it takes until answers are there.

    An estimate by means is too short for half of those that are just taken: their work is done in
    vain. So what counts is what most keep, by the last ones.
    """

    def __init__(self) -> None:
        self._ratios: deque[float] = deque(maxlen=REMEMBERED)

    def observe(self, expected_s: float, took_s: float) -> None:
        """Learn from one answer."""
        if expected_s > 0:
            self._ratios.append(took_s / expected_s)

    @property
    def factor(self) -> float:
        """What to multiply an estimate by: at least 1, and no more than odd photographs justify."""
        if not self._ratios:
            return 1.0
        most = sorted(self._ratios)[int(KEPT * (len(self._ratios) - 1))]
        return min(max(1.0, most), MOST_SLACK)


class Preparation:
    """Runs work on the workers, and tells how long what waits for them will take.

    Times are learnt by the photographs' sizes: their bytes, several times over where each of them
    makes more work. All methods are for the event loop's thread.
    """

    def __init__(self, workers: Executor, count: int) -> None:
        self._workers, self._count = UrgentFirst(workers), count
        self._times = _Times()
        self._drawing_times: defaultdict[Hashable, _Times] = defaultdict(_Times)
        self._tasks: list[_Task] = []
        self._faces = 1.0
        self._slack = Slack()

    def expected_wait_s(self) -> float:
        """Seconds until a photograph that comes now is begun."""
        now = time.monotonic()
        if len(self._tasks) < self._count:
            return 0.0
        return sum(task.left_s(now) for task in self._tasks) / self._count

    def oldest_age_s(self) -> float:
        """Seconds that the oldest of what waits for a worker has waited; for any thread."""
        waiting = [task.came for task in list(self._tasks) if task.begun is None and task.wanted]
        return time.monotonic() - min(waiting) if waiting else 0.0

    def refuse_if_late(self, batcher: Batcher, deadline: float, size: int | None = None) -> float:  # type: ignore[type-arg]
        """Raise QueueFull if a photograph of `size` bytes would be answered after `deadline`.

        Else it is the seconds until its answer. Without `size`, of one that takes no time to
        prepare. Where nobody waits all are taken, so that a wrong estimate is corrected.
        """
        own = self._times.predict_s(size) if size else 0.0
        prepared = self.expected_wait_s() + own
        # Faces that are being prepared are before this one's in the network's queue.
        photographs = sum(task.has_faces_to_align for task in self._tasks)
        faces = math.ceil((photographs + 1) * self._faces)
        last_pass = batcher.predict_s(math.ceil(self._faces))
        wait = max(prepared + last_pass, batcher.expected_wait_s(faces))
        busy = any(task.wanted for task in self._tasks) or batcher.queued
        if busy and time.monotonic() + wait * self._slack.factor > deadline:
            raise QueueFull(
                "The photographs that wait would take longer than the request's deadline allows.",
                retry_after_s=wait,
            )
        return wait

    @contextmanager
    def learning(self, expected_s: float, deadline: float) -> Iterator[None]:
        """Learn how much longer than expected the block takes, or would have taken, to its end.

        Of one whose caller leaves, and of one that fails, nothing is learnt.
        """
        began = time.monotonic()
        try:
            yield
        except (QueueFull, DeadlineExceeded):
            self._slack.observe(expected_s, deadline - began)
            raise
        except asyncio.CancelledError:
            if time.monotonic() >= deadline:
                self._slack.observe(expected_s, deadline - began)
            raise
        self._slack.observe(expected_s, time.monotonic() - began)

    async def run(self, work: Callable[[], Made], size: int, deadline: float) -> Made:
        """What `work` gives, run by a worker for a photograph of `size` bytes.

        Raises DeadlineExceeded without running it if by then it cannot be done in time.
        """
        task = _Task(self._times.predict_s(size), has_faces_to_align=True)
        return await self._on_worker(work, task, self._times, size, deadline)

    async def draw(self, work: Callable[[], Made], kind: Hashable, size: int) -> Made:
        """What `work` gives, run by a worker for the answer to a photograph of `size` bytes.

        Meanwhile it keeps photographs waiting: times are learnt for each `kind` of answer.
        """
        times = self._drawing_times[kind]
        task = _Task(times.predict_s(size), has_faces_to_align=False)
        return await self._on_worker(work, task, times, size, math.inf)

    async def _on_worker(
        self, work: Callable[[], Made], task: _Task, times: _Times, size: int, deadline: float
    ) -> Made:
        loop = asyncio.get_running_loop()

        def on_worker() -> Made:
            task.begun = begun = time.monotonic()
            if begun + task.seconds > deadline and self._others_wait(task):
                raise DeadlineExceeded("The photograph waited too long to be begun.")
            made = work()
            task.took_s = time.monotonic() - begun
            return made

        def on_end(_: Future[Made]) -> None:
            # On a worker's thread; a loop that is closed counts no more.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(self._end, task, times, size)

        running = self._workers.submit(on_worker, urgent=not task.has_faces_to_align)
        self._tasks.append(task)
        try:
            return await asyncio.wrap_future(running)
        finally:
            task.wanted = False
            if running.done():
                self._end(task, times, size)
            else:  # the caller leaves, the worker does not
                running.add_done_callback(on_end)

    def observe_faces(self, count: int) -> None:
        """Learn how many faces a photograph brings to the network."""
        self._faces += (count - self._faces) / REMEMBERED

    def _others_wait(self, task: _Task) -> bool:
        """Whether work is at hand that may still be in time; without any, an estimate is tried."""
        return any(other is not task and other.wanted for other in self._tasks)

    def _end(self, task: _Task, times: _Times, size: int) -> None:
        """The worker is free again: forget the photograph, and learn what it took."""
        self._tasks.remove(task)
        if task.took_s is not None:
            times.observe(size, task.took_s)
