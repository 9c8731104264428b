"""The queue before the network: photographs that wait to be decoded and searched, and for how long.

The workers take them first come, first served. What they cannot bring to the network in time is
refused when it comes, or, if it turns out so later, is never begun.
"""

import asyncio
import math
import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TypeVar

from app.batching.batcher import Batcher
from app.batching.time_model import BatchTimeModel
from app.errors import DeadlineExceeded, QueueFull

Prepared = TypeVar("Prepared")

REMEMBERED = 50
"""Photographs whose times and faces the estimates remember."""


@dataclass(eq=False)
class _Task:
    """A photograph that waits for a worker or is with one."""

    seconds: float
    begun: float | None = None

    def left_s(self, now: float) -> float:
        return self.seconds if self.begun is None else max(0.0, self.seconds - (now - self.begun))


class Preparation:
    """Runs work on the workers, and tells how long what waits for them will take.

    Times are learnt by the photographs' bytes. All methods are for the event loop's thread.
    """

    def __init__(self, workers: Executor, count: int) -> None:
        self._workers, self._count = workers, count
        self._times = BatchTimeModel(REMEMBERED)
        self._tasks: list[_Task] = []
        self._faces = 1.0

    def expected_wait_s(self) -> float:
        """Seconds until a photograph that comes now is begun."""
        now = time.monotonic()
        if len(self._tasks) < self._count:
            return 0.0
        return sum(task.left_s(now) for task in self._tasks) / self._count

    def refuse_if_late(self, batcher: Batcher, deadline: float, size: int | None = None) -> None:  # type: ignore[type-arg]
        """Raise QueueFull if a photograph of `size` bytes would be answered after `deadline`.

        Without `size`, one that takes no time to prepare. An idle service always takes more, so
        that a wrong estimate is corrected.
        """
        if not self._tasks:
            return
        now = time.monotonic()
        own = self._times.predict(size) if size else 0.0
        prepared = self.expected_wait_s() + own
        # Faces that are being prepared are before this one's in the network's queue.
        faces = math.ceil((len(self._tasks) + 1) * self._faces)
        last_pass = batcher.predict_s(math.ceil(self._faces))
        wait = max(prepared + last_pass, batcher.expected_wait_s(faces))
        if now + wait > deadline:
            raise QueueFull(
                "The photographs that wait would take longer than the request's deadline allows.",
                retry_after_s=wait,
            )

    async def run(self, work: Callable[[], Prepared], size: int, deadline: float) -> Prepared:
        """What `work` gives, run by a worker for a photograph of `size` bytes.

        Raises DeadlineExceeded without running it if by then it cannot be done in time.
        """
        task = _Task(self._times.predict(size))
        self._tasks.append(task)

        def on_worker() -> Prepared:
            task.begun = time.monotonic()
            if task.begun + task.seconds > deadline and self._others_wait(task):
                raise DeadlineExceeded("The photograph waited too long to be begun.")
            return work()

        try:
            prepared = await asyncio.get_running_loop().run_in_executor(self._workers, on_worker)
        finally:
            self._tasks.remove(task)
        if task.begun is not None:
            self._times.observe(size, time.monotonic() - task.begun)
        return prepared

    def observe_faces(self, count: int) -> None:
        """Learn how many faces a photograph brings to the network."""
        self._faces += (count - self._faces) / REMEMBERED

    def _others_wait(self, task: _Task) -> bool:
        """Whether work is at hand that may still be in time; without any, an estimate is tried."""
        return any(other is not task for other in self._tasks)
