import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, ImageOps
from PIL import Image as PillowImage

from lwbafa.imaging.orientation import Orientation
from lwbafa.types import FaceBox, Pixels

WIDTH, HEIGHT = 5, 3
# Every pixel is unlike every other.
STORED: Pixels = np.arange(WIDTH * HEIGHT * 3, dtype=np.uint8).reshape(HEIGHT, WIDTH, 3)

every_orientation = pytest.mark.parametrize("value", range(1, 9))


def upright_size(image: Pixels) -> tuple[int, int]:
    return image.shape[1], image.shape[0]


def place_of(color: Pixels, image: Pixels) -> tuple[int, int]:
    """X and y of the one pixel of that colour."""
    rows, columns = np.nonzero((image == color).all(axis=-1))
    assert len(rows) == 1
    return int(columns[0]), int(rows[0])


@every_orientation
def test_upright_is_what_pillow_makes_of_the_same_exif(value: int) -> None:
    picture = PillowImage.fromarray(STORED)
    picture.getexif()[ExifTags.Base.Orientation] = value
    expected = np.asarray(ImageOps.exif_transpose(picture))
    upright = Orientation.of_exif(value).upright(STORED)
    assert np.array_equal(upright, expected)
    assert upright.flags.c_contiguous


@pytest.mark.parametrize("value", [0, 9, -1])
def test_there_is_no_ninth_orientation(value: int) -> None:
    with pytest.raises(KeyError):
        Orientation.of_exif(value)


@every_orientation
def test_stored_undoes_upright_in_colour_and_in_grey(value: int) -> None:
    orientation = Orientation.of_exif(value)
    upright = orientation.upright(STORED)
    assert np.array_equal(orientation.stored(upright), STORED)
    assert np.array_equal(orientation.stored(upright[..., 0]), STORED[..., 0])
    assert orientation.stored(upright).flags.c_contiguous


@every_orientation
def test_every_pixel_is_found_where_its_point_is_mapped_to(value: int) -> None:
    orientation = Orientation.of_exif(value)
    upright = orientation.upright(STORED)
    size = upright_size(upright)
    for y in range(HEIGHT):
        for x in range(WIDTH):
            place = place_of(STORED[y, x], upright)
            assert tuple(orientation.to_upright(np.array([x, y]), size)) == place
            assert tuple(orientation.to_stored(np.array(place), size)) == (x, y)


@every_orientation
def test_mapping_points_leaves_the_callers_array_alone(value: int) -> None:
    orientation = Orientation.of_exif(value)
    points = np.array([[1.0, 2.0], [3.0, 0.5]])
    for mapped in (orientation.to_upright(points, (5, 3)), orientation.to_stored(points, (5, 3))):
        mapped += 100
        assert np.array_equal(points, [[1.0, 2.0], [3.0, 0.5]])


@every_orientation
def test_a_box_covers_the_same_pixels_in_both_frames(value: int) -> None:
    orientation = Orientation.of_exif(value)
    upright = orientation.upright(STORED)
    box = FaceBox(1, 0, 2, 1)
    x, y, width, height = map(int, orientation.box_to_upright(box, upright_size(upright))[:4])
    covered = upright[y : y + height + 1, x : x + width + 1].reshape(-1, 3)
    assert sorted(covered.tolist()) == sorted(STORED[0:2, 1:4].reshape(-1, 3).tolist())


places = st.floats(-1000, 1000, allow_nan=False)


@given(
    st.sampled_from(range(1, 9)),
    st.lists(st.tuples(places, places), min_size=1, max_size=4),
    st.tuples(st.integers(1, 1000), st.integers(1, 1000)),
)
def test_points_survive_the_way_to_the_file_and_back(
    value: int, points: list[tuple[float, float]], size: tuple[int, int]
) -> None:
    orientation = Orientation.of_exif(value)
    returned = orientation.to_upright(orientation.to_stored(np.array(points), size), size)
    assert returned == pytest.approx(np.array(points), abs=1e-9)


@given(
    st.sampled_from(range(1, 9)),
    st.builds(FaceBox, *[places] * 2, *[st.floats(0, 1000)] * 2, st.floats(-360, 360)),
    st.tuples(st.integers(1, 1000), st.integers(1, 1000)),
)
def test_boxes_survive_the_way_to_the_file_and_back(
    value: int, box: FaceBox, size: tuple[int, int]
) -> None:
    orientation = Orientation.of_exif(value)
    stored = orientation.box_to_stored(box, size)
    assert orientation.box_to_upright(stored, size) == pytest.approx(box, abs=1e-9)
    sides = (stored.height, stored.width) if orientation.transpose else stored[2:4]
    assert sides == pytest.approx(box[2:4], abs=1e-9)
