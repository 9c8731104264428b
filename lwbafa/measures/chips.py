"""Chips: faces cut out as recognition and generation models want them, by five points."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lwbafa.imaging.crop import Crop
from lwbafa.markups import Markup
from lwbafa.measures.openings import PLACES
from lwbafa.types import Points


class Template(NamedTuple):
    """A chip's side, and where in it the eyes, the nose's tip and the mouth's corners belong."""

    size_px: int
    points: tuple[tuple[float, float], ...]

    def scaled(self, size_px: int) -> "Template":
        """The same template at another size."""
        factor = size_px / self.size_px
        return Template(size_px, tuple((factor * x, factor * y) for x, y in self.points))


_ARCFACE = Template(
    112,
    (
        (38.2946, 51.6963),
        (73.5318, 51.5014),
        (56.0252, 71.7366),
        (41.5493, 92.3655),
        (70.7299, 92.2041),
    ),
)
_FFHQ = Template(
    512,
    (
        (192.98138, 239.94708),
        (318.90277, 240.1936),
        (256.63416, 314.01935),
        (201.26117, 371.41043),
        (313.08905, 371.15118),
    ),
)

TEMPLATES = {
    "arcface-112": _ARCFACE,
    "ffhq-256": _FFHQ.scaled(256),
    "ffhq-512": _FFHQ,
}
"""ArcFace's (InsightFace), and the mean face of aligned FFHQ as restoration models use it."""

MOUTH_CORNERS = {"300w-68": (48, 54), "wflw-98": (76, 82)}


SMALLEST_PX = 1e-3
"""Of what five points span: less is no face, and says nothing of its turn."""


def five_points(points: Points, markup: Markup) -> NDArray[np.float64]:
    """Eyes' middles, the nose's tip and the mouth's corners 5×2, the image's left first.

    Raises KeyError for a markup that does not tell them.
    """
    points = np.asarray(points, np.float64)
    eyes = (points[list(markup.groups[eye])].mean(axis=0) for eye in ("left_eye", "right_eye"))
    corners = MOUTH_CORNERS[markup.name]
    return np.stack([*eyes, points[PLACES[markup.name].nose_tip], *points[list(corners)]])


def chip_crop(five: Points, template: Template) -> Crop:
    """The square of the image that, cut at the template's size, is the chip.

    Of all similarities it is the one that brings the five points nearest to the template's. Points
    that fell together are in its middle, unturned.
    """
    x, y = np.asarray(five, np.float64).T
    image = x + 1j * y
    chip = np.array([complex(*point) for point in template.points])
    centred = image - image.mean()
    if np.ptp(five, axis=0).max() < SMALLEST_PX:
        return Crop(image.mean().real, image.mean().imag, 1.0)
    turn = (centred.conj() @ (chip - chip.mean())) / max((abs(centred) ** 2).sum(), 1e-9)
    middle = (template.size_px - 1) / 2 * (1 + 1j)
    center = image.mean() + (middle - chip.mean()) / turn
    degrees = -float(np.degrees(np.angle(turn)))
    return Crop(center.real, center.imag, template.size_px / abs(turn), degrees)


def chip_matrix(crop: Crop, size_px: int) -> NDArray[np.float64]:
    """The matrix 2×3 from the image's pixels to a chip's, as OpenCV's `warpAffine` takes it."""
    corners = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    origin, right, down = crop.from_image(corners) * size_px - 0.5
    return np.column_stack((right - origin, down - origin, origin))
