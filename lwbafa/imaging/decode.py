"""Encoded bytes to pixels on the file's own grid."""

import cv2
import numpy as np

from lwbafa.errors import TruncatedImage
from lwbafa.imaging.header import ImageHeader
from lwbafa.types import Pixels

FLAGS = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
JPEG_SHRINKS = {
    1: 0,
    # Together with IMREAD_COLOR_RGB these decode in colour, despite the name.
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
}
"""By how much the decoder itself can shrink a JPEG, and the flag for it."""


def decode(data: bytes, header: ImageHeader, shrink: int = 1) -> Pixels:
    """Pixels H×W×3 RGB, as stored (EXIF not applied); alpha is dropped, deeper ones become 8 bit.

    A JPEG comes at 1/`shrink` of its size, rounded up. Raises TruncatedImage if the data ends
    early, is damaged beyond decoding, or is not what the header says. A JPEG whose end is missing
    behind a proper end marker is grey there.
    """
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), FLAGS | JPEG_SHRINKS[shrink])
    except cv2.error as error:
        raise TruncatedImage(f"The {header.format} data cannot be decoded.") from error
    if pixels is None:
        raise TruncatedImage(f"The {header.format} data ends early or is damaged.")
    size = (-(-header.width // shrink), -(-header.height // shrink))
    if shrink > 1 and pixels.shape[:2] == (header.height, header.width):  # a lossless JPEG
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    if pixels.shape[1::-1] != size:
        raise TruncatedImage(f"The {header.format} data does not match its header.")
    return pixels  # type: ignore[return-value]
