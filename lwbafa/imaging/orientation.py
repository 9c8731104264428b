"""Between the file's own pixel grid (stored) and the picture as a person sees it (upright)."""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from lwbafa.types import FaceBox, Pixels, Points


class Orientation(NamedTuple):
    """An EXIF orientation as a transposition followed by mirrors, all on the stored grid.

    Upright x is stored x or, transposed, stored y; then mirrored in the upright frame.
    """

    transpose: bool
    mirror_x: bool
    mirror_y: bool

    @classmethod
    def of_exif(cls, value: int) -> "Orientation":
        """The orientation for an EXIF value of 1 to 8 (TIFF 6.0, tag 274)."""
        return _EXIF[value]

    def upright(self, stored: Pixels) -> Pixels:
        """The stored pixels as a person sees them."""
        # OpenCV's take a third of the time of NumPy's copies.
        image = cv2.transpose(stored) if self.transpose else stored
        mirrors = (self.mirror_x, self.mirror_y)
        return cv2.flip(image, _FLIP_CODES[mirrors]) if any(mirrors) else image  # type: ignore[return-value]

    def stored(self, upright: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Upright pixels (H×W or H×W×3) on the file's own grid; inverse of `upright`."""
        image = upright[::-1] if self.mirror_y else upright
        if self.mirror_x:
            image = image[:, ::-1]
        return np.ascontiguousarray(image.swapaxes(0, 1) if self.transpose else image)

    def to_stored(self, points: Points, upright_size: tuple[int, int]) -> NDArray[np.float64]:
        """Upright points (…×2) to the stored grid; `upright_size` is (width, height)."""
        points = self._mirrored(points, upright_size)
        return points[..., ::-1].copy() if self.transpose else points

    def to_upright(self, points: Points, upright_size: tuple[int, int]) -> NDArray[np.float64]:
        """Stored points (…×2) to the upright frame; inverse of `to_stored`."""
        points = np.asarray(points, np.float64)
        return self._mirrored(points[..., ::-1] if self.transpose else points, upright_size)

    def box_to_stored(self, box: FaceBox, upright_size: tuple[int, int]) -> FaceBox:
        """An upright box on the stored grid."""
        return self._turned_alike(box, self.to_stored(np.array(box.center), upright_size))

    def box_to_upright(self, box: FaceBox, upright_size: tuple[int, int]) -> FaceBox:
        """A stored box in the upright frame."""
        return self._turned_alike(box, self.to_upright(np.array(box.center), upright_size))

    def _turned_alike(self, box: FaceBox, center: Points) -> FaceBox:
        """The box about its centre in the other frame: a mirror turns it the other way."""
        width, height = (box.height, box.width) if self.transpose else (box.width, box.height)
        mirrored = self.transpose ^ self.mirror_x ^ self.mirror_y
        roll = -box.roll_degrees if mirrored and box.roll_degrees else box.roll_degrees
        return FaceBox.centered(center, width, height, roll)

    def _mirrored(self, points: Points, upright_size: tuple[int, int]) -> NDArray[np.float64]:
        mirrored = np.array(points, np.float64)
        for axis, mirror in enumerate((self.mirror_x, self.mirror_y)):
            if mirror:
                mirrored[..., axis] = upright_size[axis] - 1 - mirrored[..., axis]
        return mirrored


_FLIP_CODES = {(True, False): 1, (False, True): 0, (True, True): -1}

_EXIF = {
    1: Orientation(False, False, False),
    2: Orientation(False, True, False),
    3: Orientation(False, True, True),
    4: Orientation(False, False, True),
    5: Orientation(True, False, False),
    6: Orientation(True, True, False),
    7: Orientation(True, True, True),
    8: Orientation(True, False, True),
}
