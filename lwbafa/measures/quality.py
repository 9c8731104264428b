"""How good a picture of a face is."""

from typing import NamedTuple

import cv2
import numpy as np

from lwbafa.types import Pixels, Points


class Quality(NamedTuple):
    """What a picture offers of a face.

    `sharpness` is the standard deviation of the Laplacian over that of the grey values, in the
    pixels that the network read: higher is sharper, whatever the light and the contrast.
    `brightness` is their mean, 0 to 1. `face_px` is the longer side of the landmarks' box in the
    photograph's pixels. `inside` is the share of landmarks that lie in the photograph.
    """

    sharpness: float
    brightness: float
    face_px: float
    inside: float


def quality(crop: Pixels, points: Points, picture_size: tuple[int, int]) -> Quality:
    """The quality of a face by its crop S×S×3 and its points N×2 in a picture of width and height.

    The crop's middle counts, where the face is.
    """
    margin = len(crop) // 6
    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)[margin:-margin, margin:-margin]
    detail = cv2.Laplacian(grey, cv2.CV_32F)
    places = np.asarray(points)
    within = (places > -0.5) & (places < np.array(picture_size) - 0.5)
    return Quality(
        sharpness=float(detail.std() / max(grey.std(), 1.0)),
        brightness=float(grey.mean() / 255),
        face_px=float(np.ptp(places, axis=0).max()),
        inside=float(within.all(axis=1).mean()),
    )
