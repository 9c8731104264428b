"""Runs a batch, and saves what can be saved of one that fails.

A batch that raises is run again in halves, down to the item at fault. If it raised MemoryError, the
device has too little memory for that many items: the halves mostly fit, and for a while no larger
batch is made.
"""

import time
from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple

from app.batching.jobs import Item, Result
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


class BatchRunner(Generic[Item, Result]):
    """Runs batches through `run`, which takes items and returns as many results in their order.

    Used by one thread; `pass_age_s` may be asked by any.
    """

    def __init__(self, run: Callable[[Sequence[Item]], Sequence[Result]], limit: BatchLimit):
        self._run = run
        self._limit = limit
        self._passes = self._out_of_memory = 0
        self._pass_began: float | None = None

    def pass_age_s(self) -> float:
        """Seconds that the current pass has been running; 0 between passes."""
        began = self._pass_began
        return 0.0 if began is None else time.monotonic() - began

    def run(self, items: Sequence[Item]) -> Outcome[Result]:
        """The batch's outcome; an item that fails even alone gets InferenceFailed.

        Raises DeviceLost if `run` does: smaller batches would fare no better.
        """
        self._passes = self._out_of_memory = 0
        answers = self._run_halving(items)
        return Outcome(answers, self._passes, self._out_of_memory)

    def _run_halving(self, items: Sequence[Item]) -> list[Result | InferenceFailed]:
        # Too large only when the sibling half has just lowered the limit: split without trying.
        if len(items) <= self._limit.items:
            try:
                return [*self._run_once(items)]
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
        return self._run_halving(items[:middle]) + self._run_halving(items[middle:])

    def _run_once(self, items: Sequence[Item]) -> Sequence[Result]:
        self._passes += 1
        self._pass_began = time.monotonic()
        try:
            results = self._run(items)
        finally:
            self._pass_began = None
        if len(results) != len(items):
            raise RuntimeError(f"{len(items)} items gave {len(results)} results")
        return results
