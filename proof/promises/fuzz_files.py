"""Image files to upload: every kind that is accepted, and what a hostile hand makes of them."""

import io
import random
import struct
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from typing import Literal

import cv2
import numpy as np
from PIL import Image as Pillow

from proof.harness.image_files import exif, forged_size
from proof.harness.target import faceless

BOMB_SIDE_PX = 12_000
SIDES_PX = ((48, 48), (64, 80), (97, 61), (128, 128))


def _saved(picture: Pillow.Image, name: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, name, **options)
    return file.getvalue()


def _sixteen_bit(picture: Pillow.Image) -> bytes:
    deep = np.asarray(picture).astype(np.uint16) * 257
    return cv2.imencode(".png", deep)[1].tobytes()


def _frames(picture: Pillow.Image, name: str) -> bytes:
    return _saved(picture, name, save_all=True, append_images=[picture.rotate(90)] * 3)


Maker = Callable[[Pillow.Image], bytes]

KINDS: dict[str, Maker] = {
    "jpeg": lambda p: _saved(p, "JPEG", quality=90),
    "jpeg, progressive": lambda p: _saved(p, "JPEG", quality=80, progressive=True),
    "jpeg, grey": lambda p: _saved(p.convert("L"), "JPEG"),
    "jpeg, cmyk": lambda p: _saved(p.convert("CMYK"), "JPEG"),
    "jpeg, exif": lambda p: _saved(p, "JPEG", exif=exif(6)),
    "jpeg, restart markers": lambda p: _saved(p, "JPEG", restart_marker_rows=1),
    "jpeg, mpo": lambda p: _frames(p, "MPO"),
    "png": lambda p: _saved(p, "PNG"),
    "png, grey": lambda p: _saved(p.convert("L"), "PNG"),
    "png, one bit": lambda p: _saved(p.convert("1"), "PNG"),
    "png, palette": lambda p: _saved(p.quantize(64), "PNG"),
    "png, palette and alpha": lambda p: _saved(p.quantize(64), "PNG", transparency=3),
    "png, alpha": lambda p: _saved(p.convert("RGBA"), "PNG"),
    "png, 16 bit": _sixteen_bit,
    "png, exif": lambda p: _saved(p, "PNG", exif=exif(8)),
    "png, animated": lambda p: _frames(p, "PNG"),
    "webp, lossy": lambda p: _saved(p, "WEBP", method=0),
    "webp, lossless": lambda p: _saved(p, "WEBP", lossless=True, method=0),
    "webp, alpha": lambda p: _saved(p.convert("RGBA"), "WEBP", method=0),
    "webp, exif": lambda p: _saved(p, "WEBP", exif=exif(3), method=0),
    "webp, animated": lambda p: _frames(p, "WEBP"),
}


@cache
def file_of(kind: str, side: int) -> bytes:
    """A small file of a kind, showing no face."""
    return KINDS[kind](Pillow.fromarray(faceless()).resize(SIDES_PX[side]))


def any_file(chance: random.Random) -> bytes:
    """One of the corpus, whole."""
    return file_of(chance.choice(list(KINDS)), chance.randrange(len(SIDES_PX)))


@cache
def bomb() -> bytes:
    """A PNG of 144 million black pixels in some 420 KB."""
    packer = zlib.compressobj(9)
    row = bytes(1 + 3 * BOMB_SIDE_PX)
    data = b"".join([packer.compress(row * 100) for _ in range(BOMB_SIDE_PX // 100)])
    header = struct.pack(">IIBBBBB", BOMB_SIDE_PX, BOMB_SIDE_PX, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", data + packer.flush()), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_png_chunk(*chunk) for chunk in chunks)


def _png_chunk(kind: bytes, payload: bytes) -> bytes:
    check = struct.pack(">I", zlib.crc32(kind + payload))
    return struct.pack(">I", len(payload)) + kind + payload + check


def flipped(data: bytes, chance: random.Random) -> bytes:
    """A few bits turned over, anywhere or within the first hundred bytes."""
    changed = bytearray(data)
    reach = len(data) if chance.random() < 0.6 else min(len(data), 100)
    for _ in range(chance.choice((1, 1, 2, 4, 16, 64))):
        changed[chance.randrange(reach)] ^= 1 << chance.randrange(8)
    return bytes(changed)


def truncated(data: bytes, chance: random.Random) -> bytes:
    """The beginning, sometimes with a proper end behind it."""
    end = chance.choice((b"", b"", b"\xff\xd9", data[-12:], bytes(500), b"\xff" * 500))
    return data[: chance.randrange(len(data))] + end


def spliced(data: bytes, chance: random.Random) -> bytes:
    """The beginning of one file and the end of another, or a piece of it in the middle."""
    other, cut, again = any_file(chance), chance.randrange(len(data)), chance.random()
    start = chance.randrange(len(other))
    return data[:cut] + other[start:] + (data[cut:] if again < 0.4 else b"")


def repeated(data: bytes, chance: random.Random) -> bytes:
    """A piece of the file many times over."""
    start = chance.randrange(len(data))
    piece = data[start : start + chance.randrange(1, 400)]
    return data[:start] + piece * chance.randrange(2, 60) + data[start:]


def lying(data: bytes, chance: random.Random) -> bytes:
    """A segment or chunk whose length is not its length, with a checksum that says otherwise."""
    fields = list(_length_fields(data))
    if not fields:
        return flipped(data, chance)
    place, width, order = chance.choice(fields)
    true = int.from_bytes(data[place : place + width], order)
    most = (1 << 8 * width) - 1
    lies = (
        0,
        1,
        2,
        true - 1,
        true + 1,
        true + 2,
        true * 2,
        most,
        most // 2,
        chance.randrange(most),
    )
    lie = min(most, max(0, chance.choice(lies)))
    return data[:place] + lie.to_bytes(width, order) + data[place + width :]


def missized(data: bytes, chance: random.Random) -> bytes:
    """A header that states another size, small, huge or none at all."""
    sides = (0, 1, 7, 63, 100, 5000, 12_000, 16_383)
    try:
        return forged_size(data, chance.choice(sides), chance.choice(sides))
    except (struct.error, StopIteration, OverflowError):  # not a size that this format can state
        return flipped(data, chance)


def polyglot(data: bytes, chance: random.Random) -> bytes:
    """A file that is also something else, before, behind or within."""
    other = any_file(chance)
    script = b"<html><script>alert(1)</script></html>"
    archive = b"PK\x03\x04" + bytes(26) + b"a.txt" + b"PK\x05\x06" + bytes(18)
    return chance.choice(
        (
            lambda: data + archive,
            lambda: data + b"%PDF-1.7\n" + other,
            lambda: data + script,
            lambda: data + other,
            lambda: b"GIF89a" + data,
            lambda: script + data,
            lambda: data[:2] + b"\xff\xfe" + struct.pack(">H", 2 + len(other)) + other + data[2:],
            lambda: data[:12] + other,
            lambda: b"BM" + data,
            lambda: b"II*\x00" + data,
            lambda: b"\x00\x00\x00\x1cftypavif" + data,
            lambda: b"P6 48 48 255\n" + bytes(48 * 48 * 3),
        )
    )()


MUTATIONS = (flipped, flipped, truncated, truncated, spliced, lying, lying, missized, repeated)


def _length_fields(data: bytes) -> Iterator[tuple[int, int, Literal["big", "little"]]]:
    """Place, width and byte order of the lengths that hold the file together."""
    if data.startswith(b"\x89PNG"):
        place = 8
        while place + 12 <= len(data):
            yield place, 4, "big"
            place += 12 + int.from_bytes(data[place : place + 4], "big")
    elif data.startswith(b"RIFF"):
        yield 4, 4, "little"
        place = 12
        while place + 8 <= len(data):
            yield place + 4, 4, "little"
            size = int.from_bytes(data[place + 4 : place + 8], "little")
            place += 8 + size + size % 2
    else:
        place = 2
        while place + 4 <= len(data) and data[place] == 0xFF and data[place + 1] != 0xDA:
            yield place + 2, 2, "big"
            place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
