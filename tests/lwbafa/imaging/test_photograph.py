import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from lwbafa.errors import TruncatedImage
from lwbafa.imaging.crop import Crop
from lwbafa.imaging.photograph import Photograph
from lwbafa.types import FaceBox, Pixels
from tests.lwbafa.imaging.pictures import encode, exif, photograph

CROP_PX = 96
# No multiple of eight, so that the decoder rounds both sides up.
WIDTH, HEIGHT = 605, 803


def opened(recipe: str = "jpeg", orientation: int = 1) -> Photograph:
    data = encode(photograph(WIDTH, HEIGHT), recipe, exif=exif(orientation))
    return Photograph.of_bytes(data)


def grey(crop: Pixels) -> NDArray[np.float32]:
    return cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY).astype(np.float32)


@pytest.mark.parametrize("shrink", [1, 2, 4, 8])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_crop_of_a_shrunk_picture_is_the_crop_of_the_full_one(
    orientation: int, shrink: int
) -> None:
    whole = opened(orientation=orientation)
    width, height = whole.upright_size
    crop = Crop(0.45 * width, 0.55 * height, 0.6 * WIDTH)
    picture = whole.picture(shrink)
    assert picture.shrink == shrink
    full = crop.cut(whole.picture().pixels, CROP_PX)
    shrunk = picture.crop_from(crop).cut(picture.pixels, CROP_PX)
    (dx, dy), _ = cv2.phaseCorrelate(grey(full), grey(shrunk))
    # A pixel too many in the full photograph is a quarter of one here.
    assert max(abs(dx), abs(dy)) < 0.15


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_box_goes_to_the_full_photograph_and_its_crop_back(orientation: int) -> None:
    picture = opened(orientation=orientation).picture(4)
    box = FaceBox(10.0, 20.0, 30.0, 40.0)
    full = picture.box_to_full(box)
    assert (full.width, full.height) == (120.0, 160.0)
    assert picture.crop_from(Crop.around(full)) == pytest.approx(Crop.around(box))


@pytest.mark.parametrize(
    ("length", "shrink"), [(80, 1), (100, 1), (199, 1), (200, 2), (399, 2), (400, 4), (9999, 8)]
)
def test_a_jpeg_is_shrunk_as_far_as_enough_pixels_are_left(length: float, shrink: int) -> None:
    whole = opened()
    assert whole.shrink_for(length, 100) == shrink
    pixels = whole.picture(shrink).pixels
    assert pixels.shape == (-(-HEIGHT // shrink), -(-WIDTH // shrink), 3)


@pytest.mark.parametrize("recipe", ["png", "webp lossy"])
def test_only_a_jpeg_is_decoded_in_part(recipe: str) -> None:
    assert opened(recipe).shrink_for(9999, 100) == 1


@pytest.mark.parametrize("shrink", [1, 2, 4, 8])
def test_a_cut_off_jpeg_is_told_at_every_size(shrink: int) -> None:
    data = encode(photograph(WIDTH, HEIGHT), "jpeg")
    whole = Photograph.of_bytes(data[: len(data) // 2])
    with pytest.raises(TruncatedImage):
        whole.picture(shrink)
