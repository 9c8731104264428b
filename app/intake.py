"""The requests that are in the house: places for them, and their end when the service stops."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from app.errors import NotReady, QueueFull


class Intake:
    """Counts and bounds the requests being worked on, and ends those that are still there."""

    def __init__(self, max_requests: int, expected_wait_s: Callable[[], float]) -> None:
        self._max_requests = max_requests
        self._expected_wait_s = expected_wait_s
        self._in_progress = 0
        self._tracked: set[asyncio.Timeout] = set()

    @property
    def in_progress(self) -> int:
        """Requests that hold a place."""
        return self._in_progress

    @property
    def empty(self) -> bool:
        """Whether every request that was tracked has ended."""
        return not self._tracked

    def refuse_if_full(self) -> None:
        """Raise QueueFull if there is no place."""
        if self._in_progress >= self._max_requests:
            raise QueueFull(
                f"{self._in_progress} requests are in progress already.",
                retry_after_s=self._expected_wait_s(),
            )

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold one of the places for requests. Raises QueueFull."""
        self.refuse_if_full()
        self._in_progress += 1
        try:
            yield
        finally:
            self._in_progress -= 1

    @asynccontextmanager
    async def tracked(self) -> AsyncIterator[None]:
        """Let a stop wait for the block's end, or end it: then NotReady is raised in it."""
        request = asyncio.timeout(None)
        self._tracked.add(request)
        try:
            async with request:
                yield
        except TimeoutError as error:
            if not request.expired():
                raise
            raise NotReady("The service has stopped.", retry_after_s=0) from error
        finally:
            self._tracked.discard(request)

    def end_in(self, seconds: float) -> None:
        """End the tracked requests after this many seconds."""
        end = asyncio.get_running_loop().time() + seconds
        for request in self._tracked:
            if not request.expired():
                request.reschedule(end)
