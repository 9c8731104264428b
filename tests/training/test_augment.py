import numpy as np
import pytest

from lwbafa.imaging.crop import Crop
from lwbafa.markups import MARKUP_68
from lwbafa.types import FaceBox
from training.augment import flip, training_crop
from training.datasets import Face
from training.recipe import Augmentation

SHARP = Augmentation(blur_probability=0, occlusion_probability=0, illumination=0)


@pytest.fixture
def marked() -> Face:
    """A dark picture with a bright spot on each of 68 scattered landmarks."""
    rng = np.random.default_rng(0)
    cells = rng.permutation(100)[:68]
    points = np.stack((cells % 10, cells // 10), axis=1) * 20.0 + 60
    image = np.zeros((320, 320, 3), np.uint8)
    for x, y in points.astype(int):
        image[y - 2 : y + 3, x - 2 : x + 3] = 255
    return Face("marked", image, points.astype(np.float32))


def brightness_under(image: np.ndarray, points: np.ndarray) -> list[int]:
    size = image.shape[0]
    pixels = np.round(points * size - 0.5).astype(int)
    inside = ((pixels >= 0) & (pixels < size)).all(axis=1)
    return [int(image[y, x].max()) for x, y in pixels[inside]]


def test_landmarks_move_with_the_pixels(marked: Face) -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        image, points = training_crop(marked, 256, MARKUP_68, SHARP, rng)
        seen = brightness_under(image, points)
        assert len(seen) > 40
        assert np.mean(np.array(seen) > 150) > 0.95


def test_flipped_landmarks_take_their_mirrored_names(marked: Face) -> None:
    crop = Crop.around(FaceBox.around(marked.landmarks))
    image = crop.cut(marked.image, 256)
    points = crop.from_image(marked.landmarks).astype(np.float32)
    assert min(brightness_under(image, points)) > 200
    mirrored_image, mirrored = flip(image, points, MARKUP_68)
    assert min(brightness_under(mirrored_image, mirrored)) > 200
    again_image, again = flip(mirrored_image, mirrored, MARKUP_68)
    assert (again_image == image).all()
    assert np.abs(again - points).max() < 1e-6
    assert np.abs(mirrored[0] - [1 - points[16, 0], points[16, 1]]).max() < 1e-6


def test_the_same_seed_gives_the_same_crop(marked: Face) -> None:
    one, two, other = (
        training_crop(marked, 64, MARKUP_68, Augmentation(), np.random.default_rng(seed))
        for seed in (5, 5, 6)
    )
    assert (one[0] == two[0]).all()
    assert (one[1] == two[1]).all()
    assert (one[0] != other[0]).any()
