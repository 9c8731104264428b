import io
import struct
import time
import tracemalloc
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
from lwbafa.imaging.header import ImageHeader, ImageLimits, read_header, sniff
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
