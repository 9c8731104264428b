"""Runs a batch, and saves what can be saved of one that fails.

A batch that raises is run again in halves, down to the item at fault. If it raised MemoryError, the
device has too little memory for that many items: the halves mostly fit, and for a while no larger
batch is made.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Generic, NamedTuple

from app.batching.jobs import Item, Result
from app.batching.passes import AtOnce, Begin, Pass, Run
from app.errors import InferenceFailed
from lwbafa.errors import DeviceLost

RECOVERY_S = 60.0
"""How long a lowered limit holds before it doubles."""


class Outcome(NamedTuple, Generic[Result]):
    """An answer per item, in order; the passes it took, and how many of them ran out of memory."""

    answers: list[Result | InferenceFailed]
    passes: int
    out_of_memory: int


class BatchLimit:
    """The most items of a batch. Once lowered it doubles every `recovery_s` seconds."""

    def __init__(self, most: int, recovery_s: float = RECOVERY_S) -> None:
        self._most = most
        self._recovery_s = recovery_s
        # Replaced as one, since the event loop reads while the device thread lowers.
        self._lowered = (most, 0.0)

    @property
    def items(self) -> int:
        """The limit now."""
        low, since = self._lowered
        doublings = int((time.monotonic() - since) / self._recovery_s)
        return min(self._most, low << min(doublings, self._most.bit_length()))

    def lower(self, items: int) -> None:
        """Allow no more than `items` for now."""
        self._lowered = (min(items, self.items), time.monotonic())


class Attempt(Generic[Item, Result]):
    """The first try at a batch, begun; what it raises is kept until its results are asked for.

    `begin` is None for a batch that is too large to be tried.
    """

    def __init__(self, items: Sequence[Item], begin: Callable[[], Pass[Result]] | None) -> None:
        self.items = items
        self.tried = begin is not None
        self._error: Exception | None = None
        self._pass: Pass[Result] | None = None
        if begin:
            with self._keeping_what_it_raises():
                self._pass = begin()

    def wait_for_room(self) -> bool:
        """Wait until the device could have more. Raises DeviceLost.

        False if it should have none before this batch has ended: it takes none, or is needed for
        the halves, which may tell that batches are to be smaller.
        """
        if self._pass:
            with self._keeping_what_it_raises():
                return self._pass.wait_for_room()
        return False

    def results(self) -> Sequence[Result]:
        """The pass's results. Raises what it raised."""
        running, error = self._pass, self._error
        self._pass = self._error = None
        try:
            if error or not running:
                raise error or RuntimeError("the results were asked for before")
            return running.wait()
        finally:
            del error  # this frame is in its traceback, and would keep what else is in there

    @contextmanager
    def _keeping_what_it_raises(self) -> Iterator[None]:
        try:
            yield
        except DeviceLost:
            raise
        except Exception as error:
            self._error = error


class BatchRunner(Generic[Item, Result]):
    """Runs batches through `run`, which takes items and returns as many results in their order.

    With `begin`, a batch may be given to the device before the last one has ended. Used by one
    thread; `pass_age_s` may be asked by any.
    """

    def __init__(
        self,
        run: Run[Item, Result],
        limit: BatchLimit,
        begin: Begin[Item, Result] | None = None,
    ) -> None:
        self._run = run
        self._begin = begin or self._at_once
        self._limit = limit
        self._passes = self._out_of_memory = 0
        self._under_way = 0
        self._since: float | None = None

    def pass_age_s(self) -> float:
        """Seconds that the device has been at the current pass; 0 between passes."""
        since = self._since
        return 0.0 if since is None else time.monotonic() - since

    def restart_age(self) -> None:
        """Let the current pass's age begin now: until now the device was busy with another."""
        self._since = time.monotonic()

    def run(self, items: Sequence[Item]) -> Outcome[Result]:
        """The outcome of a batch that has the device to itself."""
        return self.finish(self.begin(items, crowded=False))

    def begin(self, items: Sequence[Item], crowded: bool) -> Attempt[Item, Result]:
        """Give a batch to the device; `crowded` tells whether others run beside it, or wait."""
        if not self._under_way:
            self.restart_age()
        self._under_way += 1
        tried = len(items) <= self._limit.items
        return Attempt(items, partial(self._begin, items, crowded) if tried else None)

    def finish(self, attempt: Attempt[Item, Result]) -> Outcome[Result]:
        """The batch's outcome; an item that fails even alone gets InferenceFailed.

        Raises DeviceLost if `run` does: smaller batches would fare no better.
        """
        self._passes, self._out_of_memory = int(attempt.tried), 0
        try:
            answers = self._answers(attempt.items, attempt.results if attempt.tried else None)
        finally:
            self._under_way -= 1
            self._since = time.monotonic() if self._under_way else None
        return Outcome(answers, self._passes, self._out_of_memory)

    def _answers(
        self, items: Sequence[Item], results: Callable[[], Sequence[Result]] | None = None
    ) -> list[Result | InferenceFailed]:
        # Too large only when the sibling half has just lowered the limit: split without trying.
        if results or len(items) <= self._limit.items:
            try:
                return [*_as_many(items, results() if results else self._run_once(items))]
            except DeviceLost:
                raise
            except Exception as error:
                if isinstance(error, MemoryError):
                    self._out_of_memory += 1
                    self._limit.lower((len(items) + 1) // 2)
                if len(items) == 1:
                    failure = InferenceFailed("The network failed on this face.")
                    failure.__cause__ = error
                    return [failure]
        # Not in the handler: its exception would keep the failed pass's memory while these run.
        middle = len(items) // 2
        return self._answers(items[:middle]) + self._answers(items[middle:])

    def _run_once(self, items: Sequence[Item]) -> Sequence[Result]:
        self._passes += 1
        self.restart_age()
        return self._run(items)

    def _at_once(self, items: Sequence[Item], _: bool) -> Pass[Result]:
        return AtOnce(self._run, items)


def _as_many(items: Sequence[Item], results: Sequence[Result]) -> Sequence[Result]:
    if len(results) != len(items):
        raise RuntimeError(f"{len(items)} items gave {len(results)} results")
    return results
