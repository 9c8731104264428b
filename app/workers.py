"""The threads that decode, detect and draw, and what they take first."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

logger = logging.getLogger(__name__)

Made = TypeVar("Made")


class Workers:
    """A pool of threads, each of which is warmed up before it is needed."""

    def __init__(self, count: int) -> None:
        self.executor = ThreadPoolExecutor(count, "worker")
        self.count = count
        self._ready = threading.Event()
        self._closed = False
        self._failure: str | None = None

    @property
    def ready(self) -> bool:
        """Whether every thread is warm."""
        return self._ready.is_set()

    @property
    def failure(self) -> str | None:
        """Why they will never be ready; None while all is well."""
        return self._failure

    def warm_up(self, task: Callable[[], object]) -> None:
        """Begin to run a task on every thread; `ready` tells when it is done."""
        threading.Thread(target=self._warm_up, args=(task,), name="warm-up", daemon=True).start()

    def close(self) -> None:
        """Take no more work. A thread stuck in a decoder is not waited for."""
        self._closed = True
        self.executor.shutdown(wait=False, cancel_futures=True)

    def _warm_up(self, task: Callable[[], object]) -> None:
        together = threading.Barrier(self.count)

        def on_one() -> None:
            together.wait()
            task()

        try:
            for future in [self.executor.submit(on_one) for _ in range(self.count)]:
                future.result()
        except Exception as error:
            if self._closed:  # which took the threads away
                return
            logger.critical("the detector cannot be warmed up", exc_info=error)
            self._failure = f"the detector's warm-up was ended by {type(error).__name__}"
        else:
            self._ready.set()


class _Job:
    """Work that waits for a thread. What its caller does not want any more is let go of at once."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self.future: Future[Any] = Future()
        self._work: Callable[[], Any] | None = work
        self.future.add_done_callback(self._let_go)

    def run(self) -> bool:
        """Run the work; False if it was cancelled."""
        if not self.future.set_running_or_notify_cancel() or self._work is None:
            return False
        try:
            made = self._work()
        except BaseException as error:
            self.future.set_exception(error)
        else:
            self.future.set_result(made)
        return True

    def _let_go(self, _: Future[Any]) -> None:
        self._work = None


class UrgentFirst:
    """Has an executor's threads take urgent work before all other, each in the order it came."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._urgent: deque[_Job] = deque()
        self._other: deque[_Job] = deque()

    def submit(self, work: Callable[[], Made], *, urgent: bool) -> Future[Made]:
        """Run `work` on a thread. Cancelled with the executor's other work if that is shut down."""
        job = _Job(work)
        (self._urgent if urgent else self._other).append(job)
        # A thread comes for each; which work it takes is decided when it is there.
        self._executor.submit(self._take).add_done_callback(self._on_turn)
        return job.future

    def _take(self) -> None:
        for job in self._waiting():
            if job.run():
                return

    def _on_turn(self, turn: Future[None]) -> None:
        """No thread comes where a turn is cancelled: so one of those that wait is not done."""
        if turn.cancelled() and (job := next(self._waiting(), None)):
            job.future.cancel()

    def _waiting(self) -> Iterator[_Job]:
        """What waits, taken from the queues one by one; other threads may do so meanwhile."""
        for queue in (self._urgent, self._other):
            with suppress(IndexError):
                while True:
                    yield queue.popleft()
