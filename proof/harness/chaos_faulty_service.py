"""`python -m proof.harness.chaos_faulty_service`: the real service, whose network fails on certain colours.

The faults lie between the batcher and the engine, and are called for by uploads of one flat
colour: everything else is aligned as ever. No setting of the service leads here.
"""

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from app.batching import Batcher
from app.server.start import main
from lwbafa.types import Pixels
from proof.harness.faulty_service import Color, flat_color

POISON: Color = (255, 0, 1)
"""Raises whenever it is in a batch."""
FLAKY: Color = (0, 255, 1)
"""Raises the first time."""
GREEDY: Color = (0, 1, 255)
"""Runs out of memory in a batch of more than `ROOM`."""
HANG: Color = (255, 1, 255)
"""Never returns."""
KILL: Color = (1, 255, 255)
"""Ends the device's thread."""
HOLD: Color = (255, 255, 1)
"""Keeps the device busy until `HELD` faces wait behind it, so that they make one batch."""

ROOM = 4
HELD = 16
HOLDING = "chaos: the device is held"
HOLD_AT_MOST_S = 60

Run = Callable[[Sequence[Pixels]], Sequence[Any]]


def with_faults(run: Run, waiting: Callable[[], int]) -> Run:
    """The engine's function, failing on the colours above; `waiting` tells the queue's length."""
    failed_before = False

    def faulty(crops: Sequence[Pixels]) -> Sequence[Any]:
        nonlocal failed_before
        colors = {flat_color(crop) for crop in crops}
        if POISON in colors:
            raise RuntimeError("the network cannot take this face")
        if FLAKY in colors and not failed_before:
            failed_before = True
            raise RuntimeError("the network failed this once")
        if GREEDY in colors and len(crops) > ROOM:
            raise MemoryError("the device has no room for so many faces")
        while HANG in colors:
            time.sleep(1)
        if KILL in colors:
            raise SystemExit("the device's thread ends")
        if HOLD in colors:
            print(HOLDING, file=sys.stderr, flush=True)
            give_up = time.monotonic() + HOLD_AT_MOST_S
            while waiting() < HELD and time.monotonic() < give_up:
                time.sleep(0.01)
        return run(crops)

    return faulty


def install() -> None:
    """Put the faults between every batcher and its engine."""
    init = Batcher.__init__

    def init_with_faults(self: Batcher[Any, Any], run: Run, **options: Any) -> None:
        init(self, with_faults(run, lambda: self.queued), **options)

    Batcher.__init__ = init_with_faults  # type: ignore[method-assign,assignment]


if __name__ == "__main__":
    install()
    main()
