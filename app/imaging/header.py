"""What an upload claims to be, read before a single pixel is decoded."""

import io
from typing import NamedTuple

from PIL import ExifTags, Image

from app.errors import (
    EmptyBody,
    NotAnImage,
    TooManyPixels,
    TruncatedImage,
    UnsupportedMediaType,
)

# The limits below are this service's own; Pillow's would warn before they are reached.
Image.MAX_IMAGE_PIXELS = None

# A progressive JPEG may paint its pixels over and over: 1,000 scans in 116 KB took nine seconds to
# decode. Encoders write about ten, thumbnails and second pictures add a few.
JPEG_SCAN_MARKER = b"\xff\xda"
MAX_JPEG_SCANS = 100

MEDIA_TYPES = {"jpeg": "image/jpeg", "png": "image/png", "webp": "image/webp"}


class ImageHeader(NamedTuple):
    """Format (a key of MEDIA_TYPES), stored width and height in pixels, EXIF orientation 1 to 8."""

    format: str
    width: int
    height: int
    orientation: int


def sniff(data: bytes) -> str:
    """The format by its magic bytes. Raises EmptyBody or UnsupportedMediaType."""
    if not data:
        raise EmptyBody("The image has no bytes.")
    if data.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    raise UnsupportedMediaType("The bytes are not a JPEG, PNG or WebP image.")


def read_header(data: bytes, max_pixels: int) -> ImageHeader:
    """Format, size and orientation of an encoded image, without decoding it.

    Raises EmptyBody, UnsupportedMediaType, NotAnImage, TruncatedImage, TooManyPixels.
    """
    format_name = sniff(data)
    if format_name == "webp":
        # Pillow allocates the whole canvas of a WebP on opening it, so look before it does.
        _check_pixels(*_webp_size(data), max_pixels)
        if int.from_bytes(data[4:8], "little") + 8 > len(data):
            raise TruncatedImage("The webp data ends early.")
    if format_name == "jpeg" and data.count(JPEG_SCAN_MARKER) > MAX_JPEG_SCANS:
        raise NotAnImage(f"The jpeg has more than the {MAX_JPEG_SCANS} scans that are decoded.")
    try:
        with Image.open(io.BytesIO(data), formats=[format_name.upper()]) as picture:
            width, height = picture.size
            exif = picture.info.get("exif")
    except Exception as error:  # a damaged header raises many types: SyntaxError, struct.error …
        raise NotAnImage(f"The {format_name} header cannot be read.") from error
    _check_pixels(width, height, max_pixels)
    return ImageHeader(format_name, width, height, _orientation(exif))


def _check_pixels(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise TooManyPixels(
            f"{width} × {height} pixels are more than the {max_pixels} that are accepted."
        )


def _webp_size(data: bytes) -> tuple[int, int]:
    """Canvas size of a WebP (RFC 9649, sections 2.5 to 2.7). Raises NotAnImage."""
    chunk, payload = data[12:16], data[20:30]
    if len(payload) == 10:
        if chunk == b"VP8X":
            return (
                1 + int.from_bytes(payload[4:7], "little"),
                1 + int.from_bytes(payload[7:10], "little"),
            )
        if chunk == b"VP8L":
            bits = int.from_bytes(payload[1:5], "little")
            return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        if chunk == b"VP8 ":
            return (
                int.from_bytes(payload[6:8], "little") & 0x3FFF,
                int.from_bytes(payload[8:10], "little") & 0x3FFF,
            )
    raise NotAnImage("The webp header cannot be read.")


def _orientation(exif: bytes | None) -> int:
    """EXIF orientation, 1 where there is none or it makes no sense."""
    if exif is None:
        return 1
    try:
        tags = Image.Exif()
        tags.load(exif)
        value = int(tags.get(ExifTags.Base.Orientation, 1))
    except Exception:  # hostile metadata: the picture is still a picture
        return 1
    return value if 1 <= value <= 8 else 1
