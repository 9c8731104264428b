"""Knows a face of an evaluation set again, so that nothing is learnt from what is measured on.

Copies of a photograph differ in size, compression, light, turn and mirror, and the points found in
them by a little. So squares are cut by the outer eye corners, evened out in light, and compared by
correlation in the best of some small displacements, with a perceptual hash as a second witness.
"""

from collections.abc import Iterable, Iterator
from itertools import product
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from lwbafa.imaging.crop import Crop
from lwbafa.types import Pixels, Points
from training.datasets import Face

Patch = NDArray[np.float32]
"""PATCH_PX² grey values."""

PATCH_PX = 32
PATCH_SIDE = 2.2
"""Of the square, in inter-ocular distances."""

EYES_ABOVE_MIDDLE = 0.15
EVENED_PX = 3.0
"""Light is evened over this distance: what people share of it tells nobody apart."""

DISPLACEMENTS = tuple(
    product((-0.02, 0.0, 0.02), (-0.02, 0.0, 0.02), (0.96, 1.0, 1.04), (-2, 0, 2))
)
"""Shifts in squares' sides, scales, and degrees."""

SURE_CORRELATION = 0.80
NEAR_CORRELATION, NEAR_BITS = 0.70, 10
"""A face is known again if it correlates so well, or nearly so and few bits of its hash differ.

330 of 330 Helen test faces, halved, darkened, compressed, mirrored and their eyes found 2 % off,
are known again; of 300-W's 2,012 training faces two are mistaken for one of them. Among faces of 25
pixels one in six is mistaken for one of a hundred others, which costs no more than the face.
"""

HASH_SIDE = 8


class LeakGuard:
    """Evaluation faces, and whether another face is one of them."""

    def __init__(self, names: list[str], patches: list[Patch]) -> None:
        """`patches`: each face's square as it is and in the mirror, twice as many as names."""
        self._names = names
        self._vectors = np.array([_vector(patch) for patch in patches])
        self._hashes = np.array([_bits(patch) for patch in patches])

    @classmethod
    def of(cls, faces: Iterable[tuple[Face, tuple[int, int]]]) -> Self:
        """A guard of faces, each with the indices of its outer eye corners."""
        names, patches = [], []
        for face, corners in faces:
            square = _square(face.landmarks, corners)
            patch = _grey(square.cut(face.image, PATCH_PX))
            names.append(face.name)
            patches += [patch, patch[:, ::-1]]
        return cls(names, patches)

    def near(self, image: Pixels, points: Points, corners: tuple[int, int]) -> str | None:
        """The name of the evaluation face that this one is, if it is any.

        `corners` are the indices of the outer eye corners in the points N×2 of the image.
        """
        if not self._names:
            return None
        patches = list(_displaced(image, _square(points, corners)))
        correlations = np.array([_vector(patch) for patch in patches]) @ self._vectors.T
        patch, face = np.unravel_index(int(correlations.argmax()), correlations.shape)
        correlation = correlations[patch, face]
        differing = int((_bits(patches[patch]) != self._hashes[face]).sum())
        if correlation > SURE_CORRELATION or (
            correlation > NEAR_CORRELATION and differing <= NEAR_BITS
        ):
            return self._names[int(face) // 2]
        return None


def _square(points: Points, corners: tuple[int, int]) -> Crop:
    left, right = (np.asarray(points[i], np.float64) for i in corners)
    dx, dy = right - left
    x, y = (left + right) / 2 + EYES_ABOVE_MIDDLE * PATCH_SIDE * np.array([-dy, dx])
    side = max(1.0, PATCH_SIDE * float(np.hypot(dx, dy)))
    return Crop(float(x), float(y), side, float(np.degrees(np.arctan2(dy, dx))))


def _displaced(image: Pixels, square: Crop) -> Iterator[Patch]:
    """The square's patch, and those of squares a little beside it."""
    margin, fine_px = 1.2, 2 * PATCH_PX
    around_px = int(margin * fine_px)
    around = square._replace(side=square.side * around_px / fine_px).cut(image, around_px)
    middle = (around_px - 1) / 2
    for right, down, scale, degrees in DISPLACEMENTS:
        beside = Crop(
            middle + right * fine_px, middle + down * fine_px, fine_px * scale, float(degrees)
        )
        yield _grey(beside.cut(around, PATCH_PX))


def _grey(pixels: Pixels) -> Patch:
    return cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.float32)


def _vector(patch: Patch) -> NDArray[np.float32]:
    """Evened in light, without its mean and of unit length: products of two are correlations."""
    detail = patch - cv2.GaussianBlur(patch, (0, 0), EVENED_PX)
    strength = np.sqrt(cv2.GaussianBlur(detail * detail, (0, 0), EVENED_PX))
    evened = (detail / (strength + 4)).ravel()  # a few grey levels of noise are no detail
    centred = evened - evened.mean()
    return np.asarray(centred / max(float(np.linalg.norm(centred)), 1e-9), np.float32)


def _bits(patch: Patch) -> NDArray[np.bool_]:
    """The perceptual hash: which of the lowest frequencies are above their median."""
    low = cv2.dct(np.ascontiguousarray(patch))[:HASH_SIDE, :HASH_SIDE].ravel()[1:]
    return np.asarray(low > np.median(low))
