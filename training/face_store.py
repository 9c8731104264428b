"""Faces where they are trained on: equal squares of uint8 pixels in the device's memory."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from lwbafa.cpus import granted_cpus
from lwbafa.imaging.crop import Crop
from lwbafa.types import FaceBox, Pixels
from training.datasets import Annotation, Face

STORED_SCALE = 1.8
"""Side of what is kept of a large photograph over the longer side of the landmarks' box."""


class FaceStore:
    """`images` uint8 F×S×S×3 (RGB) and `points` float32 F×N×2 in their pixels, on a device."""

    def __init__(
        self, annotations: Sequence[Annotation], side_px: int, device: torch.device
    ) -> None:
        """Read and pack all images. Raises DatasetError."""
        images = np.empty((len(annotations), side_px, side_px, 3), np.uint8)
        points = np.empty((len(annotations), *annotations[0].landmarks.shape), np.float32)

        def read(place: int) -> None:
            images[place], points[place] = packed(annotations[place].read(), side_px)

        with ThreadPoolExecutor(granted_cpus()) as pool:
            done = pool.map(read, range(len(annotations)))
            for _ in tqdm(
                done, desc="reading faces", total=len(annotations), unit="face", mininterval=1
            ):
                pass
        self.images: Tensor = torch.from_numpy(images).to(device)
        self.points: Tensor = torch.from_numpy(points).to(device)

    def __len__(self) -> int:
        return len(self.images)


def packed(face: Face, side_px: int) -> tuple[Pixels, NDArray[np.float32]]:
    """A face's surroundings as a square of `side_px`, and its landmarks in it.

    A small photograph is kept whole; of others the face's surroundings are, reduced if they are
    large and never enlarged. What lies outside the photograph is black.
    """
    height, width = face.image.shape[:2]
    if max(height, width) <= side_px:
        square = np.zeros((side_px, side_px, 3), np.uint8)
        square[:height, :width] = face.image
        return square, face.landmarks
    around = Crop.around(FaceBox.around(face.landmarks), STORED_SCALE)
    half = (side_px - 1) / 2
    if around.side <= side_px:  # copied, not resampled
        x, y = (round(middle - half) + half for middle in (around.center_x, around.center_y))
        around = Crop(x, y, side_px)
    points = around.from_image(face.landmarks) * side_px - 0.5
    return around.cut(face.image, side_px), points.astype(np.float32)
