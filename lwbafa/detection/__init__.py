"""Face detectors: whole photographs in, face boxes out.

A detector returns boxes in the network's convention, the landmarks' bounding box (see
`lwbafa.imaging.crop`), whatever its own boxes look like.
"""

import math
from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np

from lwbafa.types import FaceBox, Pixels, Points

FivePoints = tuple[tuple[float, float], ...]


class Detection(NamedTuple):
    """A face found: its box in image pixels and the detector's confidence, 0 to 1.

    `points`, where the detector gives them, are five pairs of x and y: eyes, nose and the mouth's
    corners in image pixels, of each pair that at the left first if the face is upright.
    """

    box: FaceBox
    score: float
    points: FivePoints | None = None

    @property
    def roll_degrees(self) -> float:
        """How far the face is turned clockwise, from between its eyes to its mouth; 0 if unknown.

        Within some 25°.
        """
        if self.points is None:
            return 0.0
        points = np.array(self.points)
        dx, dy = points[3:].mean(axis=0) - points[:2].mean(axis=0)
        return math.degrees(math.atan2(-dx, dy))

    def moved(
        self, to: Callable[[Points], Points], scale: float = 1.0, degrees: float = 0.0
    ) -> "Detection":
        """The face where `to` takes points n×2, so many times as large, turned so much more."""
        box = self.box
        center = to(np.array([box.center]))[0]
        roll = box.roll_degrees + degrees
        seen = FaceBox.centered(center, box.width * scale, box.height * scale, roll)
        points = self.points if self.points is None else as_five(to(np.array(self.points)))
        return Detection(seen, self.score, points)


def as_five(points: Points) -> FivePoints:
    """Points 5×2 as plain numbers, which can be compared."""
    return tuple((float(x), float(y)) for x, y in points)


class FaceDetector(Protocol):
    """Finds faces. Must be safe to call from several threads at once."""

    @property
    def longest_side_px(self) -> int:
        """Pictures longer than this are shrunk to it: finer ones are of no use."""
        ...

    @property
    def clear_score(self) -> float:
        """Upright faces that are seen well have a higher score; others may be turned."""
        ...

    def detect(self, image: Pixels) -> list[Detection]:
        """All faces of an upright RGB image H×W×3, in any order."""
        ...
