"""The threads that decode, detect and draw."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

logger = logging.getLogger(__name__)


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
