"""An upload as a picture: decoded no finer than asked for, upright, in the full picture's pixels.

A JPEG decodes at a half, a quarter or an eighth of its size in a fraction of the time, since the
decoder leaves out the frequencies that would be averaged away. Twelve megapixels are far more than
a detector or a crop of 256 pixels can use.
"""

from typing import NamedTuple, Self

from app.imaging.crop import Crop, FaceBox, Image
from app.imaging.decode import JPEG_SHRINKS, decode
from app.imaging.header import ImageHeader, read_header
from app.imaging.orientation import Orientation


class Picture(NamedTuple):
    """Upright pixels at 1/`shrink` of a photograph; (`left`, `top`) is where theirs begin in it."""

    pixels: Image
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
            x + self.left, y + self.top, box.width * self.shrink, box.height * self.shrink
        )


class Photograph:
    """An encoded image: what its header says, and its pixels as finely as they are needed."""

    def __init__(self, data: bytes, header: ImageHeader) -> None:
        self._data = data
        self.header = header
        self.orientation = Orientation.of_exif(header.orientation)

    @classmethod
    def of_upload(cls, data: bytes, max_pixels: int, max_side_px: int) -> Self:
        """Raises the errors of `read_header`, which decodes nothing."""
        return cls(data, read_header(data, max_pixels, max_side_px))

    @property
    def upright_size(self) -> tuple[int, int]:
        """Width and height as a person sees it, in full."""
        size = self.header.width, self.header.height
        return size[::-1] if self.orientation.transpose else size

    def shrink_for(self, length: float, read_px: int) -> int:
        """By how much to shrink where so many pixels will be read across a length of the full one.

        Twice as many are kept: with fewer, the detector's boxes and the network's points differ
        from those of the full photograph.
        """
        shrinks = JPEG_SHRINKS if self.header.format == "jpeg" else (1,)
        return max(s for s in shrinks if s == 1 or s * 2 * read_px <= length)

    def picture(self, shrink: int = 1) -> Picture:
        """The pixels at 1/`shrink` of the size. Raises TruncatedImage."""
        pixels = self.orientation.upright(decode(self._data, self.header, shrink))
        # Sizes are rounded up, so a mirrored picture begins with what the last pixel has too much.
        width, height = self.upright_size
        left = width - shrink * pixels.shape[1] if self.orientation.mirror_x else 0
        top = height - shrink * pixels.shape[0] if self.orientation.mirror_y else 0
        return Picture(pixels, shrink, left, top)
