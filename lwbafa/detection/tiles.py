"""A picture in overlapping squares, so that a detector sees it as finely as it is."""

import math
from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np

from lwbafa.detection import Detection
from lwbafa.types import Pixels

OVERLAP = 0.2
"""Of a tile's side: a face smaller than that is whole in some tile."""

MOST_TILES_ALONG = 4
"""Tiles along the longer side: beyond, a face may be too large for a tile and too small at once."""

EDGE_PX = 2.0
"""A box so near the edge between two tiles may be cut by it."""


def tiles(image: Pixels, side_px: int) -> Iterator[tuple[Pixels, tuple[int, int]]]:
    """Squares of the image, smaller where it is, with the place of their top left pixels (x, y)."""
    height, width = image.shape[:2]
    for top, left in product(_starts(height, side_px), _starts(width, side_px)):
        yield image[top : top + side_px, left : left + side_px], (left, top)


def placed(
    found: Sequence[Detection], tile: Pixels, corner: tuple[int, int], image: Pixels
) -> list[Detection]:
    """What was found in a tile, in the image's pixels, but for faces cut by a neighbouring tile."""
    height, width = tile.shape[:2]
    inner = (
        corner[0] > 0,
        corner[1] > 0,
        corner[0] + width < image.shape[1],
        corner[1] + height < image.shape[0],
    )
    moved = []
    for face in found:
        left, top, right, bottom = face.box.bounds
        room = left, top, width - 1 - right, height - 1 - bottom
        if any(there and gap < EDGE_PX for there, gap in zip(inner, room, strict=True)):
            continue
        moved.append(face.moved(lambda points: points + corner))
    return moved


def _starts(length: int, side: int) -> list[int]:
    """Where tiles begin along a side: evenly, the last one ending where the side does."""
    if length <= side:
        return [0]
    count = math.ceil((length - OVERLAP * side) / ((1 - OVERLAP) * side))
    return [round(start) for start in np.linspace(0, length - side, count)]
