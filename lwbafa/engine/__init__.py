"""Engines: run the network on a device; know no HTTP and no queue."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from lwbafa.checkpoint import EngineName
from lwbafa.types import Pixels


class Alignment(NamedTuple):
    """What the network says of one crop.

    `points` N×2 float32, x and y in [0, 1] of the crop, unclamped; `map_values` N float32, the
    boundary heatmap at each point, 0 to 1, NaN for points on no boundary; `heatmap` S/4×S/4 uint8
    for crops of side S, the boundaries merged by maximum, 255 for 1.
    """

    points: NDArray[np.float32]
    map_values: NDArray[np.float32]
    heatmap: NDArray[np.uint8]


class Engine(Protocol):
    """Aligns crops; called by one thread only."""

    @property
    def name(self) -> EngineName:
        """Which engine this is."""
        ...

    @property
    def device(self) -> Literal["cpu", "cuda"]:
        """Where it runs."""
        ...

    def warm_up(self, max_batch: int) -> None:
        """Do what the first callers would else wait for."""
        ...

    def align(self, crops: Sequence[Pixels]) -> list[Alignment]:
        """Align crops S×S×3 uint8 RGB, in order; each answer independent of the others.

        S is the `size_px` of the checkpoint's input contract.

        Raises MemoryError, with the device's memory freed, if it has no room for that many, and
        DeviceLost if the device will answer nothing any more.
        """
        ...


class Pass(Protocol):
    """Crops that the device was given."""

    def wait_for_room(self) -> bool:
        """Wait until the device has begun with the last of them and could have more.

        False, at once, if it can have none before they have ended.
        """
        ...

    def wait(self) -> list[Alignment]:
        """The answers, in order, once they are there."""
        ...


@runtime_checkable
class OverlappingEngine(Engine, Protocol):
    """An engine that takes crops while it still works on others, so that it never waits."""

    def begin(self, crops: Sequence[Pixels], crowded: bool) -> Pass:
        """Give it crops; `crowded` tells whether others run beside them, or wait.

        What `align` raises, this and the pass may raise.
        """
        ...


def split(*answers: NDArray[Any]) -> list[Alignment]:
    """A batch's points B×N×2, map values B×N and heatmaps B×s×s, face by face."""
    return [Alignment(*face) for face in zip(*answers, strict=True)]
