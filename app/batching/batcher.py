"""The queue between requests and the network: whatever queued while the device was busy is a batch.

    submit → [bounded queue] → pick-up → run (halved if it raises) → deliver to the event loop

The thread that picks up and runs is the device's (`app.batching.device`).
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple

from app.batching.device import Device
from app.batching.jobs import Completed, Item, Job, Result, deliver
from app.batching.passes import Begin, Run
from app.batching.runner import Attempt, BatchLimit, BatchRunner, Outcome
from app.batching.time_model import BatchTimeModel
from app.errors import DeadlineExceeded, InferenceFailed, NotReady, QueueFull


class BatchReport(NamedTuple):
    """What happened to items: run, dropped because their call had ended, late, failed.

    `out_of_memory` counts passes, not items.
    """

    size: int
    seconds: float
    dropped: int
    expired: int
    failed: int
    out_of_memory: int


@dataclass(eq=False)
class Flight(Generic[Item, Result]):
    """A batch that the device was given: from when on, whose items, and how many more were not run.

    `attempt` is None if there is nothing to run.
    """

    began: float
    jobs: list[Job[Item, Result]]
    attempt: Attempt[Item, Result] | None
    dropped: int
    late: int

    def wait_for_room(self) -> bool:
        """Wait until the device could have more; False if that is when this batch has ended."""
        return self.attempt is not None and self.attempt.wait_for_room()


class Batcher(Generic[Item, Result]):
    """Runs items from many callers through `run`, several at a time, in arrival order.

    `run` gets up to `max_batch` items and returns as many results in their order, or raises
    MemoryError if the device has no room for that many, DeviceLost if it is of no more use. With
    `begin`, the device gets the next batch before the last one ends, and `run` is for what failed.
    Only the device's thread calls them, after `prepare`. `on_batch` hears of every pick-up, and of
    items that are dropped before one.
    """

    def __init__(
        self,
        device: Device,
        run: Run[Item, Result],
        *,
        max_batch: int,
        max_queue: int,
        begin: Begin[Item, Result] | None = None,
        prepare: Callable[[], None] = lambda: None,
        on_batch: Callable[[BatchReport], None] = lambda report: None,
    ) -> None:
        self._device = device
        self._limit = BatchLimit(max_batch)
        self._runner = BatchRunner(run, self._limit, begin)
        self._max_queue = max_queue
        self.prepare = prepare
        self._on_batch = on_batch
        self._queue: deque[Job[Item, Result]] = deque()
        self._times = BatchTimeModel()
        device.join(self)

    @property
    def max_batch(self) -> int:
        """The most items of a batch now: fewer for a while after the device ran out of memory."""
        return self._limit.items

    @property
    def queued(self) -> int:
        """Items waiting for a batch."""
        return len(self._queue)

    def oldest(self) -> float | None:
        """When the first item in line was queued, by `time.monotonic()`; None without one."""
        return self._queue[0].enqueued if self._queue else None

    def oldest_age_s(self) -> float:
        """Seconds that the oldest waiting item has waited."""
        with self._device.changed:
            since = self.oldest()
        return 0.0 if since is None else time.monotonic() - since

    def pass_age_s(self) -> float:
        """Seconds that this batcher's current forward pass has been running; 0 without one."""
        return self._runner.pass_age_s()

    def backlog_s(self, items: int = 0) -> float:
        """Seconds of work in this queue and `items` more, by the learnt batch time."""
        size = self._limit.items
        full, rest = divmod(len(self._queue) + items, size)
        return full * self._times.predict(size) + (self._times.predict(rest) if rest else 0.0)

    def predict_s(self, items: int) -> float:
        """Expected seconds of a forward pass over so many items, at most a full batch."""
        return self._times.predict(min(items, self._limit.items)) if items else 0.0

    def expected_wait_s(self, items: int = 0) -> float:
        """Seconds until `items` submitted now would be answered.

        What waits for the device elsewhere came before, and so is served before the last of them.
        """
        running = max(0.0, self._device.running_until - time.monotonic())
        others = sum(lane.backlog_s() for lane in self._device.lanes if lane is not self)
        return running + others + self.backlog_s(items)

    async def submit(
        self, items: Sequence[Item], *, deadline: float = float("inf")
    ) -> list[Completed[Result]]:
        """Run all items and return their results in order; `deadline` is a `time.monotonic()`.

        The items of one call may share batches with those of others. If the call is cancelled,
        its waiting items never reach `run`.

        Raises QueueFull (with Retry-After) if the queue is full or too slow for the deadline,
        DeadlineExceeded if it passes in the queue, NotReady when closing or given up,
        InferenceFailed if `run` raises on one of these very items, InternalError if the device
        thread ends or hangs with one of them.
        """
        loop = asyncio.get_running_loop()
        jobs: list[Job[Item, Result]] = [
            Job(item, loop.create_future(), deadline) for item in items
        ]
        try:
            with self._device.changed:
                self.check_admission(len(jobs), deadline)
                self._queue.extend(jobs)
                self._device.changed.notify()
            return list(await asyncio.gather(*(job.future for job in jobs)))
        finally:
            self._forget(jobs)

    def check_admission(self, items: int, deadline: float) -> None:
        """Raise what `submit` would raise at once for this many items, without submitting any."""
        with self._device.changed:
            if not self._device.accepts:
                raise NotReady("The network is not running.", retry_after_s=0)
            now = time.monotonic()
            if now > deadline:
                raise DeadlineExceeded("The request's deadline passed before it could be queued.")
            if len(self._queue) + items > self._max_queue:
                raise QueueFull(
                    f"{len(self._queue)} faces are waiting already.",
                    retry_after_s=self.expected_wait_s(),
                )
            # An idle device always takes more: were it refused work by its estimate, no batch would
            # ever correct the estimate after one slow one.
            busy = self._device.running_until or any(lane.queued for lane in self._device.lanes)
            wait = self.expected_wait_s(items) if busy else 0.0
            if now + wait > deadline:
                raise QueueFull(
                    "The faces that wait would take longer than the request's deadline allows.",
                    retry_after_s=self.expected_wait_s(),
                )

    def _forget(self, jobs: list[Job[Item, Result]]) -> None:
        """Take what still waits of a call that has ended out of the queue."""
        for job in jobs:
            job.future.cancel()
        if not any(job.future.cancelled() for job in jobs):
            return
        with self._device.changed:
            waiting = deque(job for job in self._queue if not job.future.cancelled())
            dropped = len(self._queue) - len(waiting)
            self._queue = waiting
        if dropped:
            self._on_batch(BatchReport(0, 0.0, dropped, 0, 0, 0))

    def pick_up(self) -> list[Job[Item, Result]]:
        """The next items in line, of callers who wait or left; for the device's thread.

        As many as a batch holds, but no more than leave those before them in time.
        """
        begins, soonest = self._device.free_from(), float("inf")
        batch: list[Job[Item, Result]] = []
        while self._queue and len(batch) < self._limit.items:
            deadline = self._queue[0].deadline
            if begins + self._times.predict(1) <= deadline:  # else it is late whatever the batch
                soonest = min(soonest, deadline)
            if batch and begins + self._times.predict(len(batch) + 1) > soonest:
                break
            batch.append(self._queue.popleft())
        return batch

    def take_all(self) -> list[Job[Item, Result]]:
        """Empty the queue; for the device, when it gives up."""
        waiting = list(self._queue)
        self._queue.clear()
        return waiting

    def begin(self, batch: list[Job[Item, Result]], beside: bool) -> Flight[Item, Result]:
        """Give a batch to the device, `beside` one that has not ended; for the device's thread."""
        now, begins = time.monotonic(), self._device.free_from()
        wanted = [job for job in batch if not job.future.cancelled()]
        # What cannot be in time is not run, unless nothing else is there: an estimate may be wrong.
        ready = [job for job in wanted if job.deadline >= begins + self._times.predict(1)]
        if not ready and not beside:
            ready = [job for job in wanted if job.deadline >= now]
        late = [job for job in wanted if job not in ready]
        deliver(late, [DeadlineExceeded("The request's deadline passed in the queue.")])
        attempt = None
        if ready:
            self._device.running_until = begins + self._times.predict(len(ready))
            crowded = beside or any(lane.queued for lane in self._device.lanes)
            attempt = self._runner.begin([job.item for job in ready], crowded)
        return Flight(now, ready, attempt, len(batch) - len(wanted), len(late))

    def alone(self, flight: Flight[Item, Result]) -> None:
        """The batch before has ended: from now on the device works for this one."""
        flight.began = time.monotonic()
        self._device.running_until = 0.0
        if flight.attempt:
            self._runner.restart_age()
            self._device.running_until = flight.began + self._times.predict(len(flight.jobs))

    def finish(self, flight: Flight[Item, Result], last: bool) -> None:
        """Wait for a batch and deliver what came of it; for the device's thread.

        After the `last` one the device is idle.
        """
        outcome = self._runner.finish(flight.attempt) if flight.attempt else Outcome([], 0, 0)
        seconds = time.monotonic() - flight.began
        if last:
            self._device.running_until = 0.0
        failed = sum(isinstance(answer, InferenceFailed) for answer in outcome.answers)
        if outcome.passes == 1 and not failed:
            self._times.observe(len(flight.jobs), seconds)
        answers = [
            answer
            if isinstance(answer, InferenceFailed)
            else Completed(answer, flight.began - job.enqueued, seconds)
            for job, answer in zip(flight.jobs, outcome.answers, strict=True)
        ]
        try:  # who has an answer finds it counted
            self._on_batch(
                BatchReport(
                    len(flight.jobs),
                    seconds,
                    flight.dropped,
                    flight.late,
                    failed,
                    outcome.out_of_memory,
                )
            )
        finally:
            deliver(flight.jobs, answers)
