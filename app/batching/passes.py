"""Passes of a device that takes a batch at a time, or the next one before the last has ended."""

from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

from app.batching.jobs import Item, Result

Found = TypeVar("Found", covariant=True)


class Pass(Protocol[Found]):
    """Items that the device was given."""

    def wait_for_room(self) -> bool:
        """Wait until the device has begun with the last of them and could have more.

        False, at once, if it can have none before they have ended.
        """
        ...

    def wait(self) -> Sequence[Found]:
        """The results in the items' order. Raises what the device raises."""
        ...


Run = Callable[[Sequence[Item]], Sequence[Result]]
Begin = Callable[[Sequence[Item], bool], Pass[Result]]
"""Gives the device items; whether others run beside them, or wait."""


class AtOnce(Generic[Item, Result]):
    """A pass of a device that takes a batch at a time: it runs when it is waited for."""

    def __init__(self, run: Run[Item, Result], items: Sequence[Item]) -> None:
        self._run, self._items = run, items

    def wait_for_room(self) -> bool:
        """There is none."""
        return False

    def wait(self) -> Sequence[Result]:
        """What the items give."""
        return self._run(self._items)
