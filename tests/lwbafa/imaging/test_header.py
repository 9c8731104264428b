import base64
import gzip
import io
import struct
import time
import tracemalloc
import zlib
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image as PillowImage

from lwbafa.errors import (
    EmptyPhotograph,
    NotAnImage,
    PhotographError,
    TooManyPixels,
    TruncatedImage,
    UnsupportedFormat,
)
from lwbafa.imaging.formats import sniff
from lwbafa.imaging.header import ImageHeader, ImageLimits, read_header
from tests.lwbafa.imaging.pictures import (
    LIMIT,
    RECIPES,
    encode,
    exif,
    forged_size,
    header_of,
    photograph,
)

# Pillow warns of damaged EXIF. In the service that ends nothing, so it must not do so here.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")


def other_format(name: str, **options: Any) -> bytes:
    file = io.BytesIO()
    photograph().save(file, name, **options)
    return file.getvalue()


# With EXIF or transparency a WebP has an extended header, whatever its pixels are stored as.
FILES = {
    **{recipe: encode(photograph(), recipe) for recipe in RECIPES},
    "webp lossy, exif": encode(photograph(), "webp lossy", exif=exif(1)),
    "webp lossless, exif": encode(photograph(), "webp lossless", exif=exif(1)),
    "webp lossy, alpha": encode(PillowImage.new("RGBA", (150, 200), (9, 8, 7, 6)), "webp lossy"),
    "mpo": other_format("MPO", save_all=True, append_images=[photograph(30, 40)]),
}
MAGICS = {
    "jpeg": b"\xff\xd8\xff",
    "png": b"\x89PNG\r\n\x1a\n",
    "webp": b"RIFF\xf0\x00\x00\x00WEBP",
}


def test_the_webp_files_of_these_tests_have_all_three_kinds_of_header() -> None:
    kinds = {name: FILES[name][12:16] for name in FILES if name.startswith("webp")}
    assert kinds == {
        "webp lossy": b"VP8 ",
        "webp lossless": b"VP8L",
        "webp lossy, exif": b"VP8X",
        "webp lossless, exif": b"VP8X",
        "webp lossy, alpha": b"VP8X",
    }


@pytest.mark.parametrize("name", FILES)
def test_format_and_size_are_read(name: str) -> None:
    expected = "jpeg" if name == "mpo" else name.split()[0].rstrip(",")
    assert header_of(FILES[name]) == ImageHeader(expected, 150, 200, 1)


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_smallest_picture_is_read(recipe: str) -> None:
    data = encode(PillowImage.new("RGB", (1, 1)), recipe)
    assert header_of(data, 1)[1:3] == (1, 1)


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_exif_orientation_is_read_and_the_size_stays_the_stored_one(
    recipe: str, orientation: int
) -> None:
    header = header_of(encode(photograph(), recipe, exif=exif(orientation)))
    assert header[1:] == (150, 200, orientation)


def tiff(entry: bytes, order: str = "<", entries: int = 1) -> bytes:
    """EXIF with one entry written by hand."""
    mark = {"<": b"II*\x00", ">": b"MM\x00*"}[order]
    return b"Exif\x00\x00" + mark + struct.pack(order + "IH", 8, entries) + entry + bytes(4)


SHORT, ASCII, RATIONAL = 3, 2, 5
ORIENTATION = 0x0112


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("order", ["<", ">"])
def test_both_byte_orders_of_exif_are_understood(recipe: str, order: str) -> None:
    entry = struct.pack(order + "HHIHH", ORIENTATION, SHORT, 1, 6, 0)
    data = encode(photograph(), recipe, exif=tiff(entry, order))
    assert header_of(data).orientation == 6


NONSENSE = {
    "zero": exif(0),
    "nine": exif(9),
    "the largest": exif(65535),
    "no values": tiff(struct.pack("<HHIHH", ORIENTATION, SHORT, 0, 6, 0)),
    "letters": tiff(struct.pack("<HHI4s", ORIENTATION, ASCII, 4, b"top\x00")),
    "a division by zero": tiff(struct.pack("<HHII", ORIENTATION, RATIONAL, 1, 8) + bytes(8)),
    "a value beyond the end": tiff(struct.pack("<HHII", ORIENTATION, SHORT, 900, 7777)),
    "an unknown type": tiff(struct.pack("<HHII", ORIENTATION, 99, 1, 6)),
    "a directory without end": tiff(b"", entries=65535),
    "a directory that is its own next": b"Exif\x00\x00II*\x00" + struct.pack("<IHI", 8, 0, 8),
    "no directory": b"Exif\x00\x00II*\x00\xff\xff\xff\xff",
    "nothing": b"Exif\x00\x00",
    "half a header": b"Exif\x00\x00MM",
    "other words": b"Exif\x00\x00these are not the tags you are looking for",
}


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("nonsense", NONSENSE)
def test_exif_that_makes_no_sense_leaves_the_picture_as_stored(recipe: str, nonsense: str) -> None:
    header = header_of(encode(photograph(), recipe, exif=NONSENSE[nonsense]))
    assert header[1:] == (150, 200, 1)


XMP = b"<x:xmpmeta><rdf:Description tiff:Orientation%b/></x:xmpmeta>"
XMP_WORDS = {
    "attribute": XMP % b'="6"',
    "single quotes": XMP % b" = '6'",
    "element": b"<x:xmpmeta><tiff:Orientation>6</tiff:Orientation></x:xmpmeta>",
}
XMP_NAME = b"http://ns.adobe.com/xap/1.0/\0"


def app1(content: bytes) -> bytes:
    return b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content


def jpeg_with(segment: bytes, before_frame: bool = True) -> bytes:
    """The segment behind the first marker, or between the frame header and the first scan."""
    data = FILES["jpeg"]
    at = 2 if before_frame else data.index(b"\xff\xda")
    return data[:at] + segment + data[at:]


def chunk(kind: bytes, content: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + checksum


def png_with(kind: bytes, content: bytes, at_end: bool = False) -> bytes:
    data = FILES["png"]
    at = len(data) - 12 if at_end else 33
    return data[:at] + chunk(kind, content) + data[at:]


def webp_with(kind: bytes, content: bytes) -> bytes:
    data = FILES["webp lossy, exif"]
    data += kind + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)
    return data[:4] + struct.pack("<I", len(data) - 8) + data[8:]


def profile(name: bytes, content: bytes) -> bytes:
    """As ImageMagick writes it, without its keyword."""
    digits = content.hex()
    lines = "\n".join(digits[at : at + 72] for at in range(0, len(digits), 72))
    return b"\n%b\n%8d\n%b\n" % (name, len(content), lines.encode())


ELSEWHERE = {
    "exif behind the frame header": jpeg_with(app1(exif(6)), before_frame=False),
    **{f"jpeg, xmp, {name}": jpeg_with(app1(XMP_NAME + x)) for name, x in XMP_WORDS.items()},
    "jpeg, xmp behind the frame header": jpeg_with(
        app1(XMP_NAME + XMP_WORDS["element"]), before_frame=False
    ),
    "jpeg, xmp beside exif without it": jpeg_with(
        app1(tiff(b"", entries=0)) + app1(XMP_NAME + XMP_WORDS["attribute"])
    ),
    "png, xmp": png_with(b"iTXt", b"XML:com.adobe.xmp" + bytes(5) + XMP_WORDS["attribute"]),
    "png, xmp, packed": png_with(
        b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(XMP_WORDS["attribute"])
    ),
    "png, profile": png_with(b"tEXt", b"Raw profile type exif\0" + profile(b"exif", exif(6))),
    "png, profile, packed": png_with(
        b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(profile(b"exif", exif(6)))
    ),
    "png, profile behind the pixels": png_with(
        b"tEXt", b"Raw profile type APP1\0" + profile(b"APP1", exif(6)), at_end=True
    ),
    "png, xmp profile": png_with(
        b"tEXt", b"Raw profile type xmp\0" + profile(b"xmp", XMP_WORDS["element"])
    ),
    "webp, xmp": webp_with(b"XMP ", XMP_WORDS["attribute"]).replace(exif(1)[6:], bytes(26)),
}


@pytest.mark.parametrize("where", ELSEWHERE)
def test_an_orientation_is_found_wherever_a_file_may_hold_it(where: str) -> None:
    assert header_of(ELSEWHERE[where])[1:] == (150, 200, 6)


# Pillow looks for fewer spellings and names than ImageMagick and ExifTool write.
UNKNOWN_TO_PILLOW = {
    "jpeg, xmp, single quotes",
    "png, profile behind the pixels",
    "png, xmp profile",
    "webp, xmp",
}


@pytest.mark.parametrize("where", sorted(ELSEWHERE.keys() - UNKNOWN_TO_PILLOW))
def test_pillow_finds_it_there_as_well(where: str) -> None:
    assert PillowImage.open(io.BytesIO(ELSEWHERE[where])).getexif()[ORIENTATION] == 6


def test_exif_decides_where_xmp_contradicts_it() -> None:
    data = jpeg_with(app1(exif(3)) + app1(XMP_NAME + XMP_WORDS["attribute"]))
    assert header_of(data).orientation == 3


@pytest.mark.parametrize(
    "content",
    [
        b"XML:com.adobe.xmp\0\1\0\0\0not packed at all",
        b"XML:com.adobe.xmp",
        b"XML:com.adobe.xmp" + bytes(5) + XMP % b'="9"',
        b"XML:com.adobe.xmp" + bytes(5) + XMP % b'="66"',
        b"Raw profile type exif\0\1\0\0\0" + zlib.compress(b"\nexif\n 4\nzz zz"),
        b"Raw profile type exif" + bytes(5) + b"\nexif\n",
    ],
)
def test_texts_that_make_no_sense_leave_the_picture_as_stored(content: bytes) -> None:
    assert header_of(png_with(b"iTXt", content)).orientation == 1


@pytest.mark.parametrize(
    "hostile",
    [
        jpeg_with(15_000 * app1(XMP_NAME + b"tiff:Orientation"), before_frame=False),
        jpeg_with(300 * app1(XMP_NAME + 3900 * b"tiff:Orientation")),
        jpeg_with(300 * app1(exif(0) + bytes(65_000)), before_frame=False),
        png_with(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(bytes(1 << 27))),
        FILES["png"][:33]
        + 15_000 * chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(bytes(1 << 18)))
        + FILES["png"][33:],
        png_with(b"tEXt", b"XML:com.adobe.xmp\0" + (1 << 20) * b"tiff:Orientation =   "),
        png_with(b"tEXt", b"XML:com.adobe.xmp\0tiff:Orientation" + (1 << 23) * b" "),
    ],
    ids=["segments", "words", "exif", "bomb", "bombs", "many words", "spaces"],
)
def test_metadata_without_end_cost_next_to_nothing(hostile: bytes) -> None:
    header_of(FILES["jpeg"])
    tracemalloc.start()
    started = time.thread_time()
    try:
        assert header_of(hostile).orientation == 1
        assert time.thread_time() - started < 0.5
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


NAMED = {
    "GIF": other_format("GIF"),
    "BMP": other_format("BMP"),
    "TIFF": other_format("TIFF"),
    "HEIC": b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic",
    "AVIF": b"\0\0\0\x1cftypmif1\0\0\0\0mif1miafavif",
    "JPEG XL": b"\xff\x0a\xfa\x1f",
    "JPEG 2000": b"\0\0\0\x0cjP  \r\n\x87\n",
    "a PDF": b"%PDF-1.7\n",
    "an SVG": b'<?xml version="1.0"?>\n<!-- Drawn -->\n<svg xmlns="http://www.w3.org/2000/svg">',
    "a web page": b"\n<!doctype html><html>",
    "a video": b"\0\0\0\x18ftypisom\0\0\2\0",
    "raw file": b"\0\0\0\x18ftypcrx \0\0\0\1",
    "a ZIP": b"PK\x03\x04\x14\0",
    "gzip": gzip.compress(b"picture"),
    "a data URL; send the bytes as they are, not base64": b"data:image/jpeg;base64,/9j/4AAQ",
    "base64 text; send the bytes": base64.b64encode(FILES["jpeg"]),
    "base64": base64.urlsafe_b64encode(FILES["webp lossy"]),
    "base64 text": b'"' + base64.b64encode(FILES["png"]) + b'"',
    "JSON; send the bytes as they are, not base64": b'{"image": "/9j/4AAQ"}',
    "a PNG that was changed on its way": FILES["png"].replace(b"\r", b"").replace(b"\n", b""),
    "a picture that was changed on its way": FILES["jpeg"].decode("utf-8", "replace").encode(),
    "changed on its way as if it were text": FILES["jpeg"].decode("latin-1").encode(),
}


@pytest.mark.parametrize("name", NAMED)
def test_what_else_is_sent_is_named(name: str) -> None:
    with pytest.raises(UnsupportedFormat, match=f"This is .*{name}"):
        sniff(NAMED[name])


@settings(max_examples=200)
@given(st.sampled_from([*NAMED.values(), b"\0\0\0\x18ftyp", b" <!--"]), st.binary(max_size=600))
def test_whatever_follows_a_known_beginning_is_named_at_once(start: bytes, rest: bytes) -> None:
    with pytest.raises(UnsupportedFormat):
        sniff(start[:32] + rest)


@pytest.mark.parametrize(
    "data",
    [
        other_format("GIF"),
        other_format("BMP"),
        other_format("TIFF"),
        b"RIFF\x24\x00\x00\x00WAVEfmt ",
        b"%PDF-1.7\n",
        b"\xff",
        b"\xff\xd8",
        b"\x89PN",
        b"RIFF\x24\x00\x00\x00WEB",
        b" " + MAGICS["png"],
    ],
    ids=["gif", "bmp", "tiff", "wav", "pdf", "1", "jpeg", "png", "webp", "late png"],
)
def test_what_does_not_begin_like_a_jpeg_png_or_webp_is_refused(data: bytes) -> None:
    with pytest.raises(UnsupportedFormat):
        sniff(data)
    with pytest.raises(UnsupportedFormat):
        header_of(data)


def test_no_bytes_are_an_empty_body() -> None:
    with pytest.raises(EmptyPhotograph):
        sniff(b"")
    with pytest.raises(EmptyPhotograph):
        header_of(b"")


@pytest.mark.parametrize("name", FILES)
def test_the_limit_itself_is_accepted_and_one_pixel_more_is_not(name: str) -> None:
    assert header_of(FILES[name], 150 * 200).width == 150
    with pytest.raises(TooManyPixels, match="150 × 200"):
        header_of(FILES[name], 150 * 200 - 1)


@pytest.mark.parametrize("name", FILES)
def test_a_header_that_claims_a_huge_picture_is_refused_at_no_cost(name: str) -> None:
    # The simple WebP headers cannot name more.
    side = 16383 if name in ("webp lossy", "webp lossless") else 20_000
    bomb = forged_size(FILES[name], side, side)
    header_of(FILES[name])  # Pillow imports its readers once
    tracemalloc.start()
    started = time.thread_time()
    try:
        with pytest.raises(TooManyPixels, match=f"{side} × {side}"):
            header_of(bomb)
        assert time.thread_time() - started < 0.1
        assert tracemalloc.get_traced_memory()[1] < 2 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", [name for name in FILES if name.startswith("webp")])
def test_a_huge_webp_is_refused_before_pillow_sees_it(name: str) -> None:
    """Pillow would allocate the canvas; of these thirty bytes it could not even read the header."""
    start = forged_size(FILES[name], 16383, 16383)[:30]
    with pytest.raises(TooManyPixels):
        header_of(start)
    with pytest.raises(TruncatedImage):
        header_of(start, 1 << 30)


@pytest.mark.parametrize(
    ("name", "cuts"),
    [
        ("jpeg", (3, 4, 10, 20, 21, 40, 100, 158)),
        ("jpeg progressive", (3, 4, 10, 20, 21, 40, 100, 158)),
        ("png", (8, 10, 12, 16, 20, 24, 28, 32)),
        ("webp lossy", (12, 14, 16, 20, 26, 29)),
        ("webp lossless", (12, 14, 16, 20, 25, 29)),
        ("webp lossy, exif", (12, 14, 16, 20, 26, 29)),
    ],
)
def test_a_header_that_ends_early_is_not_an_image(name: str, cuts: tuple[int, ...]) -> None:
    for cut in cuts:
        with pytest.raises(NotAnImage):
            header_of(FILES[name][:cut])


@pytest.mark.parametrize("name", [name for name in FILES if name.startswith("webp")])
def test_a_webp_that_ends_after_its_header_is_truncated(name: str) -> None:
    data = FILES[name]
    for cut in (30, 31, 40, len(data) // 2, len(data) - 2, len(data) - 1):
        with pytest.raises(TruncatedImage):
            header_of(data[:cut])


def read_or_refuse(data: bytes) -> None:
    try:
        header = header_of(data)
    except PhotographError:
        return
    assert header.format in MAGICS
    assert 0 <= header.width * header.height <= LIMIT
    assert 1 <= header.orientation <= 8


@settings(max_examples=100)
@given(st.sampled_from(sorted(MAGICS)), st.binary(max_size=200))
@example("webp", b"")
@example("png", b"\x00\x00\x00\x0dIHDR" + bytes(17))
@example("jpeg", b"\xc0\x00\x11\x08" + bytes(15))
def test_random_bytes_after_the_magic_meet_nothing_but_a_refusal(name: str, rest: bytes) -> None:
    read_or_refuse(MAGICS[name] + rest)


SMALL = {recipe: encode(photograph(24, 16), recipe, exif=exif(6)) for recipe in RECIPES}


@settings(max_examples=100)
@given(
    st.sampled_from(sorted(RECIPES)),
    st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), min_size=1, max_size=4),
)
def test_a_header_with_changed_bytes_meets_nothing_but_a_refusal(
    recipe: str, changes: list[tuple[int, int]]
) -> None:
    data = bytearray(SMALL[recipe])
    for at, value in changes:
        data[at % len(data)] = value
    read_or_refuse(bytes(data))


@pytest.mark.parametrize("name", FILES)
def test_the_longest_side_is_accepted_and_one_pixel_more_is_not(name: str) -> None:
    assert read_header(FILES[name], ImageLimits(LIMIT, 200)).height == 200
    with pytest.raises(TooManyPixels, match="150 × 200"):
        read_header(FILES[name], ImageLimits(LIMIT, 199))


def test_a_row_of_fifty_million_pixels_is_refused() -> None:
    for width, height in ((50_000_000, 1), (1, 50_000_000)):
        with pytest.raises(TooManyPixels, match="longer than"):
            header_of(forged_size(FILES["png"], width, height))


# What each kind of header can hold at most.
LARGEST = {"webp lossy": 16383, "webp lossless": 16384}


@settings(max_examples=100)
@given(st.sampled_from(sorted(FILES)), st.integers(1, 65535), st.integers(1, 65535))
def test_the_size_that_a_header_states_is_the_size_that_is_read(
    name: str, width: int, height: int
) -> None:
    width, height = (min(side, LARGEST.get(name, 65535)) for side in (width, height))
    assert read_header(forged_size(FILES[name], width, height), ImageLimits(1 << 32, 1 << 16))[
        1:3
    ] == (
        width,
        height,
    )


@settings(max_examples=100)
@given(
    st.sampled_from(sorted(RECIPES)),
    st.sampled_from(["<", ">"]),
    st.integers(0, 65535),
    st.lists(st.integers(0x0113, 0xFFFF), max_size=8, unique=True),
)
def test_an_orientation_among_other_tags_is_found_or_taken_for_upright(
    recipe: str, order: str, value: int, others: list[int]
) -> None:
    tags = [ORIENTATION, *sorted(others)]
    entries = b"".join(struct.pack(order + "HHIHH", tag, SHORT, 1, value, 0) for tag in tags)
    data = encode(photograph(24, 16), recipe, exif=tiff(entries, order, len(tags)))
    assert header_of(data).orientation == (value if 1 <= value <= 8 else 1)


@settings(max_examples=100)
@given(st.sampled_from(sorted(RECIPES)), st.binary(max_size=120))
def test_random_exif_leaves_format_and_size_alone(recipe: str, junk: bytes) -> None:
    header = header_of(encode(photograph(24, 16), recipe, exif=b"Exif\x00\x00" + junk))
    assert header[:3] == (recipe.split()[0], 24, 16)
    assert 1 <= header.orientation <= 8


def test_a_jpeg_that_repaints_its_pixels_without_end_is_refused() -> None:
    body = encode(photograph(), "jpeg progressive")
    start, end = body.rindex(b"\xff\xda"), body.rindex(b"\xff\xd9")
    repainted = body[:start] + body[start:end] * 100 + body[end:]
    with pytest.raises(NotAnImage, match="scans"):
        header_of(repainted)
    assert header_of(body).format == "jpeg"
