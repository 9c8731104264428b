"""What an upload claims to be, read before a single pixel is decoded.

Size and orientation are read by the formats' own structure: a library that reads all of a
header can be kept busy for minutes by one that repeats itself.
"""

from collections.abc import Iterator
from typing import NamedTuple

from lwbafa.errors import NotAnImage, TooManyPixels, TruncatedImage
from lwbafa.imaging.formats import sniff
from lwbafa.imaging.metadata import MAX_METADATA_BYTES, MAX_TEXT_BYTES, Metadata, PngTexts

# A progressive JPEG may paint its pixels over and over: 1,000 scans in 116 KB took nine seconds to
# decode. Encoders write about ten, thumbnails and second pictures add a few.
JPEG_SCAN_MARKER = b"\xff\xda"
MAX_JPEG_SCANS = 100

# Real files have some dozens, a PNG of 20 MB in chunks of 4 KB has 5,000.
MAX_CHUNKS = 20_000

Size = tuple[int, int]


class ImageLimits(NamedTuple):
    """The most that an encoded image may claim: width × height, and its longer side."""

    pixels: int = 1 << 28
    side_px: int = 1 << 16


class ImageHeader(NamedTuple):
    """Format (of `MEDIA_TYPES`), stored width and height in pixels, EXIF orientation 1 to 8."""

    format: str
    width: int
    height: int
    orientation: int


def read_header(data: bytes, limits: ImageLimits = ImageLimits()) -> ImageHeader:  # noqa: B008
    """Format, size and orientation of an encoded image, without decoding it.

    Raises EmptyPhotograph, UnsupportedFormat, NotAnImage, TruncatedImage, TooManyPixels.
    """
    format_name = sniff(data)
    read = {"jpeg": _read_jpeg, "png": _read_png, "webp": _read_webp}[format_name]
    try:
        (width, height), metadata = read(data)
    except (IndexError, ValueError) as error:
        raise NotAnImage(f"The {format_name} header cannot be read.") from error
    if width * height == 0:
        raise NotAnImage(f"The {format_name} header states no size.")
    if width * height > limits.pixels:
        raise TooManyPixels(
            f"{width} × {height} pixels are more than the {limits.pixels} that are accepted."
        )
    if max(width, height) > limits.side_px:
        raise TooManyPixels(f"{width} × {height} is longer than the {limits.side_px} px accepted.")
    if format_name == "webp" and int.from_bytes(data[4:8], "little") + 8 > len(data):
        raise TruncatedImage("The webp data ends early.")
    return ImageHeader(format_name, width, height, metadata.orientation)


def _read_jpeg(data: bytes) -> tuple[Size, Metadata]:
    """Size and metadata of a JPEG (ITU T.81, annex B): segments up to the first scan.

    Raises ValueError or IndexError. What is wrong behind the frame header is left to the decoder.
    """
    if data.count(JPEG_SCAN_MARKER) > MAX_JPEG_SCANS:
        raise NotAnImage(f"The jpeg has more than the {MAX_JPEG_SCANS} scans that are decoded.")
    size, metadata, place = None, Metadata(), 2
    for _ in range(MAX_CHUNKS):
        if size and (place + 4 > len(data) or data[place] != 0xFF):
            return size, metadata
        if data[place] != 0xFF:
            raise ValueError("no marker where a segment should begin")
        marker = data[place + 1]
        if marker == 0xFF:  # a fill byte
            place += 1
            continue
        length = _big(data[place + 2 : place + 4])
        if length < 2 or marker in (0xD9, 0xDA):
            if size:
                return size, metadata
            raise ValueError("no frame header before the picture")
        segment = data[place + 4 : place + 2 + length]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) and not size:
            if len(segment) < 5:
                raise ValueError("the frame header ends early")
            size = _big(segment[3:5]), _big(segment[1:3])
        if marker == 0xE1:
            metadata = metadata.with_jpeg_segment(segment)
        place += 2 + length
    raise ValueError("too many segments")


def _read_png(data: bytes) -> tuple[Size, Metadata]:
    """Size and metadata of a PNG (W3C PNG, section 5). Raises ValueError or TruncatedImage."""
    size, metadata, texts = None, Metadata(), PngTexts()
    for kind, start, length in _chunks(data, 8, "big"):
        if size is None:
            if kind != b"IHDR" or len(data) < start + 13 + 4:
                raise ValueError("the first chunk is not a whole IHDR")
            size = _big(data[start : start + 4]), _big(data[start + 4 : start + 8])
        elif start + length + 4 > len(data):
            # OpenCV sets aside what a chunk claims before it reads it: two gigabytes, and seconds.
            raise TruncatedImage("The png data ends before its last chunk does.")
        elif kind == b"eXIf":
            metadata = metadata.with_exif(data[start : start + min(length, MAX_METADATA_BYTES)])
        elif kind in PngTexts.KINDS:
            texts.add(kind, data[start : start + min(length, MAX_TEXT_BYTES)])
        if kind == b"IEND":
            break
    if size is None:
        raise ValueError("no chunk")
    return size, metadata.with_png_texts(texts)


def _read_webp(data: bytes) -> tuple[Size, Metadata]:
    """Canvas size and metadata of a WebP (RFC 9649, sections 2.5 to 2.7). Raises ValueError."""
    size, metadata = None, Metadata()
    for kind, start, length in _chunks(data, 12, "little"):
        content = data[start : start + min(length, MAX_METADATA_BYTES)]
        if size is None:
            size = _webp_size(kind, content[:10])
        elif kind == b"EXIF":
            metadata = metadata.with_exif(content)
        elif kind == b"XMP ":
            metadata = metadata.with_xmp(content)
    if size is None:
        raise ValueError("no chunk")
    return size, metadata


def _webp_size(kind: bytes, payload: bytes) -> Size:
    if len(payload) == 10:
        if kind == b"VP8X":
            return 1 + _little(payload[4:7]), 1 + _little(payload[7:10])
        if kind == b"VP8L":
            bits = _little(payload[1:5])
            return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        if kind == b"VP8 ":
            return _little(payload[6:8]) & 0x3FFF, _little(payload[8:10]) & 0x3FFF
    raise ValueError("the first chunk states no size")


def _chunks(data: bytes, place: int, order: str) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and length of each chunk's payload: PNG (big endian) or RIFF (little).

    Raises ValueError if they do not end.
    """
    for _ in range(MAX_CHUNKS):
        if place + 8 > len(data):
            return
        if order == "big":  # length, kind, payload, checksum
            length, kind = _big(data[place : place + 4]), data[place + 4 : place + 8]
            following = place + 12 + length
        else:  # kind, length, payload padded to an even length
            kind, length = data[place : place + 4], _little(data[place + 4 : place + 8])
            following = place + 8 + length + length % 2
        yield kind, place + 8, length
        place = following
    raise ValueError("too many chunks")


def _big(data: bytes) -> int:
    return int.from_bytes(data, "big")


def _little(data: bytes) -> int:
    return int.from_bytes(data, "little")
