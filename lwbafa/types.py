"""The types that every part of the library speaks: pixels, points and face boxes.

Coordinates are pixels, x to the right and y down; (0, 0) is the centre of the top left pixel.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
"""A decoded picture: H×W×3, RGB."""

Points = NDArray[np.floating]
"""…×2, x and y."""


class FaceBox(NamedTuple):
    """A face's bounding box in image pixels: left, top, width, height.

    It encloses the landmarks: from the outer brow line down to the chin, from ear to ear.
    """

    x: float
    y: float
    width: float
    height: float

    @classmethod
    def around(cls, points: Points) -> "FaceBox":
        """The box around N×2 points in image pixels."""
        left, top = points.min(axis=0).tolist()
        right, bottom = points.max(axis=0).tolist()
        return cls(left, top, right - left, bottom - top)
