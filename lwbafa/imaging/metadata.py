"""Which way up a photograph is, by its metadata: EXIF, or XMP where EXIF does not say."""

import re
import zlib
from typing import NamedTuple

from PIL import ExifTags, Image

# Both are at most a JPEG segment each; in hexadecimal, as some PNG hold them, they take twice that.
MAX_METADATA_BYTES = 1 << 16
MAX_TEXT_BYTES = 1 << 18

JPEG_XMP = b"http://ns.adobe.com/xap/1.0/\0"
PNG_XMP = b"XML:com.adobe.xmp"
RAW_PROFILE = b"Raw profile type "

_XMP_ORIENTATION = re.compile(rb"tiff:Orientation\s*(?:=\s*[\"']|>)\s*(\d)\b")


class Metadata(NamedTuple):
    """The first EXIF and the first XMP of a file; empty where there is none."""

    exif: bytes = b""
    xmp: bytes = b""

    def with_exif(self, exif: bytes) -> "Metadata":
        """With EXIF, unless there was some before."""
        return self if self.exif else self._replace(exif=exif[:MAX_METADATA_BYTES])

    def with_xmp(self, xmp: bytes) -> "Metadata":
        """With XMP, unless there was some before."""
        return self if self.xmp else self._replace(xmp=xmp[:MAX_METADATA_BYTES])

    def with_jpeg_segment(self, segment: bytes) -> "Metadata":
        """With what an APP1 segment of a JPEG holds."""
        if segment.startswith(b"Exif\0\0"):
            return self.with_exif(segment)
        return self.with_xmp(segment) if segment.startswith(JPEG_XMP) else self

    def with_png_texts(self, texts: "PngTexts") -> "Metadata":
        """With what the text chunks of a PNG hold.

        ImageMagick and others write EXIF as "Raw profile type exif" or "APP1", in hexadecimal.
        """
        metadata = self
        if packet := texts.read(PNG_XMP):
            metadata = metadata.with_xmp(packet)
        for name in (b"exif", b"APP1"):
            metadata = metadata.with_jpeg_segment(_unhexed(texts.read(RAW_PROFILE + name)))
        return metadata.with_xmp(_unhexed(texts.read(RAW_PROFILE + b"xmp")))

    @property
    def orientation(self) -> int:
        """The EXIF orientation, 1 to 8; 1 where nothing is said, or what makes no sense."""
        value = _exif_orientation(self.exif)
        if value is None and (said := _XMP_ORIENTATION.search(self.xmp)):
            value = int(said[1])
        return value if value is not None and 1 <= value <= 8 else 1


def _exif_orientation(exif: bytes) -> int | None:
    try:
        tags = Image.Exif()
        tags.load(exif)
        value = tags.get(ExifTags.Base.Orientation)
        return None if value is None else int(value)
    except Exception:  # hostile metadata: the picture is still a picture
        return None


class PngTexts:
    """The text chunks of a PNG, by their keywords: of each the first, unpacked when it is read.

    A file of a thousand packed texts thus costs no more than one.
    """

    KINDS = (b"tEXt", b"zTXt", b"iTXt")

    def __init__(self) -> None:
        self._chunks: dict[bytes, tuple[bytes, bytes]] = {}

    def add(self, kind: bytes, chunk: bytes) -> None:
        """Keep a chunk of one of the KINDS if its keyword tells of metadata."""
        keyword, _, content = chunk.partition(b"\0")
        if keyword == PNG_XMP or keyword.startswith(RAW_PROFILE):
            self._chunks.setdefault(keyword, (kind, content))

    def read(self, keyword: bytes) -> bytes:
        """The text under a keyword; nothing if there is none, or it cannot be read."""
        kind, content = self._chunks.get(keyword, (b"tEXt", b""))
        if kind == b"tEXt":
            return content
        if kind == b"zTXt":
            return _inflated(content[1:])
        _, _, after_language = content[2:].partition(b"\0")
        _, _, text = after_language.partition(b"\0")
        return _inflated(text) if content[:1] == b"\1" else text


def _inflated(packed: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(packed, MAX_TEXT_BYTES)
    except zlib.error:
        return b""


def _unhexed(profile: bytes) -> bytes:
    """The bytes of a raw profile: an empty line, its name, its length, hexadecimal digits."""
    try:
        return bytes.fromhex("".join(profile.decode("ascii").split()[2:]))
    except ValueError:
        return b""
