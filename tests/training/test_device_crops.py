"""Crops cut on the device are those of the library, and their landmarks move with the pixels."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from lwbafa.imaging.crop import Crop
from lwbafa.markups import MARKUP_68, MARKUPS, Markup
from lwbafa.types import Pixels
from tests.training.drawn_faces import drawn_source, mean_face
from training.datasets import Annotation, Face
from training.device_crops import Squares, augmented_crops, cut, in_crops, moved, squares_around
from training.face_store import FaceStore, packed
from training.recipe import Augmentation

FLIP = torch.tensor(MARKUP_68.flip)
SHARP = Augmentation(
    rotation_degrees=45, blur_probability=0, occlusion_probability=0, illumination=0
)


@pytest.fixture
def photograph() -> Pixels:
    """Smooth noise, so that sampling half a pixel off is seen and rounding is not."""
    noise = np.random.default_rng(0).integers(0, 256, (288, 288, 3)).astype(np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 2)  # type: ignore[return-value]


def squares(*crops: Crop, mirrored: bool = False) -> Squares:
    return Squares(
        torch.tensor([[crop.center_x, crop.center_y] for crop in crops]),
        torch.tensor([crop.side for crop in crops]),
        torch.tensor([np.deg2rad(crop.degrees) for crop in crops]).float(),
        torch.full((len(crops),), mirrored),
    )


@pytest.mark.parametrize("size_px", [64, 128, 256])
@pytest.mark.parametrize("degrees", [0.0, 33.0, -120.0])
def test_a_crop_is_the_librarys(photograph: Pixels, size_px: int, degrees: float) -> None:
    crop = Crop(150.3, 131.8, 190.0, degrees)
    points = np.random.default_rng(1).uniform(50, 250, (68, 2))
    chosen = squares(crop)
    (pixels,) = cut(torch.from_numpy(photograph)[None], chosen, size_px)
    expected = crop.cut(photograph, size_px).astype(float)
    # Below half of the size the device averages four samples and the library averages first.
    assert np.abs(pixels.permute(1, 2, 0).numpy() - expected).mean() < (3 if size_px == 64 else 1)
    (found,) = in_crops(torch.from_numpy(points).float()[None], chosen, FLIP)
    assert np.abs(found.numpy() - crop.from_image(points)).max() < 1e-5


def test_outside_the_picture_is_black(photograph: Pixels) -> None:
    crop = Crop(0.0, 144.0, 200.0)
    (pixels,) = cut(torch.from_numpy(photograph)[None], squares(crop), 128)
    assert pixels[:, :, :63].max() == 0
    assert pixels[:, :, 66:].min() > 0


def test_a_mirror_swaps_sides_and_names(photograph: Pixels) -> None:
    crop = Crop(140.0, 150.0, 180.0, 20.0)
    points = 100 + 100 * torch.rand(1, 68, 2)
    images = torch.from_numpy(photograph)[None]
    straight = cut(images, squares(crop), 128)
    mirrored = cut(images, squares(crop, mirrored=True), 128)
    assert torch.allclose(mirrored, straight.flip(3), atol=0.1)
    named = in_crops(points, squares(crop), FLIP)
    swapped = in_crops(points, squares(crop, mirrored=True), FLIP)
    assert torch.allclose(swapped[0, 0, 0], 1 - named[0, 16, 0], atol=1e-6)
    assert torch.allclose(swapped[:, FLIP, 1], named[:, :, 1], atol=1e-6)


def test_without_augmentation_the_crop_is_what_is_served(photograph: Pixels) -> None:
    landmarks = mean_face(68) * 150 + 60
    served = Face("any", photograph, landmarks).crop
    still = Augmentation(0, 0, 0, flip_probability=0)
    around = moved(squares_around(torch.from_numpy(landmarks)[None]), still)
    assert around.center[0].tolist() == pytest.approx([served.center_x, served.center_y], abs=1e-3)
    assert float(around.side) == pytest.approx(served.side, rel=1e-5)
    assert not around.mirrored
    assert around.angle == 0


def test_landmarks_move_with_the_pixels() -> None:
    cells = np.random.default_rng(0).permutation(100)[:68]
    spots = np.stack((cells % 10, cells // 10), axis=1) * 20 + 50
    image = np.zeros((288, 288, 3), np.uint8)
    for x, y in spots:
        image[y - 2 : y + 3, x - 2 : x + 3] = 255
    torch.manual_seed(0)
    crops, points = augmented_crops(
        torch.from_numpy(image).repeat(40, 1, 1, 1),
        torch.from_numpy(spots).float().repeat(40, 1, 1),
        FLIP,
        256,
        SHARP,
    )
    pixels = (points * 256 - 0.5).round().long()
    inside = ((pixels >= 0) & (pixels < 256)).all(dim=2)
    assert inside.float().mean() > 0.6
    face, landmark = inside.nonzero().T
    x, y = pixels[face, landmark].T
    assert (crops[face, 0, y, x] > 150).float().mean() > 0.95
    reach = Augmentation(translation=0.2, scale=0.3, rotation_degrees=45)
    around = squares_around(torch.from_numpy(spots).float().repeat(2000, 1, 1))
    far = moved(around, reach)
    assert 0.9 * 45 < far.angle.abs().max().rad2deg() < 45
    assert 0.7 < far.mirrored.float().mean() * 2 < 1.3
    assert 1.25 < (far.side / around.side).max() < 1.35
    shift = ((far.center - around.center) / around.side[:, None]).abs()
    assert 0.18 < shift.max() < 0.2


@pytest.mark.parametrize("markup", MARKUPS.values(), ids=lambda m: m.name)
def test_a_photograph_of_any_size_is_kept_as_a_square(markup: Markup, photograph: Pixels) -> None:
    landmarks = mean_face(markup.landmark_count)
    whole, points = packed(Face("small", photograph[:200, :150], landmarks * 100 + 20), 288)
    assert (whole[:200, :150] == photograph[:200, :150]).all()
    assert not whole[200:].any()
    assert np.array_equal(points, landmarks * 100 + 20)

    wide = np.zeros((400, 900, 3), np.uint8)
    wide[100:388, 300:588] = photograph
    moved_by = landmarks * 100 + np.array([400, 180], np.float32)
    part, points = packed(Face("wide", wide, moved_by), 288)
    left, top = (np.array([400, 180]) - (points - landmarks * 100)[0]).round().astype(int)
    assert (part == wide[top : top + 288, left : left + 288]).all()

    large = cv2.resize(photograph, None, fx=4, fy=4, interpolation=cv2.INTER_LINEAR)
    part, points = packed(Face("large", large, landmarks * 500 + 300), 288)  # type: ignore[arg-type]
    side = np.ptp(points, axis=0).max()
    assert side == pytest.approx(288 / 1.8, rel=1e-3)


def test_a_store_holds_what_the_files_hold(tmp_path: Path) -> None:
    drawn_source(tmp_path, 5)
    annotations = [
        Annotation(str(n), tmp_path / f"{n}.png", mean_face(68) * 50 + n) for n in range(5)
    ]
    store = FaceStore(annotations, 128, torch.device("cpu"))
    assert store.images.shape == (5, 128, 128, 3)
    for number, annotation in enumerate(annotations):
        face = annotation.read()
        assert (store.images[number, :96, :96].numpy() == face.image).all()
        assert (store.points[number].numpy() == face.landmarks).all()
