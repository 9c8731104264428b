"""Photographs and encoded files for the imaging tests, made on the spot."""

import io
import struct
import zlib
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags
from PIL import Pixels as PillowImage
from skimage.data import astronaut

from lwbafa.imaging.header import ImageHeader, read_header
from lwbafa.types import Pixels

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
    return read_header(data, max_pixels, MAX_SIDE_PX)


def pixels(picture: PillowImage.Image) -> Pixels:
    return np.asarray(picture.convert("RGB"))


def mean_error(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    """Mean absolute difference in grey levels."""
    return float(np.abs(first.astype(np.int16) - second).mean())


def exif(orientation: int) -> bytes:
    tags = PillowImage.Exif()
    tags[ExifTags.Base.Orientation] = orientation
    return tags.tobytes()


def forged_size(data: bytes, width: int, height: int) -> bytes:
    """The file with another size in its header (VP8 and VP8L hold at most 16383 and 16384)."""
    forged = bytearray(data)
    if data.startswith(b"\x89PNG"):
        forged[16:24] = struct.pack(">II", width, height)
        forged[29:33] = struct.pack(">I", zlib.crc32(forged[12:29]))
    elif data.startswith(b"\xff\xd8"):
        frame = next(at for at in map(data.find, (b"\xff\xc0", b"\xff\xc2")) if at > 0)
        forged[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    elif data[12:16] == b"VP8X":
        forged[24:27] = (width - 1).to_bytes(3, "little")
        forged[27:30] = (height - 1).to_bytes(3, "little")
    elif data[12:16] == b"VP8L":
        alpha_and_version = forged[24] & 0xF0
        forged[21:25] = struct.pack("<I", (width - 1) | (height - 1) << 14)
        forged[24] |= alpha_and_version
    else:
        forged[26:30] = struct.pack("<HH", width, height)
    return bytes(forged)
