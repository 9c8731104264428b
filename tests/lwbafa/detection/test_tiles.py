"""Small faces in large pictures: seen whole, and only once, however tiles cut the picture."""

from itertools import pairwise

import cv2
import numpy as np
import pytest

from lwbafa.detection.choose import create_detector
from lwbafa.detection.search import FaceSearch
from lwbafa.detection.tiles import OVERLAP, tiles
from lwbafa.types import FaceBox, Pixels

ASTRONAUT_BOX = FaceBox(181, 86, 88, 92)


@pytest.fixture(scope="module")
def search() -> FaceSearch:
    return create_detector()


def crowd(astronaut: Pixels, places: list[tuple[int, int, int]], size: tuple[int, int]) -> Pixels:
    """A grey picture of a size with heads of some width at places (middles)."""
    picture = np.full((size[1], size[0], 3), 127, np.uint8)
    head = astronaut[10:230, 110:340]
    for x, y, width in places:
        height = round(width * len(head) / head.shape[1])
        small = cv2.resize(head, (width, height), interpolation=cv2.INTER_AREA)
        left, top = x - width // 2, y - height // 2
        picture[top : top + height, left : left + width] = small
    return picture


@pytest.mark.parametrize("size", [(960, 960), (961, 640), (4000, 3000), (700, 3840)])
def test_tiles_cover_the_picture_and_overlap(size: tuple[int, int]) -> None:
    width, height = size
    seen = np.zeros((height, width), int)
    corners = set()
    for tile, (left, top) in tiles(np.zeros((height, width, 3), np.uint8), 960):
        assert tile.shape[:2] == (min(960, height), min(960, width))
        seen[top : top + tile.shape[0], left : left + tile.shape[1]] += 1
        corners.add((left, top))
    assert seen.min() >= 1
    for axis in 0, 1:
        starts = sorted({corner[axis] for corner in corners})
        assert all(b - a <= (1 - OVERLAP) * 960 + 1 for a, b in pairwise(starts))


def test_small_faces_of_a_large_picture_are_found_once(
    search: FaceSearch, astronaut: Pixels
) -> None:
    rng = np.random.default_rng(0)
    grid = [(x, y) for x in range(200, 3900, 500) for y in range(200, 2900, 500)]
    places = [(x, y, int(rng.integers(60, 200))) for x, y in grid]
    picture = crowd(astronaut, places, (4000, 3000))
    assert len(search.detect(picture)) < 0.7 * len(places)
    faces = [face.box for face in search.detect(picture, detection_px=search.finest_px)]
    assert len(faces) == len(places)
    middles = np.array([face.center for face in faces])
    for x, y, width in places:
        assert np.hypot(*(middles - (x, y)).T).min() < 0.2 * width


def test_a_face_between_two_tiles_is_found_once(search: FaceSearch, astronaut: Pixels) -> None:
    for x in range(700, 1001, 37):
        picture = crowd(astronaut, [(x, 500, 150)], (1800, 1000))
        (face,) = search.detect(picture, detection_px=1800)
        assert abs(face.box.center[0] - x) < 20


def test_large_faces_are_as_a_whole_look_shows_them(search: FaceSearch, astronaut: Pixels) -> None:
    large = cv2.resize(astronaut, (3000, 3000), interpolation=cv2.INTER_LINEAR)
    (whole,) = search.detect(large)  # type: ignore[arg-type]
    (fine,) = search.detect(large, detection_px=3000)  # type: ignore[arg-type]
    assert whole.box.share_of_smaller(fine.box) > 0.9


def test_a_coarser_look_answers_in_the_pictures_own_pixels(
    search: FaceSearch, astronaut: Pixels
) -> None:
    (coarse,) = search.detect(astronaut, detection_px=200)
    assert coarse.box.share_of_smaller(ASTRONAUT_BOX) > 0.8
    assert coarse.points is not None
    left_eye, right_eye = coarse.points[:2]
    assert right_eye[0] - left_eye[0] == pytest.approx(45, abs=12)
    (own,) = search.detect(astronaut)
    assert coarse.box != own.box  # it did look otherwise


def test_what_is_finer_than_the_detector_can_is_refused(
    search: FaceSearch, astronaut: Pixels
) -> None:
    for wrong in 0, search.finest_px + 1:
        with pytest.raises(ValueError, match="detection_px is 1 to 3840"):
            search.detect(astronaut, detection_px=wrong)
