import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lwbafa.imaging.crop import CROP_SCALE, Crop
from lwbafa.types import FaceBox, Pixels


def numbers(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_nan=False, width=32)


crops = st.builds(
    Crop, numbers(-10_000, 10_000), numbers(-10_000, 10_000), numbers(1, 10_000), numbers(-400, 400)
)


@given(crops, numbers(-2, 3), numbers(-2, 3))
def test_crop_coordinates_survive_the_way_to_the_image_and_back(
    crop: Crop, x: float, y: float
) -> None:
    point = np.array([x, y])
    returned = crop.from_image(crop.to_image(point))
    assert np.abs(returned - point).max() * crop.side < 0.01


@given(crops, numbers(-10_000, 10_000), numbers(-10_000, 10_000))
def test_image_points_survive_the_way_to_the_crop_and_back(crop: Crop, x: float, y: float) -> None:
    point = np.array([x, y])
    assert np.abs(crop.to_image(crop.from_image(point)) - point).max() < 0.01


@given(crops)
def test_the_middle_of_a_crop_is_its_centre_and_its_edges_are_one_side_apart(crop: Crop) -> None:
    middle, left, right = crop.to_image(np.array([[0.5, 0.5], [0, 0.5], [1, 0.5]]))
    assert middle == pytest.approx([crop.center_x, crop.center_y])
    assert np.hypot(*(right - left)) == pytest.approx(crop.side, abs=1e-6)


def test_a_quarter_turn_clockwise_puts_the_crops_right_edge_below_its_centre() -> None:
    right_edge = Crop(100, 50, 40, degrees=90).to_image(np.array([1, 0.5]))
    assert right_edge == pytest.approx([100, 70])


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_a_cut_of_the_whole_image_is_the_image_turned_against_the_clock(quarters: int) -> None:
    image = np.random.default_rng(5).integers(0, 256, (SIZE_PX, SIZE_PX, 3), np.uint8)
    middle = (SIZE_PX - 1) / 2
    cut = Crop(middle, middle, SIZE_PX, 90 * quarters).cut(image, SIZE_PX)
    # Leaves off the border, where the sine of a right angle is not quite one.
    inner = np.s_[1:-1, 1:-1]
    assert np.abs(cut[inner].astype(int) - np.rot90(image, quarters)[inner]).max() <= 1


def test_points_may_come_in_any_number_of_dimensions() -> None:
    crop = Crop(30, 20, 10, 25)
    points = np.arange(24.0).reshape(3, 4, 2)
    each = np.array([[crop.from_image(point) for point in row] for row in points])
    assert crop.from_image(points) == pytest.approx(each)


@given(numbers(-5000, 5000), numbers(-5000, 5000), numbers(0, 5000), numbers(0, 5000))
def test_the_crop_of_a_box_has_its_centre_and_its_longer_side_by_a_fixed_factor(
    x: float, y: float, width: float, height: float
) -> None:
    crop = Crop.around(FaceBox(x, y, width, height))
    assert (crop.center_x, crop.center_y) == pytest.approx((x + width / 2, y + height / 2))
    assert crop.side == pytest.approx(1.3 * max(width, height))
    assert crop.degrees == 0


def test_the_crop_of_landmarks_keeps_the_same_margin_on_their_longer_axis() -> None:
    points = np.array([[10, 40], [50, 20], [30, 120]])
    box = FaceBox.around(points)
    assert box == FaceBox(10, 20, 40, 100)
    inside = Crop.around(box).from_image(points)
    margin = (1 - 1 / CROP_SCALE) / 2
    assert inside[:, 1].min() == pytest.approx(margin)
    assert inside[:, 1].max() == pytest.approx(1 - margin)
    assert inside[:, 0].mean() == pytest.approx(0.5)


SIZE_PX = 64
WIDTH, HEIGHT = 400, 300
SCALES = (0.2, 0.7, 1.0, 1.9, 2.0, 3.0, 3.7, 8.0)


def blob_at(x: float, y: float, sigma: float) -> Pixels:
    columns, rows = np.arange(WIDTH), np.arange(HEIGHT)
    across = np.exp(-((columns - x) ** 2) / (2 * sigma**2))
    down = np.exp(-((rows - y) ** 2) / (2 * sigma**2))
    grey = np.round(255 * np.outer(down, across)).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def centroid(image: Pixels) -> NDArray[np.float64]:
    weights = image[..., 0].astype(np.float64)
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
    assert weights.sum() > 0
    return np.array([np.average(columns, weights=weights), np.average(rows, weights=weights)])


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("degrees", [0, 30, -105])
@pytest.mark.parametrize(
    ("corner", "inward"),
    [((200.3, 150.8), (0, 0)), ((0, 0), (1, 1)), ((WIDTH, 0), (-1, 1)), ((0, HEIGHT), (1, -1))],
    ids=["inside", "top left", "top right", "bottom left"],
)
def test_a_blob_lands_in_the_crop_where_from_image_says(
    scale: float, degrees: float, corner: tuple[float, float], inward: tuple[int, int]
) -> None:
    """Near a corner of the image the crop hangs over it, and the blob is close to the border."""
    sigma = max(1.2, 1.3 * scale)
    x = corner[0] + inward[0] * (4 * sigma + 2 * scale + 0.37)
    y = corner[1] + inward[1] * (4 * sigma + 5 * scale)
    crop = Crop(x - 3 * inward[0] * scale, y - 2 * inward[1] * scale, 64 * scale, degrees)
    cut = crop.cut(blob_at(x, y, sigma), SIZE_PX)
    expected = crop.from_image(np.array([x, y])) * SIZE_PX - 0.5
    assert np.abs(centroid(cut) - expected).max() < 0.1


def edges_of_white_image(crop: Crop) -> tuple[NDArray[np.bool_], NDArray[np.bool_], Pixels]:
    """The crop's pixels well inside a white image, those well outside it, and its cut."""
    white = np.full((120, 200, 3), 255, np.uint8)
    grid = (np.stack(np.meshgrid(np.arange(SIZE_PX), np.arange(SIZE_PX)), -1) + 0.5) / SIZE_PX
    x, y = np.moveaxis(crop.to_image(grid), -1, 0)
    # How far outside; negative is inside. One crop pixel may mix both sides of the border.
    beyond = np.maximum.reduce([-x, -y, x - 199, y - 119])
    blur = 2 * max(1.0, crop.side / SIZE_PX)
    return beyond < -blur, beyond > blur, crop.cut(white, SIZE_PX)


@pytest.mark.parametrize("degrees", [0, 20, 90])
@pytest.mark.parametrize("side", [30, 64, 100, 180, 400])
@pytest.mark.parametrize("center", [(0, 0), (199, 60), (100, 119), (10, 110), (100, 60)])
def test_outside_the_image_a_crop_is_black_and_inside_it_is_the_image(
    center: tuple[float, float], side: float, degrees: float
) -> None:
    inside, outside, cut = edges_of_white_image(Crop(*center, side, degrees))
    assert inside.any()
    assert (cut[inside] == 255).all()
    assert (cut[outside] == 0).all()


@pytest.mark.parametrize("side", [20, 64, 400])
@pytest.mark.parametrize(
    "direction", [(-1, 0), (1, 0), (0, -1), (0, 1), (-1, -1), (1, 1), (-40, 7), (300, 9000)]
)
def test_a_crop_entirely_outside_the_image_is_black(
    direction: tuple[int, int], side: float
) -> None:
    away = side / 2 + 150
    crop = Crop(100 + away * direction[0], 60 + away * direction[1], side)
    _, outside, cut = edges_of_white_image(crop)
    assert outside.all()
    assert not cut.any()


@pytest.mark.parametrize("degrees", [0, 33])
@pytest.mark.parametrize("scale", [2.0, 2.9, 5.3])
def test_a_shrinking_cut_is_the_average_over_each_output_pixel(
    scale: float, degrees: float
) -> None:
    size_px = 32

    def scenery(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        waves = np.sin(x / (5 * scale)) + np.cos(y / (4 * scale) + 1) + np.sin((x - y) / 150)
        return 127 + 40 * waves

    columns, rows = np.meshgrid(np.arange(400.0), np.arange(300.0))
    grey = np.round(scenery(columns, rows)).astype(np.uint8)
    crop = Crop(201.3, 148.9, size_px * scale, degrees)
    cut = crop.cut(np.repeat(grey[..., None], 3, axis=2), size_px)

    fine = (np.arange(size_px * 8) + 0.5) / (size_px * 8)
    points = crop.to_image(np.stack(np.meshgrid(fine, fine), axis=-1))
    exact = scenery(points[..., 0], points[..., 1])
    average = exact.reshape(size_px, 8, size_px, 8).mean(axis=(1, 3))
    assert np.abs(cut[..., 1] - average).max() < 4
    assert np.abs(cut[..., 1] - average).mean() < 1


@pytest.mark.parametrize("scale", [2.0, 3.5, 4.0, 8.0])
def test_detail_finer_than_an_output_pixel_becomes_even_grey(scale: float) -> None:
    board = (np.indices((600, 600)).sum(axis=0) % 2 * 255).astype(np.uint8)
    cut = Crop(300, 300, 64 * scale).cut(np.repeat(board[..., None], 3, axis=2), SIZE_PX)
    assert cut.mean() == pytest.approx(127.5, abs=5)
    assert cut.std() < 16


def test_channels_stay_in_order_and_the_image_stays_as_it_is() -> None:
    image = np.full((100, 100, 3), (10, 100, 200), np.uint8)
    for side in (20, 64, 90):
        for size_px in (16, 64):
            cut = Crop(50, 50, side).cut(image, size_px)
            assert cut.shape == (size_px, size_px, 3)
            assert (cut == (10, 100, 200)).all()
    assert (image == (10, 100, 200)).all()


@pytest.mark.parametrize("crop", [Crop(20, 30, 40, 30), Crop(10, 10, 500), Crop(-900, 10, 40)])
def test_the_cut_of_a_grey_image_is_grey_and_shows_the_same(crop: Crop) -> None:
    grey = np.random.default_rng(7).integers(0, 256, (50, 60), np.uint8)
    cut = crop.cut(grey, 32)
    assert cut.shape == (32, 32)
    assert np.array_equal(cut, crop.cut(np.dstack([grey] * 3), 32)[..., 1])


def test_an_image_longer_than_a_16_bit_coordinate_is_cut_all_the_same() -> None:
    image = np.zeros((40, 40_000, 3), np.uint8)
    image[:, 39_000:] = 255
    for side in (30, 200):
        assert Crop(39_500, 19.5, side).cut(image, 16)[7:9].min() == 255
        assert Crop(38_000, 19.5, side).cut(image, 16).max() == 0


far = st.floats(-1e9, 1e9, allow_nan=False)
lengths = st.one_of(st.just(0.0), st.floats(0, 1e-3), st.floats(0, 1e9))
turns = st.floats(-1e4, 1e4)


@settings(max_examples=100)
@given(
    st.builds(FaceBox, far, far, lengths, lengths, turns),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
)
def test_no_box_is_too_large_too_small_or_too_far_away_to_be_cut(
    box: FaceBox, image_size: tuple[int, int]
) -> None:
    cut = Crop.around(box).cut(np.full((*image_size, 3), 255, np.uint8), 16)
    assert cut.shape == (16, 16, 3)
    assert cut.dtype == np.uint8


@pytest.mark.parametrize("side", [0.0, 1e-9, 0.01])
def test_a_crop_smaller_than_a_pixel_shows_that_pixel(side: float) -> None:
    image = np.zeros((20, 30, 3), np.uint8)
    image[12, 17] = (50, 150, 250)
    cut = Crop(17, 12, side).cut(image, 16)
    assert np.abs(cut.astype(int) - (50, 150, 250)).max() <= 10


@settings(max_examples=100)
@given(
    st.builds(Crop, numbers(-50, 250), numbers(-50, 200), numbers(8, 300), numbers(-180, 180)),
    st.integers(0, 60),
    st.integers(0, 60),
)
def test_a_crop_shows_the_same_wherever_the_picture_lies_on_a_black_canvas(
    crop: Crop, right: int, down: int
) -> None:
    """Outside the picture a crop is black, so a black margin around the picture changes nothing."""
    image = blob_at(90, 70, 40)[:150, :200]
    canvas = np.zeros((150 + 100 + down, 200 + 100 + right, 3), np.uint8)
    canvas[down : down + 150, right : right + 200] = image
    moved = crop._replace(center_x=crop.center_x + right, center_y=crop.center_y + down)
    difference = crop.cut(image, 32).astype(int) - moved.cut(canvas, 32)
    # A shrinking cut averages on a grid that moves along: it may differ where the picture ends.
    assert np.abs(difference).mean() < 4
