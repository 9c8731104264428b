"""The types that every part of the library speaks: pixels, points and face boxes.

Coordinates are pixels, x to the right and y down; (0, 0) is the centre of the top left pixel.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
"""A decoded picture: H×W×3, RGB."""

Points = NDArray[np.floating]
"""…×2, x and y."""


class FaceBox(NamedTuple):
    """A face's bounding box in image pixels: left, top, width, height, and how far it is turned.

    It encloses the landmarks: from the outer brow line down to the chin, from ear to ear. The box
    of a turned face is the upright rectangle turned clockwise about its centre by `roll_degrees`.
    """

    x: float
    y: float
    width: float
    height: float
    roll_degrees: float = 0.0

    @property
    def center(self) -> tuple[float, float]:
        """Of the rectangle, turned or not."""
        return self.x + self.width / 2, self.y + self.height / 2

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of the upright rectangle around it."""
        x, y = self.center
        angle = math.radians(self.roll_degrees)
        cos, sin = abs(math.cos(angle)), abs(math.sin(angle))
        half_width = (self.width * cos + self.height * sin) / 2
        half_height = (self.width * sin + self.height * cos) / 2
        return x - half_width, y - half_height, x + half_width, y + half_height

    def meets(self, upright: "FaceBox") -> bool:
        """Whether this and an upright rectangle overlap: no side of either lies between them."""
        angle = math.radians(self.roll_degrees)
        cos, sin = math.cos(angle), math.sin(angle)
        (x, y), (other_x, other_y) = self.center, upright.center
        right, down = other_x - x, other_y - y
        # The other as this one sees it: turned the other way about this one's centre.
        center = x + right * cos + down * sin, y - right * sin + down * cos
        seen = FaceBox.centered(center, upright.width, upright.height, -self.roll_degrees)
        itself = self._replace(roll_degrees=0.0)
        return min(self.upright.intersection(upright), itself.intersection(seen.upright)) > 0

    def intersection(self, other: "FaceBox") -> float:
        """The area that two upright boxes share."""
        width = min(self.x + self.width, other.x + other.width) - max(self.x, other.x)
        height = min(self.y + self.height, other.y + other.height) - max(self.y, other.y)
        return max(0.0, width) * max(0.0, height)

    def share_of_smaller(self, other: "FaceBox") -> float:
        """What two upright boxes share, over the area of the smaller one."""
        smaller = min(self.width * self.height, other.width * other.height)
        return self.intersection(other) / max(smaller, 1e-9)

    @property
    def upright(self) -> "FaceBox":
        """The upright box around it."""
        left, top, right, bottom = self.bounds
        return FaceBox(left, top, right - left, bottom - top)

    @classmethod
    def centered(
        cls, center: Iterable[float], width: float, height: float, roll_degrees: float = 0.0
    ) -> "FaceBox":
        """The box of a size about a centre (2)."""
        x, y = (float(value) for value in center)
        return cls(x - width / 2, y - height / 2, width, height, roll_degrees)

    @classmethod
    def around(cls, points: Points) -> "FaceBox":
        """The box around N×2 points in image pixels."""
        left, top = points.min(axis=0).tolist()
        right, bottom = points.max(axis=0).tolist()
        return cls(left, top, right - left, bottom - top)
