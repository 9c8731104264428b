import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as PillowImage

from lwbafa.imaging.crop import Crop
from lwbafa.imaging.draw import (
    GROUP_COLORS,
    PICTURE_LARGEST_PX,
    PICTURE_SMALLEST_PX,
    annotated,
    heatmap_image,
    leveled,
    png,
)
from lwbafa.types import Pixels
from tests.lwbafa.imaging.pictures import photograph, pixels

NO_HEAT = np.zeros((64, 64), np.uint8)
NO_POINTS = np.empty((0, 2))
GROUPS = {"jaw": (0, 2), "nose": (1,)}
POINTS = np.array([[60.0, 50.0], [100.0, 80.0], [140.0, 120.0]])


def grey(width: int = 1024, height: int = 160) -> Pixels:
    """Of a size, unless one is asked for, at which annotated() does not scale it."""
    return np.full((height, width, 3), 90, np.uint8)


def heat_at(column: int, row: int) -> NDArray[np.uint8]:
    heat = np.zeros((64, 64), np.uint8)
    heat[row, column] = 255
    return heat


def center_of_change(before: Pixels, after: Pixels) -> NDArray[np.float64]:
    change = np.abs(after.astype(np.float64) - before).sum(axis=-1)
    rows, columns = np.mgrid[: change.shape[0], : change.shape[1]]
    assert change.sum() > 0
    return np.array([np.average(columns, weights=change), np.average(rows, weights=change)])


def test_the_photograph_that_is_drawn_over_stays_as_it_is() -> None:
    original = pixels(photograph(1024, 200)).copy()
    before = original.copy()
    heat = heat_at(30, 30)
    drawn = annotated(original, [(Crop(75, 100, 90), POINTS, heat, GROUPS)])
    assert np.array_equal(original, before)
    assert not np.shares_memory(original, drawn)
    assert np.array_equal(heat, heat_at(30, 30))
    assert not np.array_equal(drawn, original)


def test_without_faces_the_picture_is_the_photograph() -> None:
    original = pixels(photograph(1024, 200))
    assert np.array_equal(annotated(original, []), original)


def test_each_landmark_is_marked_at_its_place_in_its_groups_colour() -> None:
    before = grey()
    drawn = annotated(before, [(Crop(100, 80, 160), POINTS, NO_HEAT, GROUPS)])
    for index, group in ((0, 0), (2, 0), (1, 1)):
        x, y = POINTS[index].astype(int)
        assert tuple(drawn[y, x]) == GROUP_COLORS[group]


def test_marks_are_centred_on_landmarks_between_pixels() -> None:
    before = grey()
    for place in ([60.25, 50.75], [100.5, 80.5], [33.0, 120.4]):
        face = (Crop(100, 80, 900), np.array([place]), NO_HEAT, {"only": (0,)})
        drawn = annotated(before, [face])
        assert center_of_change(before, drawn) == pytest.approx(place, abs=0.25)


def test_away_from_the_landmarks_nothing_is_drawn() -> None:
    before = grey()
    drawn = annotated(before, [(Crop(100, 80, 160), POINTS, NO_HEAT, GROUPS)])
    columns, rows = np.meshgrid(np.arange(1024), np.arange(160))
    distances = [np.hypot(columns - x, rows - y) for x, y in POINTS]
    assert (drawn[np.min(distances, axis=0) > 4] == 90).all()


def test_landmarks_outside_of_every_group_are_not_drawn() -> None:
    before = grey()
    drawn = annotated(before, [(Crop(100, 80, 160), POINTS, NO_HEAT, {"nose": (1,)})])
    assert tuple(drawn[50, 60]) == (90, 90, 90)
    assert tuple(drawn[80, 100]) == GROUP_COLORS[0]


@pytest.mark.parametrize(
    "crop",
    [Crop(100, 80, 128), Crop(90.3, 70.8, 200), Crop(40, 30, 30), Crop(100, 80, 100, -50)],
)
@pytest.mark.parametrize(("column", "row"), [(32, 32), (20, 40), (45, 25)])
def test_heat_glows_where_the_crop_has_it(crop: Crop, column: int, row: int) -> None:
    before = grey()
    heat = heat_at(column, row)
    heat[row : row + 4, column : column + 4] = 255
    drawn = annotated(before, [(crop, NO_POINTS, heat, {})])
    middle = (np.array([column, row]) + 2) / 64
    assert center_of_change(before, drawn) == pytest.approx(crop.to_image(middle), abs=0.3)


def test_heat_is_as_opaque_as_the_network_is_certain() -> None:
    before = grey()
    reds = []
    for certainty in (0, 64, 128, 255):
        heat = np.full((64, 64), certainty, np.uint8)
        drawn = annotated(before, [(Crop(49.5, 49.5, 80), NO_POINTS, heat, {})])
        assert tuple(drawn[2, 2]) == (90, 90, 90)
        reds.append(int(drawn[50, 50, 0]))
    assert reds[0] == 90
    assert reds == sorted(set(reds))
    assert reds[-1] > 150


def test_a_face_that_hangs_over_the_border_is_drawn_as_far_as_it_is_in_the_picture() -> None:
    before = grey(1024, 40)
    points = np.array([[-30.0, -30.0], [5.0, 6.0], [2000.0, 3000.0]])
    heat = np.full((64, 64), 255, np.uint8)
    drawn = annotated(before, [(Crop(0, 0, 40), points, heat, {"all": (0, 1, 2)})])
    assert drawn.shape == before.shape
    assert tuple(drawn[6, 5]) == GROUP_COLORS[0]
    assert (drawn[:15, :15] != 90).any(axis=-1).all()
    assert (drawn[22:, 22:] == 90).all()


@pytest.mark.parametrize(
    ("size", "drawn_size"),
    [
        ((3000, 1000), (2048, 683)),
        ((1000, 4096), (500, 2048)),
        ((9000, 2), (2048, 1)),
        ((2048, 30), (2048, 30)),
        ((30, 1024), (30, 1024)),
        ((256, 128), (1024, 512)),
        ((1, 1), (1024, 1024)),
    ],
)
def test_a_picture_is_no_longer_and_no_shorter_than_people_like_to_look_at(
    size: tuple[int, int], drawn_size: tuple[int, int]
) -> None:
    assert PICTURE_SMALLEST_PX <= max(drawn_size) <= PICTURE_LARGEST_PX
    drawn = annotated(grey(*size), [])
    assert drawn.shape == (drawn_size[1], drawn_size[0], 3)
    assert (drawn == 90).all()


@pytest.mark.parametrize(("side", "scale"), [(4096, 0.5), (1600, 1.0), (256, 4.0)])
def test_on_a_picture_of_another_size_marks_and_heat_stay_on_the_face(
    side: int, scale: float
) -> None:
    photo = grey(side, side // 4)
    before = grey(round(side * scale), round(side * scale) // 4)
    crop = Crop(0.3 * side, 0.12 * side, 0.12 * side)
    points = np.array([[0.7, 0.11]]) * side
    marked = annotated(photo, [(crop, points, NO_HEAT, {"only": (0,)})])
    expected = (points[0] + 0.5) * scale - 0.5
    assert center_of_change(before, marked) == pytest.approx(expected, abs=0.3)

    heat = heat_at(10, 50)
    heat[50:54, 10:14] = 255
    glowing = annotated(photo, [(crop, NO_POINTS, heat, {})])
    expected = (crop.to_image(np.array([12, 52]) / 64) + 0.5) * scale - 0.5
    assert center_of_change(before, glowing) == pytest.approx(expected, abs=0.3)


@pytest.mark.parametrize("degrees", [-90, 20, 45, 180])
def test_heat_of_a_turned_crop_glows_where_the_crop_has_it(degrees: float) -> None:
    crop = Crop(400, 80, 90, degrees)
    heat = heat_at(10, 50)
    heat[50:54, 10:14] = 255
    glowing = annotated(grey(), [(crop, NO_POINTS, heat, {})])
    expected = crop.to_image(np.array([12, 52]) / 64)
    assert center_of_change(grey(), glowing) == pytest.approx(expected, abs=0.5)
    _, level = leveled(crop, heat)
    assert level.ndim == 2


@pytest.mark.parametrize("center", [(-500, 80), (5000, 80), (400, -900), (400, 900)])
def test_heat_beside_the_picture_is_not_drawn(center: tuple[int, int]) -> None:
    heat = np.full((64, 64), 255, np.uint8)
    assert (annotated(grey(), [(Crop(*center, 200), NO_POINTS, heat, {})]) == 90).all()


def decoded(data: bytes) -> NDArray[np.uint8]:
    with PillowImage.open(io.BytesIO(data), formats=["PNG"]) as picture:
        return np.asarray(picture)


def test_png_keeps_every_pixel_of_a_colour_picture() -> None:
    image = pixels(photograph())
    assert np.array_equal(decoded(png(image)), image)


def test_png_keeps_every_pixel_of_a_grey_picture() -> None:
    image = pixels(photograph())[..., 1]
    data = png(image)
    assert decoded(data).ndim == 2
    assert np.array_equal(decoded(data), image)


def test_a_heatmap_image_is_enlarged_fourfold_and_keeps_place_and_certainty() -> None:
    heat = np.zeros((64, 64), np.uint8)
    heat[40:46, 10:16] = 255
    image = heatmap_image(heat)
    assert image.shape == (256, 256)
    assert image.dtype == np.uint8
    assert (image[168:176, 48:56] == 255).all()
    assert image[:140].max() == 0
    rows, columns = np.nonzero(image > 127)
    assert (columns.mean(), rows.mean()) == pytest.approx((51.5, 171.5), abs=0.5)
