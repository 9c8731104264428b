"""Photographs and encoded files for the imaging tests, made on the spot."""

import io
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from skimage.data import astronaut

from lwbafa.imaging.header import ImageHeader, ImageLimits, read_header
from lwbafa.types import Pixels
from proof.harness.image_files import exif as exif
from proof.harness.image_files import forged_size as forged_size

LIMIT = 50_000_000
MAX_SIDE_PX = 20_000

# One recipe for each kind of file that a caller may send; the first letters name the format.
RECIPES: dict[str, dict[str, Any]] = {
    "jpeg": {"format": "JPEG", "quality": 92, "subsampling": 0},
    "jpeg progressive": {"format": "JPEG", "quality": 92, "subsampling": 0, "progressive": True},
    "png": {"format": "PNG"},
    "webp lossy": {"format": "WEBP", "quality": 95, "method": 0},
    "webp lossless": {"format": "WEBP", "lossless": True, "exact": True, "method": 0},
}


@cache
def photograph(width: int = 150, height: int = 200) -> PillowImage.Image:
    """The head of the astronaut, colourful and with different sides, in RGB."""
    return PillowImage.fromarray(astronaut()[:240, 130:310]).resize((width, height))


def encode(picture: PillowImage.Image, recipe: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, **RECIPES[recipe], **options)
    return file.getvalue()


def header_of(data: bytes, max_pixels: int = LIMIT) -> ImageHeader:
    return read_header(data, ImageLimits(max_pixels, MAX_SIDE_PX))


def pixels(picture: PillowImage.Image) -> Pixels:
    return np.asarray(picture.convert("RGB"))


def mean_error(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    """Mean absolute difference in grey levels."""
    return float(np.abs(first.astype(np.int16) - second).mean())
