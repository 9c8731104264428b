"""An upload as a picture: decoded no finer than asked for, upright, in the full picture's pixels.

A JPEG decodes at a half, a quarter or an eighth of its size in a fraction of the time, since the
decoder leaves out the frequencies that would be averaged away. Twelve megapixels are far more than
a detector or a crop of 256 pixels can use.
"""

from collections.abc import Callable, Collection
from enum import StrEnum
from functools import partial
from os import PathLike
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from lwbafa.imaging.crop import Crop
from lwbafa.imaging.decode import JPEG_SHRINKS, decode
from lwbafa.imaging.header import ImageHeader, ImageLimits, read_header
from lwbafa.imaging.orientation import Orientation
from lwbafa.types import FaceBox, Pixels, Points


class Picture(NamedTuple):
    """Upright pixels at 1/`shrink` of a photograph; (`left`, `top`) is where theirs begin in it."""

    pixels: Pixels
    shrink: int
    left: float
    top: float

    def crop_from(self, crop: Crop) -> Crop:
        """A crop of the full upright photograph in this picture."""
        x = (crop.center_x - self.left + 0.5) / self.shrink - 0.5
        y = (crop.center_y - self.top + 0.5) / self.shrink - 0.5
        return Crop(x, y, crop.side / self.shrink, crop.degrees)

    def box_to_full(self, box: FaceBox) -> FaceBox:
        """A box of this picture in the full upright photograph."""
        x, y = ((value + 0.5) * self.shrink - 0.5 for value in (box.x, box.y))
        return FaceBox(
            x + self.left,
            y + self.top,
            box.width * self.shrink,
            box.height * self.shrink,
            box.roll_degrees,
        )


class Frame(StrEnum):
    """Which way up coordinates are: as a person sees the picture, or on the file's own grid."""

    upright = "upright"
    stored = "stored"


Source = str | PathLike[str] | bytes | Pixels
"""A photograph as callers have it: a path, an encoded image, or upright RGB pixels H×W×3."""


class Photograph:
    """An image: what its header says, and its pixels as finely as they are needed."""

    def __init__(
        self, header: ImageHeader, decode: Callable[[int], Pixels], shrinks: Collection[int]
    ) -> None:
        self.header = header
        self.orientation = Orientation.of_exif(header.orientation)
        self._decode = decode
        self._shrinks = shrinks

    @classmethod
    def open(cls, source: Source, limits: ImageLimits = ImageLimits()) -> Self:  # noqa: B008
        """From whatever a caller has. Raises OSError, ValueError, and what `of_bytes` raises."""
        if isinstance(source, np.ndarray):
            return cls.of_pixels(source)
        return cls.of_bytes(
            source if isinstance(source, bytes) else Path(source).read_bytes(), limits
        )

    @classmethod
    def of_bytes(cls, data: bytes, limits: ImageLimits = ImageLimits()) -> Self:  # noqa: B008
        """An encoded image, of which nothing is decoded yet. Raises what `read_header` raises."""
        header = read_header(data, limits)
        shrinks = JPEG_SHRINKS if header.format == "jpeg" else (1,)
        return cls(header, partial(decode, data, header), shrinks)

    @classmethod
    def of_pixels(cls, pixels: Pixels) -> Self:
        """An upright picture H×W×3, uint8 RGB, which is left as it is. Raises ValueError."""
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
            raise ValueError(
                f"pixels are H×W×3 of uint8, RGB; these are {pixels.shape} of {pixels.dtype}"
            )
        header = ImageHeader("pixels", pixels.shape[1], pixels.shape[0], 1)
        return cls(header, lambda _: pixels, (1,))

    @property
    def stored_size(self) -> tuple[int, int]:
        """Width and height on the file's own grid."""
        return self.header.width, self.header.height

    @property
    def upright_size(self) -> tuple[int, int]:
        """Width and height as a person sees it, in full."""
        return self.stored_size[::-1] if self.orientation.transpose else self.stored_size

    def size(self, frame: Frame) -> tuple[int, int]:
        """Width and height in a frame."""
        return self.stored_size if frame is Frame.stored else self.upright_size

    def box_to_upright(self, box: FaceBox, frame: Frame) -> FaceBox:
        """A box of a frame in the upright one."""
        if frame is Frame.upright:
            return box
        return self.orientation.box_to_upright(box, self.upright_size)

    def box_from_upright(self, box: FaceBox, frame: Frame) -> FaceBox:
        """An upright box in a frame."""
        if frame is Frame.upright:
            return box
        return self.orientation.box_to_stored(box, self.upright_size)

    def points_from_upright(self, points: Points, frame: Frame) -> Points:
        """Upright points (…×2) in a frame."""
        if frame is Frame.upright:
            return points
        return self.orientation.to_stored(points, self.upright_size)

    def grey_from_upright(self, grey: NDArray[np.uint8], frame: Frame) -> NDArray[np.uint8]:
        """Upright grey values H×W, turned as the frame is."""
        return grey if frame is Frame.upright else self.orientation.stored(grey)

    def shrink_for(self, length: float, pixels: float) -> int:
        """The largest shrink that leaves so many pixels of `length`, in the full photograph's."""
        return max(s for s in self._shrinks if s == 1 or s * pixels <= length)

    def picture(self, shrink: int = 1) -> Picture:
        """The pixels at 1/`shrink` of the size. Raises TruncatedImage."""
        pixels = self.orientation.upright(self._decode(shrink))
        # Sizes are rounded up, so a mirrored picture begins with what the last pixel has too much.
        width, height = self.upright_size
        left = width - shrink * pixels.shape[1] if self.orientation.mirror_x else 0
        top = height - shrink * pixels.shape[0] if self.orientation.mirror_y else 0
        return Picture(pixels, shrink, left, top)
