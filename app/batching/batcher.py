"""The queue between requests and the device, and the thread that empties it.

Work-conserving: the device thread takes whatever queued while it was busy, never waits to fill a
batch, never polls. It owns the queue's far end, so no turn of the event loop lies between two
batches. What happens to an item:

    submit → [bounded queue] → pick-up → run (bisected if it raises) → deliver to the event loop
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

from app.batching.time_model import BatchTimeModel
from app.errors import (
    DeadlineExceeded,
    InferenceFailed,
    InternalError,
    NotReady,
    QueueFull,
    RequestError,
)

logger = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")


class Completed(NamedTuple, Generic[Result]):
    """An item's result, how long it waited for its batch, and how long the batch ran (seconds)."""

    result: Result
    queued_s: float
    ran_s: float


class BatchReport(NamedTuple):
    """What happened to items: run, dropped because their call had ended, late, failed."""

    size: int
    seconds: float
    dropped: int
    expired: int
    failed: int


@dataclass(eq=False, slots=True)
class _Job(Generic[Item, Result]):
    item: Item
    future: "asyncio.Future[Completed[Result]]"
    deadline: float
    enqueued: float = field(default_factory=time.monotonic)


class Batcher(Generic[Item, Result]):
    """Runs items from many callers through `run`, several at a time, in arrival order.

    `run` gets up to `max_batch` items and returns as many results in their order; only the
    batcher's own thread calls it, after `prepare`. `on_batch` hears of every pick-up, and of items
    that are dropped before one.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Item]], Sequence[Result]],
        *,
        max_batch: int,
        max_queue: int,
        prepare: Callable[[], None] = lambda: None,
        on_batch: Callable[[BatchReport], None] = lambda report: None,
    ) -> None:
        self._run = run
        self._max_batch = max_batch
        self._max_queue = max_queue
        self._prepare = prepare
        self._on_batch = on_batch
        self._queue: deque[_Job[Item, Result]] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._prepared = False
        self._running_until = 0.0
        self._times = BatchTimeModel()
        self._thread = threading.Thread(target=self._serve, name="device", daemon=True)

    def start(self) -> None:
        """Start the device thread."""
        self._thread.start()

    async def close(self) -> None:
        """Refuse new items, finish the queued ones, stop the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        await asyncio.to_thread(self._thread.join)

    @property
    def prepared(self) -> bool:
        """Whether `prepare` is done; items submitted before wait for it."""
        return self._prepared

    @property
    def alive(self) -> bool:
        """Whether the device thread runs; if not, nothing will ever be answered."""
        return self._thread.is_alive()

    @property
    def queued(self) -> int:
        """Items waiting for a batch."""
        return len(self._queue)

    def oldest_age_s(self) -> float:
        """Seconds that the oldest waiting item has waited."""
        with self._changed:
            return time.monotonic() - self._queue[0].enqueued if self._queue else 0.0

    def expected_wait_s(self, items: int = 0) -> float:
        """Seconds until `items` submitted now would be answered, by the learnt batch time."""
        full, rest = divmod(len(self._queue) + items, self._max_batch)
        running = max(0.0, self._running_until - time.monotonic())
        batches = full * self._times.predict(self._max_batch)
        return running + batches + (self._times.predict(rest) if rest else 0.0)

    async def submit(
        self, items: Sequence[Item], *, deadline: float = float("inf")
    ) -> list[Completed[Result]]:
        """Run all items and return their results in order; `deadline` is a `time.monotonic()`.

        The items of one call may share batches with those of others. If the call is cancelled,
        its waiting items never reach `run`.

        Raises QueueFull (with Retry-After) if the queue is full or too slow for the deadline,
        DeadlineExceeded if it passes in the queue, NotReady when closing, InferenceFailed if
        `run` raises on one of these very items.
        """
        loop = asyncio.get_running_loop()
        jobs: list[_Job[Item, Result]] = [
            _Job(item, loop.create_future(), deadline) for item in items
        ]
        try:
            self._admit(jobs, deadline)
            return list(await asyncio.gather(*(job.future for job in jobs)))
        finally:
            self._forget(jobs)

    def _admit(self, jobs: list[_Job[Item, Result]], deadline: float) -> None:
        with self._changed:
            if self._closing or not self.alive:
                raise NotReady("The service is stopping.")
            if len(self._queue) + len(jobs) > self._max_queue:
                raise QueueFull(
                    f"{len(self._queue)} faces are waiting already.",
                    headers=retry_after(self.expected_wait_s()),
                )
            now = time.monotonic()
            if now > deadline:
                raise DeadlineExceeded("The request's deadline passed before it could be queued.")
            # An idle device always takes more: were it refused work by its estimate, no batch would
            # ever correct the estimate after one slow one.
            busy = self._queue or self._running_until
            wait = self.expected_wait_s(len(jobs)) if busy else 0.0
            if now + wait > deadline:
                raise QueueFull(
                    "The faces that wait would take longer than the request's deadline allows.",
                    headers=retry_after(self.expected_wait_s()),
                )
            self._queue.extend(jobs)
            self._changed.notify()

    def _forget(self, jobs: list[_Job[Item, Result]]) -> None:
        """Take what still waits of a call that has ended out of the queue."""
        for job in jobs:
            job.future.cancel()
        if not any(job.future.cancelled() for job in jobs):
            return
        with self._changed:
            waiting = deque(job for job in self._queue if not job.future.cancelled())
            dropped = len(self._queue) - len(waiting)
            self._queue = waiting
        if dropped:
            self._on_batch(BatchReport(0, 0.0, dropped, 0, 0))

    def _serve(self) -> None:
        """The device thread's life: nothing that goes wrong with one batch ends it."""
        self._prepare()
        self._prepared = True
        while (batch := self._pick_up()) is not None:
            try:
                self._process(batch)
            except Exception:
                logger.exception("a batch failed outside the network")
                self._deliver(batch, [InternalError("The batch could not be processed.")])

    def _pick_up(self) -> list[_Job[Item, Result]] | None:
        """The next items in line, dead or alive; None once closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closing)
            if not self._queue:
                return None
            count = min(self._max_batch, len(self._queue))
            return [self._queue.popleft() for _ in range(count)]

    def _process(self, batch: list[_Job[Item, Result]]) -> None:
        now = time.monotonic()
        wanted = [job for job in batch if not job.future.cancelled()]
        late = [job for job in wanted if job.deadline < now]
        ready = [job for job in wanted if job.deadline >= now]
        self._deliver(late, [DeadlineExceeded("The request's deadline passed in the queue.")])
        self._running_until = now + self._times.predict(len(ready))
        outcomes = self._run_bisecting([job.item for job in ready]) if ready else []
        seconds = time.monotonic() - now
        self._running_until = 0.0
        failed = sum(isinstance(outcome, Exception) for outcome in outcomes)
        if ready and not failed:
            self._times.observe(len(ready), seconds)
        answers = [
            outcome
            if isinstance(outcome, RequestError)
            else Completed(outcome, now - job.enqueued, seconds)
            for job, outcome in zip(ready, outcomes, strict=True)
        ]
        self._deliver(ready, answers)
        self._on_batch(
            BatchReport(len(ready), seconds, len(batch) - len(wanted), len(late), failed)
        )

    def _run_bisecting(self, items: Sequence[Item]) -> list[Result | RequestError]:
        """Results in order; where a batch raises, its halves are run, down to the offender."""
        try:
            results = list(self._run(items))
            if len(results) != len(items):
                raise RuntimeError(f"{len(items)} items gave {len(results)} results")
            return [*results]
        except Exception as error:
            if len(items) == 1:
                failure = InferenceFailed("The network failed on this face.")
                failure.__cause__ = error
                return [failure]
            middle = len(items) // 2
            return self._run_bisecting(items[:middle]) + self._run_bisecting(items[middle:])

    def _deliver(
        self,
        jobs: Sequence[_Job[Item, Result]],
        answers: Sequence[Completed[Result] | RequestError],
    ) -> None:
        """Hand a batch's answers to the event loop in one call; one answer may serve all jobs."""
        if not jobs:
            return
        if len(answers) == 1:
            answers = list(answers) * len(jobs)

        def settle() -> None:
            for job, answer in zip(jobs, answers, strict=True):
                if job.future.done():
                    continue
                if isinstance(answer, RequestError):
                    job.future.set_exception(answer)
                else:
                    job.future.set_result(answer)

        try:
            jobs[0].future.get_loop().call_soon_threadsafe(settle)
        except RuntimeError:  # the loop is closed: nobody is left to be told
            return


def retry_after(seconds: float) -> dict[str, str]:
    """The Retry-After header for a wait, in whole seconds, at least one."""
    return {"Retry-After": str(max(1, round(seconds + 0.5)))}
