"""The queue between requests and the device, and the thread that empties it.

Work-conserving: the device thread takes whatever queued while it was busy, never waits to fill a
batch, never polls. It owns the queue's far end, so no turn of the event loop lies between two
batches. What happens to an item:

    submit → [bounded queue] → pick-up → run (halved if it raises) → deliver to the event loop

Nobody waits for ever: if the device thread ends or hangs, all that wait are told so.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple

from app.batching.jobs import Completed, Item, Job, Result, deliver
from app.batching.runner import BatchLimit, BatchRunner, Outcome
from app.batching.time_model import BatchTimeModel
from app.errors import (
    DeadlineExceeded,
    DeviceLost,
    InferenceFailed,
    InternalError,
    NotReady,
    QueueFull,
)

logger = logging.getLogger(__name__)


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


class Batcher(Generic[Item, Result]):
    """Runs items from many callers through `run`, several at a time, in arrival order.

    `run` gets up to `max_batch` items and returns as many results in their order, or raises
    MemoryError if the device has no room for so many, DeviceLost if it is of no more use; only the
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
        self._limit = BatchLimit(max_batch)
        self._runner = BatchRunner(run, self._limit)
        self._max_queue = max_queue
        self._prepare = prepare
        self._on_batch = on_batch
        self._queue: deque[Job[Item, Result]] = deque()
        self._changed = threading.Condition()
        self._in_hand: list[Job[Item, Result]] = []
        self._closing = False
        self._closed = False
        self._failure: str | None = None
        self._prepared = False
        self._running_until = 0.0
        self._times = BatchTimeModel()
        self._thread = threading.Thread(target=self._serve, name="device", daemon=True)

    def start(self) -> None:
        """Start the device thread."""
        self._thread.start()

    async def close(self, timeout_s: float | None = None) -> None:
        """Refuse new items, finish the queued ones, stop the thread; wait no longer than told."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        await asyncio.to_thread(self._thread.join, timeout_s)

    def check_progress(self, pass_timeout_s: float) -> None:
        """Give up if the device thread has ended, or its pass has run for longer than allowed.

        To be called now and then from another thread: what hangs or is dead cannot tell. After it
        gave up, `failure` says why.
        """
        if self._thread.ident and not self._thread.is_alive() and not self._closed:
            self._give_up("the network's thread has ended")
        elif (age := self.pass_age_s()) > pass_timeout_s:
            self._give_up(f"a forward pass has not ended for {age:.1f} s")

    @property
    def prepared(self) -> bool:
        """Whether `prepare` is done; items submitted before wait for it."""
        return self._prepared

    @property
    def failure(self) -> str | None:
        """Why nothing will ever be answered again; None while all is well."""
        return self._failure

    @property
    def max_batch(self) -> int:
        """The most items of a batch now: fewer for a while after the device ran out of memory."""
        return self._limit.items

    @property
    def queued(self) -> int:
        """Items waiting for a batch."""
        return len(self._queue)

    def oldest_age_s(self) -> float:
        """Seconds that the oldest waiting item has waited."""
        with self._changed:
            return time.monotonic() - self._queue[0].enqueued if self._queue else 0.0

    def pass_age_s(self) -> float:
        """Seconds that the forward pass of now has run; 0 when the device is idle."""
        return self._runner.pass_age_s()

    def expected_wait_s(self, items: int = 0) -> float:
        """Seconds until `items` submitted now would be answered, by the learnt batch time."""
        size = self._limit.items
        full, rest = divmod(len(self._queue) + items, size)
        running = max(0.0, self._running_until - time.monotonic())
        batches = full * self._times.predict(size)
        return running + batches + (self._times.predict(rest) if rest else 0.0)

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
            with self._changed:
                self.check_admission(len(jobs), deadline)
                self._queue.extend(jobs)
                self._changed.notify()
            return list(await asyncio.gather(*(job.future for job in jobs)))
        finally:
            self._forget(jobs)

    def check_admission(self, items: int, deadline: float) -> None:
        """Raise what `submit` would raise at once for so many items, without submitting any."""
        with self._changed:
            if self._failure or self._closing or not self._thread.is_alive():
                raise NotReady("The network is not running.", headers=retry_after(0))
            now = time.monotonic()
            if now > deadline:
                raise DeadlineExceeded("The request's deadline passed before it could be queued.")
            if len(self._queue) + items > self._max_queue:
                raise QueueFull(
                    f"{len(self._queue)} faces are waiting already.",
                    headers=retry_after(self.expected_wait_s()),
                )
            # An idle device always takes more: were it refused work by its estimate, no batch would
            # ever correct the estimate after one slow one.
            busy = self._queue or self._running_until
            wait = self.expected_wait_s(items) if busy else 0.0
            if now + wait > deadline:
                raise QueueFull(
                    "The faces that wait would take longer than the request's deadline allows.",
                    headers=retry_after(self.expected_wait_s()),
                )

    def _forget(self, jobs: list[Job[Item, Result]]) -> None:
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
            self._on_batch(BatchReport(0, 0.0, dropped, 0, 0, 0))

    def _serve(self) -> None:
        """The device thread's life: no error of a batch ends it, and it does not end in silence."""
        try:
            self._prepare()
            self._prepared = True
            while batch := self._pick_up():
                try:
                    self._process(batch)
                except DeviceLost:
                    raise
                except Exception:
                    logger.exception("a batch failed outside the network")
                    deliver(batch, [InternalError("The batch could not be processed.")])
            self._closed = True
        except BaseException as error:
            logger.critical("the device thread ends", exc_info=error)
            self._give_up(f"the network's thread was ended by {type(error).__name__}", error)

    def _give_up(self, reason: str, cause: BaseException | None = None) -> None:
        """Answer all that wait: what is in hand may be at fault, the rest may try elsewhere."""
        if self._failure:
            return
        self._failure = reason
        with self._changed:
            waiting = list(self._queue)
            self._queue.clear()
        stopped = InternalError("The network stopped while it worked on this face.")
        stopped.__cause__ = cause
        deliver(self._in_hand, [stopped])
        deliver(waiting, [NotReady("The network has stopped.", headers=retry_after(0))])

    def _pick_up(self) -> list[Job[Item, Result]]:
        """The next items in line, of callers who wait or left; none once closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closing)
            count = min(self._limit.items, len(self._queue))
            self._in_hand = [self._queue.popleft() for _ in range(count)]
            return self._in_hand

    def _process(self, batch: list[Job[Item, Result]]) -> None:
        now = time.monotonic()
        wanted = [job for job in batch if not job.future.cancelled()]
        late = [job for job in wanted if job.deadline < now]
        ready = [job for job in wanted if job.deadline >= now]
        deliver(late, [DeadlineExceeded("The request's deadline passed in the queue.")])
        self._running_until = now + self._times.predict(len(ready))
        outcome = self._runner.run([job.item for job in ready]) if ready else Outcome([], 0, 0)
        seconds = time.monotonic() - now
        self._running_until = 0.0
        failed = sum(isinstance(answer, InferenceFailed) for answer in outcome.answers)
        if outcome.passes == 1 and not failed:
            self._times.observe(len(ready), seconds)
        answers = [
            answer
            if isinstance(answer, InferenceFailed)
            else Completed(answer, now - job.enqueued, seconds)
            for job, answer in zip(ready, outcome.answers, strict=True)
        ]
        deliver(ready, answers)
        dropped = len(batch) - len(wanted)
        self._on_batch(
            BatchReport(len(ready), seconds, dropped, len(late), failed, outcome.out_of_memory)
        )


def retry_after(seconds: float) -> dict[str, str]:
    """The Retry-After header for a wait, in whole seconds, at least one."""
    return {"Retry-After": str(max(1, round(seconds + 0.5)))}
