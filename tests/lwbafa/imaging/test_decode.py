import io
import struct
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from random import Random
from typing import Any, NamedTuple

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PillowImage

from lwbafa.errors import NotAnImage, PhotographError, TruncatedImage
from lwbafa.imaging.decode import JPEG_SHRINKS, decode
from lwbafa.types import Pixels
from tests.lwbafa.imaging.pictures import (
    RECIPES,
    encode,
    exif,
    forged_size,
    header_of,
    mean_error,
    photograph,
    pixels,
)

# Pillow warns of damaged EXIF. In the service that ends nothing, so it must not do so here.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")

RGB = pixels(photograph())
GREY = np.asarray(photograph().convert("L"))
GREY_RGB = np.repeat(GREY[..., None], 3, axis=2)
RED = PillowImage.new("RGB", photograph().size, (255, 0, 0))


def opened(data: bytes) -> Pixels:
    return decode(data, header_of(data))


def saved(picture: PillowImage.Image, recipe: str, then: PillowImage.Image | None = None) -> bytes:
    """The picture encoded, as the first of two frames if there is a second."""
    if then is None:
        return encode(picture, recipe)
    return encode(picture, recipe, save_all=True, append_images=[then], duration=100)


def with_alpha() -> PillowImage.Image:
    """Transparent on the left, opaque on the right."""
    picture = photograph().convert("RGBA")
    ramp = np.linspace(0, 255, picture.width).astype(np.uint8)
    picture.putalpha(PillowImage.fromarray(np.tile(ramp, (picture.height, 1))))
    return picture


def sixteen_bit(image: Pixels) -> bytes:
    """As a PNG of 16 bits a channel, which Pillow cannot write in colour."""
    deep = image.astype(np.uint16) * 257
    return cv2.imencode(".png", deep[..., ::-1] if deep.ndim == 3 else deep)[1].tobytes()


def mpo() -> bytes:
    file = io.BytesIO()
    photograph().save(file, "MPO", quality=92, save_all=True, append_images=[RED])
    return file.getvalue()


class Golden(NamedTuple):
    """How to make a file, the RGB pixels it holds, and how far off (mean grey levels) it may be."""

    make: Callable[[], bytes]
    expected: Pixels
    tolerance: float


GOLDEN = {
    "jpeg": Golden(lambda: encode(photograph(), "jpeg"), RGB, 2),
    "jpeg, progressive": Golden(lambda: encode(photograph(), "jpeg progressive"), RGB, 2),
    "jpeg, grey": Golden(lambda: encode(photograph().convert("L"), "jpeg"), GREY_RGB, 2),
    "jpeg, cmyk": Golden(lambda: encode(photograph().convert("CMYK"), "jpeg"), RGB, 4),
    "jpeg, mpo": Golden(mpo, RGB, 3),
    "png": Golden(lambda: encode(photograph(), "png"), RGB, 0),
    "png, grey": Golden(lambda: encode(photograph().convert("L"), "png"), GREY_RGB, 0),
    "png, grey and alpha": Golden(lambda: encode(photograph().convert("LA"), "png"), GREY_RGB, 0),
    "png, palette": Golden(lambda: encode(photograph().quantize(256), "png"), RGB, 6),
    "png, alpha": Golden(lambda: encode(with_alpha(), "png"), RGB, 0),
    "png, 16 bit": Golden(lambda: sixteen_bit(RGB), RGB, 0),
    "png, 16 bit grey": Golden(lambda: sixteen_bit(GREY), GREY_RGB, 0),
    "png, animated": Golden(lambda: saved(photograph(), "png", RED), RGB, 0),
    "webp, lossy": Golden(lambda: encode(photograph(), "webp lossy"), RGB, 4),
    "webp, lossless": Golden(lambda: encode(photograph(), "webp lossless"), RGB, 0),
    "webp, alpha": Golden(lambda: encode(with_alpha(), "webp lossless"), RGB, 0),
    "webp, animated": Golden(lambda: saved(photograph(), "webp lossless", RED), RGB, 0),
}


@cache
def golden_file(name: str) -> bytes:
    return GOLDEN[name].make()


@pytest.mark.parametrize("name", GOLDEN)
def test_every_kind_of_file_becomes_the_pixels_it_was_made_from(name: str) -> None:
    golden = GOLDEN[name]
    decoded = opened(golden_file(name))
    assert decoded.dtype == np.uint8
    assert decoded.shape == (200, 150, 3)
    assert mean_error(decoded, golden.expected) <= golden.tolerance
    bias = decoded.mean(axis=(0, 1)) - golden.expected.mean(axis=(0, 1))
    assert np.abs(bias).max() <= max(1.0, golden.tolerance / 2)


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("size", [(1, 1), (1, 37), (41, 1), (7, 3)])
def test_pictures_of_any_size_keep_it(recipe: str, size: tuple[int, int]) -> None:
    picture = PillowImage.new("RGB", size, (40, 160, 90))
    decoded = opened(encode(picture, recipe))
    assert decoded.shape == (size[1], size[0], 3)
    assert mean_error(decoded, pixels(picture)) < 4


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("orientation", [3, 6])
def test_exif_does_not_turn_the_decoded_pixels(recipe: str, orientation: int) -> None:
    turned = opened(encode(photograph(), recipe, exif=exif(orientation)))
    assert np.array_equal(turned, opened(encode(photograph(), recipe)))


RED_FILES = [encode(RED, recipe) for recipe in RECIPES]
BLUE_FILES = [encode(PillowImage.new("RGB", RED.size, (0, 0, 255)), recipe) for recipe in RECIPES]


def share_of_red(image: Pixels) -> float:
    """Share of the pixels that are as red as no astronaut is."""
    return float(((image[..., 0] > 240) & (image[..., 1:] < 15).all(axis=-1)).mean())


def cuts(length: int, start: int) -> list[int]:
    """Places to cut a file, from its header to its last bytes."""
    return sorted({*np.linspace(start, length - 1, 24).astype(int).tolist(), length - 2})


def test_no_pixel_of_the_astronaut_counts_as_red_and_all_of_the_red_picture_do() -> None:
    assert share_of_red(RGB) == 0
    assert all(share_of_red(opened(data)) == 1 for data in RED_FILES)


TRUNCATED = [name for name in GOLDEN if name not in ("png, animated", "jpeg, mpo")]


@pytest.mark.parametrize("name", TRUNCATED)
def test_a_file_that_ends_early_is_refused_wherever_it_ends(name: str) -> None:
    """Also where a picture of the same size was decoded before and its memory is at hand."""
    data = golden_file(name)
    for index, cut in enumerate(cuts(len(data), 30)):
        opened(RED_FILES[index % len(RED_FILES)])
        if name.startswith("jpeg") and cut >= len(data) - 2:
            continue  # that is another promise
        # Every header is over by then, so that it cannot be what is wrong.
        expected = TruncatedImage if cut > 1000 else (TruncatedImage, NotAnImage)
        with pytest.raises(expected):
            opened(data[:cut])


ENDINGS: dict[str, dict[str, Any]] = {
    "jpeg": {},
    "jpeg progressive": {},
    "jpeg, halved colours": {"subsampling": 2},
    "jpeg, restarts": {"restart_marker_blocks": 1},
    "jpeg progressive, restarts": {"restart_marker_rows": 1},
}


@pytest.mark.parametrize("name", ENDINGS)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_jpeg_that_lacks_its_end_marker_is_whole_and_one_that_lacks_a_pixel_is_not(
    name: str, mode: str
) -> None:
    file = io.BytesIO()
    options = RECIPES[name.split(",")[0]] | {"quality": 60} | ENDINGS[name]
    photograph(48, 40).convert(mode).save(file, **options)
    data = file.getvalue()
    header, whole = header_of(data), opened(data)
    for missing in (1, 2):
        for shrink in JPEG_SHRINKS:
            unended = decode(data[:-missing], header, shrink)
            assert np.array_equal(unended, decode(data, header, shrink))
    refused = 0
    for cut in range(data.index(b"\xff\xda"), len(data) - 2):
        try:
            assert np.array_equal(decode(data[:cut], header), whole), len(data) - cut
        except TruncatedImage:
            refused += 1
            with pytest.raises(TruncatedImage):
                decode(data[:cut], header, 8)
    assert refused > 0.97 * (len(data) - data.index(b"\xff\xda"))


def test_a_jpeg_in_scans_of_one_component_each_lacks_none_of_them() -> None:
    """What is there decodes without a fault: the luminance alone, as a grey picture."""
    scans = separate_scans(48, 40)
    header = header_of(b"".join(scans))
    assert np.array_equal(decode(b"".join(scans)[:-2], header), decode(b"".join(scans), header))
    for count in range(1, len(scans)):
        with pytest.raises(TruncatedImage):
            decode(b"".join(scans[:count]), header)


def separate_scans(width: int, height: int) -> list[bytes]:
    """An even grey: head, then a scan for each component, the last with the end marker."""
    components = bytes(v for component in (1, 2, 3) for v in (component, 0x11, 0))
    table = b"\xff\xdb" + struct.pack(">HB", 67, 0) + bytes(64 * [1])
    frame = b"\xff\xc0" + struct.pack(">HBHHB", 17, 8, height, width, 3) + components
    codes = b"".join(
        b"\xff\xc4" + struct.pack(">HB16sB", 20, kind, bytes((1, *15 * [0])), 0)
        for kind in (0x00, 0x10)
    )
    blocks = bytes(-(-width // 8) * -(-height // 8) * 2 // 8) + b"\x0f"
    scans = [
        b"\xff\xda" + struct.pack(">HBBB3B", 8, 1, component, 0, 0, 63, 0) + blocks
        for component in (1, 2, 3)
    ]
    return [b"\xff\xd8" + table + frame + codes, *scans[:2], scans[2] + b"\xff\xd9"]


@pytest.mark.parametrize("name", ["png, animated", "jpeg, mpo"])
def test_a_file_of_several_frames_is_refused_unless_the_first_is_whole(name: str) -> None:
    data = golden_file(name)
    golden = GOLDEN[name]
    whole = 0
    for cut in cuts(len(data), 30):
        for red in RED_FILES:
            opened(red)
        try:
            decoded = opened(data[:cut])
        except (TruncatedImage, NotAnImage):
            continue
        whole += 1
        assert mean_error(decoded, golden.expected) <= golden.tolerance
    assert whole < 12


def assert_independent_of_the_past(damaged: bytes) -> None:
    """The same refusal or the same picture, whatever was decoded before."""
    outcomes: list[Pixels | str] = []
    for earlier in (RED_FILES, BLUE_FILES):
        for data in earlier:
            opened(data)
        try:
            outcomes.append(opened(damaged))
        except (TruncatedImage, NotAnImage) as error:
            outcomes.append(type(error).__name__)
    after_red, after_blue = outcomes
    assert np.array_equal(after_red, after_blue)


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("filler", [b"\xff\xd9", bytes(4000), b"\xff" * 4000])
def test_a_file_with_its_end_replaced_shows_nothing_of_an_earlier_picture(
    recipe: str, part: float, filler: bytes
) -> None:
    """Decoders may accept such data; what is missing must then not come from old memory."""
    data = encode(photograph(), recipe)
    assert_independent_of_the_past(data[: int(part * len(data))] + filler)


@pytest.mark.parametrize("recipe", RECIPES)
def test_pixels_that_do_not_match_the_header_are_refused(recipe: str) -> None:
    data = encode(photograph(), recipe)
    header = header_of(data)
    for width, height in ((151, 200), (150, 199), (200, 150)):
        with pytest.raises(TruncatedImage):
            decode(data, header._replace(width=width, height=height))


@pytest.mark.parametrize("recipe", ["png", "webp lossy", "webp lossless"])
@pytest.mark.parametrize("extended", [False, True])
def test_a_header_that_claims_more_rows_than_there_are_is_refused(
    recipe: str, extended: bool
) -> None:
    data = encode(photograph(), recipe, **({"exif": exif(1)} if extended else {}))
    with pytest.raises((TruncatedImage, NotAnImage)):
        opened(forged_size(data, 150, 6000))


@pytest.mark.parametrize("claimed", [1 << 20, (1 << 31) - 1, (1 << 32) - 1])
def test_a_png_chunk_that_claims_more_than_the_file_holds_never_reaches_the_decoder(
    monkeypatch: pytest.MonkeyPatch, claimed: int
) -> None:
    """The decoder would first set aside as much memory as the chunk claims."""
    data = bytearray(encode(photograph(), "png"))
    data[33:37] = claimed.to_bytes(4, "big")
    assert data[37:41] == b"IDAT"
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    with pytest.raises(TruncatedImage):
        opened(bytes(data))


@pytest.mark.parametrize("recipe", ["jpeg", "jpeg progressive"])
def test_the_rows_that_a_jpeg_claims_but_lacks_are_even_grey(recipe: str) -> None:
    """A JPEG decoder takes its end marker for an answer, and keeps the rows that came before."""
    forged = forged_size(encode(photograph(), recipe), 150, 1000)
    assert_independent_of_the_past(forged)
    decoded = opened(forged)
    assert mean_error(decoded[:200], RGB) < 2
    assert (decoded[210:] == 128).all()


def test_a_header_before_nothing_that_can_be_decoded_is_refused() -> None:
    header = header_of(encode(photograph(), "jpeg"))
    for data in (b"\x00", b"\xff\xd8\xff\xd9", b"not an image at all"):
        with pytest.raises(TruncatedImage):
            decode(data, header)


SMALL = {recipe: encode(photograph(24, 16), recipe) for recipe in RECIPES}


@settings(max_examples=100)
@given(
    st.sampled_from(sorted(RECIPES)),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=5),
)
def test_a_damaged_file_becomes_a_picture_of_its_size_or_a_refusal(
    recipe: str, changes: list[tuple[float, int]]
) -> None:
    data = bytearray(SMALL[recipe])
    for place, value in changes:
        data[int(place * (len(data) - 1))] = value
    try:
        header = header_of(bytes(data), 100_000)
        decoded = decode(bytes(data), header)
    except PhotographError:
        return
    assert decoded.shape == (header.height, header.width, 3)
    assert decoded.dtype == np.uint8


@settings(max_examples=100)
@given(
    st.sampled_from(["png", "webp lossless"]),
    st.integers(1, 40),
    st.integers(1, 40),
    st.randoms(use_true_random=False),
)
def test_lossless_files_of_any_size_and_content_come_back_bit_by_bit(
    recipe: str, width: int, height: int, random: Random
) -> None:
    image = np.frombuffer(random.randbytes(3 * width * height), np.uint8)
    image = image.reshape(height, width, 3)
    assert np.array_equal(opened(encode(PillowImage.fromarray(image), recipe)), image)


@settings(max_examples=100)
@given(st.sampled_from(sorted(RECIPES)), st.integers(0, 10_000), st.binary(max_size=40))
def test_a_file_cut_anywhere_and_followed_by_anything_has_its_size_or_is_refused(
    recipe: str, cut: int, tail: bytes
) -> None:
    data = SMALL[recipe][: cut % len(SMALL[recipe])] + tail
    try:
        decoded = opened(data)
    except PhotographError:
        return
    assert decoded.shape == (16, 24, 3)


def test_opencv_has_a_limit_of_its_own_behind_ours() -> None:
    """In a process of its own: OpenCV reads its limit once, at its first import."""
    lying = forged_size(encode(photograph(), "png"), 17_000, 17_000)
    code = (
        "import sys, app, cv2, numpy\n"
        "cv2.imdecode(numpy.frombuffer(sys.stdin.buffer.read(), numpy.uint8), 1)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], input=lying, capture_output=True, check=False
    )
    assert ended.returncode != 0
    assert b"CV_IO_MAX_IMAGE_PIXELS" in ended.stderr


def lossless_jpeg(width: int, height: int) -> bytes:
    """An even grey: every sample is what the decoder predicts, and a bit 0 says so."""
    components = bytes(v for component in (1, 2, 3) for v in (component, 0x11, 0))
    frame = b"\xff\xc3" + struct.pack(">HBHHB", 17, 8, height, width, 3) + components
    code = b"\xff\xc4" + struct.pack(">HB16sB", 20, 0, bytes((1, *15 * [0])), 0)
    scan = b"\xff\xda" + struct.pack(">HB6s3B", 12, 3, bytes((1, 0, 2, 0, 3, 0)), 1, 0, 0)
    whole, rest = divmod(3 * width * height, 8)
    samples = bytes(whole) + bytes((0xFF >> rest,))
    return b"\xff\xd8" + frame + code + scan + samples + b"\xff\xd9"


@pytest.mark.parametrize("shrink", JPEG_SHRINKS)
def test_a_lossless_jpeg_which_the_decoder_cannot_shrink_is_shrunk_all_the_same(
    shrink: int,
) -> None:
    data = lossless_jpeg(101, 67)
    shrunk = decode(data, header_of(data), shrink)
    assert shrunk.shape == (-(-67 // shrink), -(-101 // shrink), 3)
    assert (shrunk == 128).all()
