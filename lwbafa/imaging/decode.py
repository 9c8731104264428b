"""Encoded bytes to pixels on the file's own grid."""

import zlib

import cv2
import numpy as np

from lwbafa.errors import TruncatedImage
from lwbafa.imaging.header import ImageHeader
from lwbafa.imaging.jpeg_end import EndlessJpeg
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
    early, is damaged beyond decoding, or is not what the header says. A JPEG may lack its end
    marker; one whose end is missing behind a proper end marker is grey there.
    """
    flags = FLAGS | JPEG_SHRINKS[shrink]
    try:
        pixels = _decoded(data, flags)
        if pixels is None and header.format == "jpeg":
            pixels = _decoded_without_end(data, flags)
    except cv2.error as error:
        raise TruncatedImage(f"The {header.format} data cannot be decoded.") from error
    if pixels is None:
        raise TruncatedImage(f"The {header.format} data ends early or is damaged.")
    size = (-(-header.width // shrink), -(-header.height // shrink))
    if shrink > 1 and pixels.shape[:2] == (header.height, header.width):  # a lossless JPEG
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    if pixels.shape[1::-1] != size:
        raise TruncatedImage(f"The {header.format} data does not match its header.")
    return pixels


def _decoded(data: bytes, flags: int) -> Pixels | None:
    return cv2.imdecode(np.frombuffer(data, np.uint8), flags)  # type: ignore[return-value]


def _decoded_without_end(data: bytes, flags: int) -> Pixels | None:
    """The pixels of a JPEG that lacks its end marker and nothing else; None for any other.

    The decoder takes what is missing from whatever follows. Where nothing that follows makes a
    difference, nothing was missing. In a shrunk picture some of it would not show.
    """
    jpeg = EndlessJpeg.of(data)
    if jpeg is None:
        return None
    checksums = set[int]()
    for continued in jpeg.continued():
        checksums.add(_checksum(_decoded(continued, FLAGS)))
        if len(checksums) > 1:
            return None
    return _decoded(jpeg.ended(), flags)


def _checksum(pixels: Pixels | None) -> int:
    """Of the pixels, so that not several pictures are in memory at once."""
    return 0 if pixels is None else zlib.crc32(pixels.data)
