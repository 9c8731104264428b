"""What encoded images say of themselves, truly or not."""

import struct
import zlib

from PIL import ExifTags, Image


def exif(orientation: int) -> bytes:
    """EXIF data that hold an orientation, 1 to 8, and nothing else."""
    tags = Image.Exif()
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
