"""What is found where one look does not do: faces that fill the picture, and turned ones."""

import cv2
import numpy as np
import pytest

from lwbafa.aligner import FaceAligner
from lwbafa.detection import Detection
from lwbafa.detection.choose import DetectorOptions
from lwbafa.detection.search import FaceSearch
from lwbafa.engine.choose import EngineOptions
from lwbafa.face import AlignedFace
from lwbafa.imaging.crop import Crop
from lwbafa.types import FaceBox, Pixels

OUTER_EYE_CORNERS = 36, 45


@pytest.fixture(scope="module")
def aligner() -> FaceAligner:
    return FaceAligner.load(engine=EngineOptions(engine="openvino", threads=1))


@pytest.fixture(scope="module")
def upright(aligner: FaceAligner, astronaut: Pixels) -> AlignedFace:
    (face,) = aligner.align(astronaut)
    return face


def apart_percent(found: AlignedFace, expected: np.ndarray) -> float:
    """The mean distance of the points, over that of the outer eye corners."""
    left, right = expected[list(OUTER_EYE_CORNERS)]
    apart = np.linalg.norm(found.landmarks - expected, axis=1).mean()
    return float(100 * apart / np.linalg.norm(left - right))


@pytest.mark.parametrize("degrees", [*range(-165, 181, 15)])
def test_a_face_is_found_however_it_is_turned(
    aligner: FaceAligner, upright: AlignedFace, astronaut: Pixels, degrees: int
) -> None:
    seen = Crop(255.5, 255.5, 720, -degrees)
    (face,) = aligner.align(seen.cut(astronaut, 720))
    expected = seen.from_image(upright.landmarks) * 720 - 0.5
    assert apart_percent(face, expected) < 2.5
    assert abs((face.box.roll_degrees - degrees + 180) % 360 - 180) <= 47
    if abs(degrees) <= 15:
        assert face.box.roll_degrees == 0


@pytest.mark.parametrize("times", [0.9, 1.0, 1.1, 1.25])
def test_one_face_is_found_where_it_fills_the_picture(
    aligner: FaceAligner, upright: AlignedFace, astronaut: Pixels, times: float
) -> None:
    left, top, right, bottom = FaceBox.around(upright.landmarks).bounds
    side = (right - left) / times
    seen = Crop((left + right) / 2, (top + bottom) / 2, side)
    (face,) = aligner.align(seen.cut(astronaut, 800))
    assert apart_percent(face, seen.from_image(upright.landmarks) * 800 - 0.5) < 5


def test_a_turned_face_among_upright_ones_is_found_as_such(
    aligner: FaceAligner, astronaut: Pixels
) -> None:
    portrait = astronaut[:300, 60:360]
    row = np.hstack([portrait, cv2.rotate(portrait, cv2.ROTATE_180), portrait])
    faces = sorted(aligner.align(row), key=lambda face: face.box.x)
    turns = [abs(round(face.box.roll_degrees)) for face in faces]
    assert turns[0] == turns[2] == 0
    assert turns[1] == pytest.approx(180, abs=25)


class OnlyUnder:
    """A detector that sees one face, of a tenth of the picture or more, if it is small enough."""

    longest_side_px, clear_score = 640, 0.5

    def __init__(self) -> None:
        self.looks = 0

    def detect(self, image: Pixels) -> list[Detection]:
        self.looks += 1
        columns = np.flatnonzero(image[len(image) // 2, :, 0] > 100)
        if not 10 < len(columns) < 200:
            return []
        left, right = float(columns[0]), float(columns[-1])
        return [Detection(FaceBox(left, left, right - left, right - left), 0.9)]


def test_what_is_found_from_afar_lies_in_the_picture_that_was_given() -> None:
    white = np.full((600, 600, 3), 255, np.uint8)
    (face,) = FaceSearch(OnlyUnder()).detect(white)
    assert face.box[:4] == pytest.approx((0, 0, 600, 600), abs=12)
    assert face.box.roll_degrees == 0


class OnlyNear(OnlyUnder):
    """One that sees faces from a distance at which much of them is in its picture, and no less."""

    def detect(self, image: Pixels) -> list[Detection]:
        seen = super().detect(image)
        return [face for face in seen if face.box.width > 0.5 * len(image)]


def test_what_is_too_small_from_afar_is_found_nearer() -> None:
    white = np.full((600, 600, 3), 255, np.uint8)
    detector = OnlyNear()
    (face,) = FaceSearch(detector).detect(white)
    assert face.box[:4] == pytest.approx((0, 0, 600, 600), abs=12)
    assert face.box.roll_degrees == 0
    assert detector.looks == 3


def test_a_clear_face_costs_one_look() -> None:
    detector = OnlyUnder()
    picture = np.zeros((600, 600, 3), np.uint8)
    picture[:, 250:350] = 255
    (face,) = FaceSearch(detector).detect(picture)
    assert detector.looks == 1
    assert face.box.width == 99


@pytest.mark.parametrize("name", ["centerface", "yunet"])
def test_nothing_is_found_where_nothing_is(name: str) -> None:
    aligner = FaceAligner.load(
        detector=DetectorOptions(name), engine=EngineOptions(engine="openvino", threads=1)
    )
    rng = np.random.default_rng(0)
    for picture in np.zeros((1, 1, 3), np.uint8), rng.integers(0, 256, (300, 400, 3), np.uint8):
        assert aligner.align(picture) == []
