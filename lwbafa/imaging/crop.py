"""The one convention that ties a face box to the network's square crop, in training and serving.

The crop is a square with the centre of the face box (`lwbafa.types.FaceBox`) and a multiple of its
longer side, which the checkpoint's manifest states. Outside the image it is black.
"""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from lwbafa.imaging.averaging import at_fraction
from lwbafa.types import FaceBox, Pixels, Points

CROP_SCALE = 1.3
"""Side of the crop over the longer side of the box, as this project trains."""


class Crop(NamedTuple):
    """A square region of an image: its centre and its side in image pixels, turned by `degrees`.

    Crop coordinates run from 0 to 1 between the outer edges of the square. `degrees` turns the
    square clockwise on the screen, so the face in it appears turned counter-clockwise.
    """

    center_x: float
    center_y: float
    side: float
    degrees: float = 0.0

    @classmethod
    def around(cls, box: FaceBox, scale: float = CROP_SCALE) -> "Crop":
        """The network's crop for a face box, turned as the box is."""
        return cls(*box.center, scale * max(box.width, box.height), box.roll_degrees)

    def to_image(self, points: Points) -> NDArray[np.float64]:
        """Crop coordinates (…×2, 0 to 1) to image pixels; inverse of `from_image`."""
        center = np.array([self.center_x, self.center_y])
        offsets = (np.asarray(points, np.float64) - 0.5) * self.side
        return np.asarray(offsets @ self._axes() + center)

    def from_image(self, points: Points) -> NDArray[np.float64]:
        """Pixels pixels (…×2) to crop coordinates (0 to 1)."""
        center = np.array([self.center_x, self.center_y])
        offsets = np.asarray(points, np.float64) - center
        return np.asarray(offsets @ self._axes().T / self.side + 0.5)

    def cut(self, image: Pixels, size_px: int) -> Pixels:
        """Resample the region to size_px × size_px, bilinear, black outside the image.

        A region much larger than `size_px` is first averaged down, so that nothing aliases. Of a
        grey image (H×W), a heatmap say, the cut is grey as well.
        """
        region, crop = self._surroundings(image, max(1, int(self.side / size_px)))
        if not region.size:
            return np.zeros((size_px, size_px, *image.shape[2:]), np.uint8)
        # Corners of the output in pixel-centre coordinates, as the edges 0 and 1 of the crop.
        pixel = np.array([[0, 0], [1, 0], [0, 1]])
        source = crop.to_image((pixel + 0.5) / size_px)
        to_source = np.column_stack((source[1] - source[0], source[2] - source[0], source[0]))
        grey = image.ndim == 2
        # OpenCV resamples four channels in a third of the time of three.
        resampled = cv2.warpAffine(
            region if grey else cv2.cvtColor(region, cv2.COLOR_RGB2RGBA),
            to_source,
            (size_px, size_px),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_CONSTANT,
        )
        if not grey:
            resampled = cv2.cvtColor(resampled, cv2.COLOR_RGBA2RGB)
        return resampled  # type: ignore[return-value]

    def _axes(self) -> NDArray[np.float64]:
        """Rows: the image-space unit vectors of the crop's x and y axes."""
        angle = np.deg2rad(self.degrees)
        return np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])

    def _surroundings(self, image: Pixels, factor: int) -> tuple[Pixels, "Crop"]:
        """What the crop can read of the image, at 1/factor, and the crop in it."""
        reach = self.side * 0.71 + factor  # half a diagonal, as the square may be turned
        left, top = (max(0, int(c - reach)) for c in (self.center_x, self.center_y))
        right, bottom = (max(0, int(c + reach) + 1) for c in (self.center_x, self.center_y))
        return at_fraction(image[top:bottom, left:right], factor), Crop(
            (self.center_x - left + 0.5) / factor - 0.5,
            (self.center_y - top + 0.5) / factor - 0.5,
            self.side / factor,
            self.degrees,
        )
