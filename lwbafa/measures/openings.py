"""How far eyes and mouth are open, from landmarks alone."""

from typing import NamedTuple

import numpy as np

from lwbafa.markups import Markup
from lwbafa.types import Points


class Openings(NamedTuple):
    """Each eye's and the mouth's height over its width; 0 is closed. Left is the image's left."""

    left_eye: float
    right_eye: float
    mouth: float


class Places(NamedTuple):
    """Which landmarks of a markup tell openings and angles.

    An eye or the mouth: its two corners, then pairs of an upper and a lower lid or lip.
    """

    eyes: tuple[tuple[int, ...], tuple[int, ...]]
    mouth: tuple[int, ...]
    nose_tip: int


PLACES = {
    "300w-68": Places(
        eyes=((36, 39, 37, 41, 38, 40), (45, 42, 44, 46, 43, 47)),
        mouth=(60, 64, 61, 67, 62, 66, 63, 65),
        nose_tip=30,
    ),
    "wflw-98": Places(
        eyes=((60, 64, 61, 67, 62, 66, 63, 65), (72, 68, 71, 73, 70, 74, 69, 75)),
        mouth=(88, 92, 89, 95, 90, 94, 91, 93),
        nose_tip=54,
    ),
}


def opening(points: Points, places: tuple[int, ...]) -> float:
    """Mean distance of the lids (or lips) over that of the corners; 0 is closed.

    For 68 points' eyes this is the eye aspect ratio of Soukupová and Čech (2016).
    """
    distances = np.linalg.norm(points[list(places[::2])] - points[list(places[1::2])], axis=1)
    return float(distances[1:].mean() / max(distances[0], 1e-9))


def eye_opening(points: Points, markup: Markup) -> float:
    """The mean of both eyes' openings."""
    return float(np.mean([opening(points, eye) for eye in PLACES[markup.name].eyes]))


def mouth_opening(points: Points, markup: Markup) -> float:
    """The opening between the inner lips."""
    return opening(points, PLACES[markup.name].mouth)


def openings(points: Points, markup: Markup) -> Openings:
    """The openings of one face's points N×2. Raises KeyError for a markup without `PLACES`."""
    places = PLACES[markup.name]
    left, right = (opening(points, eye) for eye in places.eyes)
    return Openings(left, right, opening(points, places.mouth))
