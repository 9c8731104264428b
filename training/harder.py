"""Faces made harder than their data: boxes that are off, heads turned, blur and covers.

Without them, a fit on annotated faces knows few points that went wrong.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from lwbafa.types import FaceBox, Pixels
from training.datasets import Face
from training.evaluate import BoxedFaces

FARTHEST_SHIFT = 0.3
"""Of the box's longer side; and the box's size changes by as much, up or down."""

MOST_DEGREES = 40.0
WIDEST_BLUR = 0.03
COVER_SIDES = (0.2, 0.6)
"""Of the box's longer side: the widest blur's deviation, and the sides of what covers a face."""


def harder(faces: Sequence[Face], seed: int = 0) -> BoxedFaces:
    """Each face with a box that is off, a third of them blurred and a third partly covered."""
    rng = np.random.default_rng(seed)
    return BoxedFaces("harder", [_harder(face, rng) for face in faces], 0)


def _harder(face: Face, rng: np.random.Generator) -> tuple[Face, FaceBox]:
    box = face.box
    side = max(box.width, box.height)
    center = box.center + side * rng.triangular(-FARTHEST_SHIFT, 0, FARTHEST_SHIFT, 2)
    size = np.exp(rng.triangular(-FARTHEST_SHIFT, 0, FARTHEST_SHIFT))
    degrees = float(rng.triangular(-MOST_DEGREES, 0, MOST_DEGREES))
    moved = FaceBox.centered(center, box.width * size, box.height * size, degrees)
    change = rng.choice(["none", "blur", "cover"])
    image = face.image
    if change == "blur":
        image = _blurred(image, side, rng)
    elif change == "cover":
        image = _covered(image, box, side, rng)
    return face._replace(image=image), moved


def _blurred(image: Pixels, side: float, rng: np.random.Generator) -> Pixels:
    sigma = max(0.1, rng.uniform(0, WIDEST_BLUR) * side)
    return cv2.GaussianBlur(image, (0, 0), sigma)  # type: ignore[return-value]


def _covered(image: Pixels, box: FaceBox, side: float, rng: np.random.Generator) -> Pixels:
    """A rectangle of one colour, its centre within the box."""
    width, height = rng.uniform(*COVER_SIDES, 2) * side
    x, y = (box.x, box.y) + rng.random(2) * (box.width, box.height)
    left, top = max(0, int(x - width / 2)), max(0, int(y - height / 2))
    covered = image.copy()
    covered[top : max(0, int(y + height / 2)), left : max(0, int(x + width / 2))] = rng.integers(
        0, 256, 3, np.uint8
    )
    return covered
