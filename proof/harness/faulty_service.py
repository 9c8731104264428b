"""`python -m proof.harness.faulty_service`: the real service around an engine that fails on certain colours.

The engine is quick and sees no faces: it stands in for the network where what is tested is the
life of the process around it. A crop of one flat colour calls for a fault.
"""

import time
from collections.abc import Sequence
from typing import Literal

import numpy as np

from app.server.start import main
from app.settings import Settings
from lwbafa.checkpoint import Checkpoint, EngineName
from lwbafa.engine import Alignment, Engine
from lwbafa.errors import DeviceLost
from lwbafa.types import Pixels

Color = tuple[int, int, int]

HANG: Color = (255, 0, 0)
KILL: Color = (0, 255, 0)
LOSE: Color = (0, 255, 255)
GREEDY: Color = (0, 0, 255)
SLOW: Color = (255, 255, 0)

PASS_S = 0.02
SLOW_PASS_S = 2.0


class FaultyEngine:
    """Answers every crop alike, after a while; on some colours it does worse."""

    name: EngineName = "torch"
    device: Literal["cpu"] = "cpu"

    def __init__(self, landmark_count: int) -> None:
        self._points = np.full((landmark_count, 2), 0.5, np.float32)
        self._scores = np.ones(landmark_count, np.float32)

    def warm_up(self, max_batch: int) -> None:
        """Nothing to do."""

    def align(self, crops: Sequence[Pixels]) -> list[Alignment]:
        """The middle of every crop."""
        colors = {flat_color(crop) for crop in crops}
        if KILL in colors:
            raise SystemExit("the device's thread ends")
        if LOSE in colors:
            raise DeviceLost("the device is of no more use")
        if GREEDY in colors and len(crops) > 1:
            raise MemoryError("room for one")
        while HANG in colors:
            time.sleep(1)
        time.sleep(SLOW_PASS_S if SLOW in colors else PASS_S)
        heatmap = np.zeros((64, 64), np.uint8)
        return [Alignment(self._points, self._scores, heatmap) for _ in crops]


def flat_color(crop: Pixels) -> Color | None:
    """The colour of a crop that has but one."""
    red, green, blue = (int(value) for value in crop[0, 0])
    return (red, green, blue) if np.all(crop == crop[0, 0]) else None


def faulty_engine(checkpoint: Checkpoint, settings: Settings) -> Engine:
    """In place of the engine that the settings choose."""
    return FaultyEngine(checkpoint.markup.landmark_count)


if __name__ == "__main__":
    main(faulty_engine)
