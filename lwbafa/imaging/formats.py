"""What bytes are, by how they begin: an image that is read here, or what else was sent."""

import re

from lwbafa.errors import EmptyPhotograph, UnsupportedFormat

MEDIA_TYPES = {"jpeg": "image/jpeg", "png": "image/png", "webp": "image/webp"}
"""The formats that are read, each with its media type."""

CONVERT = "convert it to JPEG, PNG or WebP"
NOT_TEXT = "send the bytes as they are, not base64"
BINARY = "send the bytes as they are (with curl: --data-binary)"

# How other things begin, what they are, and what to do about it.
_OTHERS = (
    (rb"GIF8[79]a", "a GIF", CONVERT),
    (rb"BM.{4}\0{4}", "a BMP", CONVERT),
    (rb"II\*\0|MM\0\*", "a TIFF or a camera's raw file", CONVERT),
    (rb"II\+\0|MM\0\+", "a BigTIFF", CONVERT),
    (rb"\xff\x0a|\0\0\0\x0cJXL ", "JPEG XL", CONVERT),
    (rb"\xff\x4f\xff\x51|\0\0\0\x0cjP  ", "JPEG 2000", CONVERT),
    (rb".{4}ftyp(?:.{4})*?avi[fs]", "AVIF", CONVERT),
    (rb".{4}ftyp(?:.{4})*?(?:hei[cxms]|hev[cxms]|mif1|msf1)", "HEIC", CONVERT),
    (rb".{4}ftypcrx ", "a camera's raw file", CONVERT),
    (rb".{4}ftyp|\x1aE\xdf\xa3|RIFF.{4}AVI ", "a video", "send one of its frames"),
    (rb"8BPS", "a Photoshop file", CONVERT),
    (rb"\0\0[\x01\x02]\0", "an icon", CONVERT),
    (rb"%PDF-", "a PDF", "send its picture as JPEG, PNG or WebP"),
    (rb"PK\x03\x04", "a ZIP archive", "send the picture alone"),
    (rb"\x1f\x8b", "compressed with gzip", "send the picture itself"),
    (rb"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)?(?:<!DOCTYPE svg|<svg)", "an SVG", CONVERT),
    (rb"\s*<(?:!DOCTYPE|html|\?xml)", "a web page or XML", "send the picture itself"),
    (rb"\s*[\"']?data:[\w/+.-]*[;,]", "a data URL", NOT_TEXT),
    (rb"\s*[\"']?(?:[/_]9j[/_]|iVBORw0KGgo|UklGR|R0lGOD)", "base64 text", NOT_TEXT),
    (rb"--[^\r\n]{1,80}\r?\nContent-", "a multipart form", "declare it as multipart/form-data"),
    (rb"\s*[{\[]\s*[\"{\[\d]", "JSON", NOT_TEXT),
    (
        rb"\x89PNG|PNG\r?\n\x1a|\xc2\x89PNG",
        "a PNG that was changed on its way as if it were text",
        BINARY,
    ),
    (
        rb"(?:\xef\xbf\xbd){2}|\xc3\xbf\xc3\x98\xc3\xbf",
        "a picture that was changed on its way as if it were text",
        BINARY,
    ),
)
_OTHER = [
    (re.compile(start, re.DOTALL | re.IGNORECASE), f"This is {name}; {advice}.")
    for start, name, advice in _OTHERS
]

# Enough for the brands of a HEIC, or for a comment before an SVG.
_BEGINNING = 512


def sniff(data: bytes) -> str:
    """The format (a key of MEDIA_TYPES) by its magic bytes.

    Raises EmptyPhotograph, or UnsupportedFormat that names what else it is.
    """
    if not data:
        raise EmptyPhotograph("The image has no bytes.")
    if data.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    beginning = data[:_BEGINNING]
    for start, said in _OTHER:
        if start.match(beginning):
            raise UnsupportedFormat(said)
    raise UnsupportedFormat("The bytes are not a JPEG, PNG or WebP image.")
