"""The thread that owns the device, and runs the batches of every batcher that shares it.

Work-conserving: it takes whatever queued while it was busy, never waits to fill a batch, never
polls. It owns the queues' far end, so no turn of the event loop lies between two batches. Where
several batchers have work, the one whose oldest item has waited for longest is served.

Nobody waits for ever: if the thread ends or hangs, all that wait are told so.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

from app.batching.jobs import Job, deliver
from app.errors import InternalError, NotReady
from lwbafa.errors import DeviceLost

logger = logging.getLogger(__name__)


class Flight(Protocol):
    """A batch that the device was given."""

    jobs: list[Job[Any, Any]]

    def wait_for_room(self) -> bool:
        """Wait until the device could have more; False if that is when this batch has ended."""
        ...


class Lane(Protocol):
    """What the device asks of a batcher. What counts its queue is under `Device.changed`."""

    prepare: Callable[[], None]

    @property
    def queued(self) -> int:
        """Items waiting for a batch."""
        ...

    def backlog_s(self) -> float:
        """Seconds of work in the queue, by the learnt batch time."""
        ...

    def oldest(self) -> float | None:
        """When the first item in line was queued, by `time.monotonic()`; None without one."""
        ...

    def pick_up(self) -> list[Job[Any, Any]]:
        """Take the next batch out of the queue."""
        ...

    def begin(self, batch: list[Job[Any, Any]], beside: bool) -> Flight:
        """Give a batch to the device, perhaps beside one that has not ended."""
        ...

    def alone(self, flight: Any) -> None:
        """The batch before has ended."""
        ...

    def finish(self, flight: Any, last: bool) -> None:
        """Wait for a batch and deliver what came of it; after the last one the device is idle."""
        ...

    def pass_age_s(self) -> float:
        """Seconds that the current forward pass has been running; 0 when there is none."""
        ...

    def take_all(self) -> list[Job[Any, Any]]:
        """Empty the queue."""
        ...


class _UnderWay(NamedTuple):
    """A batch with the device, and whose it is."""

    lane: Lane
    flight: Flight


class Device:
    """One thread and the batchers that share it. Batchers join before it starts."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.running_until = 0.0
        self.lanes: list[Lane] = []
        self._in_hand: list[Job[Any, Any]] = []
        self._closing = False
        self._closed = False
        self._failure: str | None = None
        self._prepared = False
        self._thread = threading.Thread(target=self._serve, name="device", daemon=True)

    def join(self, lane: Lane) -> None:
        """Serve one more batcher."""
        self.lanes.append(lane)

    def start(self) -> None:
        """Start the thread: it prepares every batcher, then serves them."""
        self._thread.start()

    async def close(self, timeout_s: float | None = None) -> None:
        """Refuse new items, finish the queued ones, stop the thread; wait no longer than told."""
        with self.changed:
            self._closing = True
            self.changed.notify()
        await asyncio.to_thread(self._thread.join, timeout_s)

    def check_progress(self, pass_timeout_s: float) -> None:
        """Give up if the thread has ended, or its pass has run for longer than allowed.

        Call it now and then from another thread: what hangs or is dead cannot tell. After it gave
        up, `failure` says why.
        """
        if self._thread.ident and not self._thread.is_alive() and not self._closed:
            self._give_up("the network's thread has ended")
        elif (age := self.pass_age_s()) > pass_timeout_s:
            self._give_up(f"a forward pass has not ended for {age:.1f} s")

    @property
    def prepared(self) -> bool:
        """Whether every batcher is prepared; items submitted before wait for it."""
        return self._prepared

    @property
    def failure(self) -> str | None:
        """Why nothing will ever be answered again; None while all is well."""
        return self._failure

    @property
    def accepts(self) -> bool:
        """Whether new items will be worked on."""
        return not self._failure and not self._closing and self._thread.is_alive()

    def pass_age_s(self) -> float:
        """Seconds that the current forward pass has been running; 0 when the device is idle."""
        return max((lane.pass_age_s() for lane in self.lanes), default=0.0)

    def free_from(self) -> float:
        """When the device will have ended what it was given, by `time.monotonic()`."""
        return max(time.monotonic(), self.running_until)

    def _serve(self) -> None:
        """The thread's life: no error of a batch ends it, and it does not end in silence."""
        try:
            for lane in self.lanes:
                lane.prepare()
            self._prepared = True
            ahead: _UnderWay | None = None
            while True:
                following = self._next(ahead)
                if ahead:
                    self._end(ahead, following)
                elif not following and self._is_over():
                    break
                ahead = following
            self._closed = True
        except BaseException as error:
            logger.critical("the device thread ends", exc_info=error)
            self._give_up(f"the network's thread was ended by {type(error).__name__}", error)

    def _next(self, ahead: "_UnderWay | None") -> "_UnderWay | None":
        """One more batch, begun when the last items of the one ahead run; None if there is none."""
        if ahead and not ahead.flight.wait_for_room():
            return None
        lane, batch = self._pick_up(wait=not ahead)
        if not lane:
            return None
        with self._surviving(batch):
            return _UnderWay(lane, lane.begin(batch, beside=bool(ahead)))
        return None

    def _end(self, ahead: "_UnderWay", following: "_UnderWay | None") -> None:
        with self._surviving(ahead.flight.jobs):
            ahead.lane.finish(ahead.flight, last=not following)
        if following:
            following.lane.alone(following.flight)
            self._in_hand = following.flight.jobs

    @contextmanager
    def _surviving(self, batch: list[Job[Any, Any]]) -> Iterator[None]:
        """Tell a batch's callers of what goes wrong outside the network."""
        try:
            yield
        except DeviceLost:
            raise
        except Exception:
            logger.exception("a batch failed outside the network")
            deliver(batch, [InternalError("The batch could not be processed.")])

    def _pick_up(self, wait: bool) -> tuple[Lane | None, list[Job[Any, Any]]]:
        """The batcher to serve next and its batch, which is in hand; None if nothing waits.

        With `wait` it waits for work, and nothing waits once closed and empty.
        """
        with self.changed:
            if wait:
                self.changed.wait_for(lambda: self._waiting() or self._closing)
            waiting = self._waiting()
            if not waiting:
                return None, []
            lane = min(waiting, key=lambda pair: pair[0])[1]
            batch = lane.pick_up()
            self._in_hand = batch if wait else self._in_hand + batch
            return lane, batch

    def _is_over(self) -> bool:
        with self.changed:
            return self._closing and not self._waiting()

    def _waiting(self) -> list[tuple[float, Lane]]:
        oldest = ((lane.oldest(), lane) for lane in self.lanes)
        return [(since, lane) for since, lane in oldest if since is not None]

    def _give_up(self, reason: str, cause: BaseException | None = None) -> None:
        """Answer all that wait: what is in hand may be at fault, the rest may try elsewhere."""
        if self._failure:
            return
        self._failure = reason
        with self.changed:
            waiting = [job for lane in self.lanes for job in lane.take_all()]
        stopped = InternalError("The network stopped while it worked on this face.")
        stopped.__cause__ = cause
        deliver(self._in_hand, [stopped])
        deliver(waiting, [NotReady("The network has stopped.", retry_after_s=0)])
