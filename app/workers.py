"""The threads that decode, detect and draw, and what they take first."""

import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
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


class UrgentFirst:
    """Has an executor's threads take urgent work before all other, each in the order it came."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._urgent: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._other: deque[tuple[Future[Any], Callable[[], Any]]] = deque()

    def submit(self, work: Callable[[], Made], *, urgent: bool) -> Future[Made]:
        """Run `work` on a thread. Cancelled with the executor's other work if that is shut down."""
        future: Future[Made] = Future()
        (self._urgent if urgent else self._other).append((future, work))
        # A thread comes for each; which work it takes is decided when it is there.
        turn = self._executor.submit(self._take)
        turn.add_done_callback(lambda turn: turn.cancelled() and future.cancel())
        return future

    def _take(self) -> None:
        for waiting in (self._urgent, self._other):
            while waiting:
                try:
                    future, work = waiting.popleft()
                except IndexError:  # another thread was here meanwhile
                    break
                if future.set_running_or_notify_cancel():
                    _run(future, work)
                    return


def _run(future: Future[Made], work: Callable[[], Made]) -> None:
    try:
        made = work()
    except BaseException as error:
        future.set_exception(error)
    else:
        future.set_result(made)
