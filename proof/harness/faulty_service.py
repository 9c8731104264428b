"""`python -m proof.harness.faulty_service`: the real service around an engine that fails at will.

A crop of one flat colour calls for a fault. What stands behind the faults is quick and sees no
faces: it stands in for the network where what is tested is the life of the process around it. With
`--network` it is the network itself, and everything but those colours is aligned as ever.
"""

import signal
import time
from collections.abc import Sequence
from threading import Event
from typing import Literal

import click
import numpy as np

from app.server.start import main
from lwbafa.checkpoint import Checkpoint, EngineName
from lwbafa.engine import Alignment, Engine
from lwbafa.engine.choose import EngineOptions, create_engine
from lwbafa.errors import DeviceLost
from lwbafa.types import Pixels

Color = tuple[int, int, int]

POISON: Color = (255, 0, 1)
"""Raises whenever it is in a batch."""
FLAKY: Color = (0, 255, 1)
"""Raises the first time."""
GREEDY: Color = (0, 1, 255)
"""Runs out of memory in a batch of more than the engine's `room`."""
HANG: Color = (255, 1, 255)
"""Never returns."""
KILL: Color = (1, 255, 255)
"""Ends the device's thread."""
LOSE: Color = (1, 1, 255)
"""Loses the device."""
SLOW: Color = (255, 255, 1)
"""Takes `SLOW_PASS_S` longer."""
HOLD: Color = (255, 1, 1)
"""Keeps the device busy until the process gets `RELEASE`, so that what waits makes one batch."""

PASS_S = 0.02
SLOW_PASS_S = 2.0
HOLD_AT_MOST_S = 60.0
RELEASE = signal.SIGUSR1

ROOM = 4
"""Faces that the network's engine has memory for once a `GREEDY` one is among them."""

_released = Event()


class QuickEngine:
    """Answers every crop alike, after a while."""

    name: EngineName = "torch"
    device: Literal["cpu"] = "cpu"

    def __init__(self, checkpoint: Checkpoint) -> None:
        landmarks = checkpoint.markup.landmark_count
        self._points = np.full((landmarks, 2), 0.5, np.float32)
        self._map_values = np.ones(landmarks, np.float32)
        self._heatmap = np.zeros((checkpoint.manifest.input.size_px // 4,) * 2, np.uint8)

    def warm_up(self, max_batch: int) -> None:
        """Nothing to do."""

    def align(self, crops: Sequence[Pixels]) -> list[Alignment]:
        """The middle of every crop."""
        time.sleep(PASS_S)
        return [Alignment(self._points, self._map_values, self._heatmap) for _ in crops]


class FaultyEngine:
    """Another engine, failing on the colours above; `room` is for a `GREEDY` face's batch."""

    def __init__(self, engine: Engine, room: int) -> None:
        self._engine = engine
        self._room = room
        self._failed_before = False

    @property
    def name(self) -> EngineName:
        """The other engine's."""
        return self._engine.name

    @property
    def device(self) -> Literal["cpu", "cuda"]:
        """Where the other engine runs."""
        return self._engine.device

    def warm_up(self, max_batch: int) -> None:
        """Warm the other engine up."""
        self._engine.warm_up(max_batch)

    def align(self, crops: Sequence[Pixels]) -> list[Alignment]:
        """What the other engine says, unless a colour calls for a fault."""
        colors = {flat_color(crop) for crop in crops}
        if POISON in colors:
            raise RuntimeError("the network cannot take this face")
        if FLAKY in colors and not self._failed_before:
            self._failed_before = True
            raise RuntimeError("the network failed this once")
        if GREEDY in colors and len(crops) > self._room:
            raise MemoryError(f"room for {self._room}")
        if KILL in colors:
            raise SystemExit("the device's thread ends")
        if LOSE in colors:
            raise DeviceLost("the device is of no more use")
        while HANG in colors:
            time.sleep(1)
        if SLOW in colors:
            time.sleep(SLOW_PASS_S)
        if HOLD in colors:
            _released.wait(HOLD_AT_MOST_S)
            _released.clear()
        return self._engine.align(crops)


def flat_color(crop: Pixels) -> Color | None:
    """The colour of a crop that has but one."""
    red, green, blue = (int(value) for value in crop[0, 0])
    return (red, green, blue) if np.all(crop == crop[0, 0]) else None


def faulty_engine(checkpoint: Checkpoint, options: EngineOptions) -> Engine:
    """A quick engine behind the faults, in place of the one that the options choose."""
    return FaultyEngine(QuickEngine(checkpoint), room=1)


def faulty_network(checkpoint: Checkpoint, options: EngineOptions) -> Engine:
    """The engine that the options choose, behind the faults."""
    return FaultyEngine(create_engine(checkpoint, options), ROOM)


@click.command()
@click.option("--network", is_flag=True, help="Let the network stand behind the faults.")
def serve(network: bool) -> None:
    """Serve like `python -m app`, around an engine that fails on certain colours."""
    signal.signal(RELEASE, lambda *_: _released.set())
    main(faulty_network if network else faulty_engine)


if __name__ == "__main__":
    serve()
