"""A face of an evaluation set is known again however its photograph was copied; others are not."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data as pictures

from lwbafa.markups import MARKUP_68
from lwbafa.types import Pixels
from tests.conftest import ASTRONAUT_POINTS
from training.datasets import Face
from training.leaks import LeakGuard

CORNERS = MARKUP_68.outer_eye_corners

Landmarks = NDArray[np.float32]
Copy = Callable[[Pixels, Landmarks], tuple[Pixels, Landmarks]]


def halved(image: Pixels, points: Landmarks) -> tuple[Pixels, Landmarks]:
    half = cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    return half, (points + 0.5) / 2 - 0.5  # type: ignore[return-value]


def darkened(image: Pixels, points: Landmarks) -> tuple[Pixels, Landmarks]:
    return (255 * (0.6 * image / 255) ** 1.5).astype(np.uint8), points


def compressed(image: Pixels, points: Landmarks) -> tuple[Pixels, Landmarks]:
    jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 30])[1]
    return cv2.imdecode(jpeg, cv2.IMREAD_COLOR), points  # type: ignore[return-value]


def mirrored(image: Pixels, points: Landmarks) -> tuple[Pixels, Landmarks]:
    flipped = (points * [-1, 1] + [image.shape[1] - 1, 0]).astype(np.float32)
    return np.ascontiguousarray(image[:, ::-1]), flipped[list(MARKUP_68.flip)]


def turned(image: Pixels, points: Landmarks) -> tuple[Pixels, Landmarks]:
    turn = cv2.getRotationMatrix2D((225, 120), 20, 1.0)
    moved = cv2.warpAffine(image, turn, image.shape[1::-1])
    return moved, (points @ turn[:, :2].T + turn[:, 2]).astype(np.float32)  # type: ignore[return-value]


def all_at_once(image: Pixels, points: Landmarks) -> tuple[Pixels, Landmarks]:
    for copy in (halved, darkened, mirrored, compressed):
        image, points = copy(image, points)
    return image, points


@pytest.fixture(scope="module")
def face(astronaut: Pixels) -> Face:
    """The astronaut, of whose points the guard needs those that were placed by eye."""
    points = np.zeros((68, 2), np.float32)
    for index, point in ASTRONAUT_POINTS.items():
        points[index] = point
    return Face("set/astronaut", astronaut, points)


@pytest.fixture(scope="module")
def guard(face: Face) -> LeakGuard:
    return LeakGuard.of([(face, CORNERS)])


def others() -> list[Face]:
    """The hundred faces of a subset of LFW: 25 px wide, the eyes all in about one place."""
    points = np.zeros((68, 2), np.float32)
    points[list(CORNERS)] = (5.5, 8.5), (18.5, 8.5)
    greys = (255 * pictures.lfw_subset()[:100]).astype(np.uint8)
    return [
        Face(f"lfw/{number}", np.repeat(grey[..., None], 3, axis=2), points)
        for number, grey in enumerate(greys)
    ]


@pytest.mark.parametrize(
    "copy", [halved, darkened, compressed, mirrored, turned, all_at_once], ids=lambda c: c.__name__
)
@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_a_copy_whose_points_are_two_percent_off_is_known_again(
    copy: Copy, degrees: int, guard: LeakGuard, face: Face
) -> None:
    image, points = copy(face.image, face.landmarks)
    left, right = (points[i] for i in CORNERS)
    off = 0.02 * float(np.linalg.norm(right - left))
    angle = np.radians(degrees)
    moved = points + off * np.array([np.cos(angle), np.sin(angle)])
    assert guard.near(image, moved, CORNERS) == "set/astronaut"


@pytest.mark.parametrize("off", [(-0.05, 0), (0.05, 0), (0, -0.05), (0, 0.05)])
def test_eye_corners_that_are_off_in_opposite_ways_do_not_hide_it(
    off: tuple[float, float], guard: LeakGuard, face: Face
) -> None:
    """So that the square is too large, too small, or turned: what the displacements are for."""
    image, points = all_at_once(face.image, face.landmarks)
    left, right = CORNERS
    by = np.array(off, np.float32) * np.linalg.norm(points[right] - points[left])
    points[left] += by
    points[right] -= by
    assert guard.near(image, points, CORNERS) == "set/astronaut"


def test_small_faces_are_seldom_taken_for_one_another() -> None:
    """They share more than fine ones, as they have less detail: 16 of these are."""
    faces = others()
    taken = 0
    for face in faces:
        guard = LeakGuard.of([(other, CORNERS) for other in faces if other is not face])
        taken += guard.near(face.image, face.landmarks, CORNERS) is not None
    assert taken < 25


def test_other_faces_are_not_taken_for_it(guard: LeakGuard) -> None:
    taken = [o.name for o in others() if guard.near(o.image, o.landmarks, CORNERS)]
    assert taken == []


def test_the_name_is_that_of_the_very_face_among_many(face: Face) -> None:
    known = others()[::2]
    guard = LeakGuard.of([(other, CORNERS) for other in [*known, face]])
    assert guard.near(*all_at_once(face.image, face.landmarks), CORNERS) == face.name
    for other in known[::5]:
        image, points = mirrored(other.image, other.landmarks)
        assert guard.near(image, points, CORNERS) == other.name


def test_corners_of_another_markup_count(face: Face) -> None:
    few = face._replace(landmarks=face.landmarks[list(CORNERS)])
    guard = LeakGuard.of([(few, (0, 1))])
    assert guard.near(face.image, face.landmarks, CORNERS) == face.name


def test_without_evaluation_faces_none_is_near(face: Face) -> None:
    assert LeakGuard.of([]).near(face.image, face.landmarks, CORNERS) is None


def test_a_face_of_no_size_or_outside_the_photograph_is_nobodys(
    guard: LeakGuard, face: Face
) -> None:
    for points in (np.zeros((68, 2), np.float32), face.landmarks + 5000):
        assert guard.near(face.image, points, CORNERS) is None
