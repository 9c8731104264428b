"""What is told of a face: exact for faces that are made by hand, steady for a real one."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from lwbafa.aligner import FaceAligner
from lwbafa.engine.choose import EngineOptions
from lwbafa.face import AlignedFace
from lwbafa.imaging.crop import Crop
from lwbafa.markups import MARKUP_68, MARKUP_98, MARKUPS, WFLW_AS_68, Markup
from lwbafa.measures.chips import TEMPLATES, chip_crop, chip_matrix, five_points
from lwbafa.measures.pose import MEAN_FACE, head_pose
from lwbafa.measures.quality import quality
from lwbafa.types import Pixels

CHIP_APART_PX = 0.5
POSES = [(0, 0, 0), (10, 0, 0), (0, 25, 0), (0, 0, 40), (-20, 35, -30), (15, -50, 170)]


@pytest.fixture(scope="module")
def aligner() -> FaceAligner:
    return FaceAligner.load(engine=EngineOptions(engine="openvino", threads=1))


@pytest.fixture(scope="module")
def face(aligner: FaceAligner, astronaut: Pixels) -> AlignedFace:
    (found,) = aligner.align(astronaut)
    return found


def rotation(pitch: float, yaw: float, roll: float) -> NDArray[np.float64]:
    """Of a head that looks up, to the image's right, and is turned clockwise."""
    p, y, r = np.radians([-pitch, -yaw, roll])
    up = [[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]]
    aside = [[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]]
    around = [[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]]
    return np.asarray(np.array(around) @ aside @ up)


def posed(markup: Markup, angles: tuple[float, float, float]) -> NDArray[np.float64]:
    """The mean face's landmarks so turned, 80 px between the eyes; the jaw is anywhere."""
    points = np.full((markup.landmark_count, 2), 7.0)
    inner = [*range(17, 68)] if markup is MARKUP_68 else [*WFLW_AS_68[17:]]
    points[inner] = 80 * (MEAN_FACE @ rotation(*angles).T)[:, :2] + [300, 200]
    return points


@pytest.mark.parametrize("markup", [MARKUP_68, MARKUP_98], ids=lambda m: m.name)
@pytest.mark.parametrize("angles", POSES)
def test_the_mean_faces_own_pose_is_told(
    markup: Markup, angles: tuple[float, float, float]
) -> None:
    assert head_pose(posed(markup, angles), markup) == pytest.approx(angles, abs=0.01)


def test_a_face_that_looks_up_shows_its_nose_higher() -> None:
    level, up = (posed(MARKUP_68, (pitch, 0, 0)) for pitch in (0, 20))
    assert up[30, 1] - up[36, 1] < level[30, 1] - level[36, 1] - 5
    right = posed(MARKUP_68, (0, 20, 0))
    assert right[30, 0] > level[30, 0] + 5


def test_turning_a_picture_turns_the_roll_alone_and_a_mirror_changes_signs(
    face: AlignedFace, astronaut: Pixels
) -> None:
    pose = face.pose
    assert abs(pose.roll) < 15
    assert abs(pose.yaw) < 30
    turned = Crop(255.5, 255.5, 512, -70).from_image(face.landmarks) * 512 - 0.5
    assert head_pose(turned, MARKUP_68) == pytest.approx(
        (pose.pitch, pose.yaw, pose.roll + 70), abs=1e-6
    )
    mirrored = (face.landmarks * [-1, 1])[list(MARKUP_68.flip)]
    assert head_pose(mirrored, MARKUP_68) == pytest.approx(
        (pose.pitch, -pose.yaw, -pose.roll), abs=0.01
    )


def test_a_mirrored_photograph_has_the_mirrored_pose(
    aligner: FaceAligner, face: AlignedFace, astronaut: Pixels
) -> None:
    (other,) = aligner.align(np.ascontiguousarray(astronaut[:, ::-1]))
    assert other.pose.pitch == pytest.approx(face.pose.pitch, abs=4)
    assert other.pose.yaw == pytest.approx(-face.pose.yaw, abs=4)
    assert other.pose.roll == pytest.approx(-face.pose.roll, abs=2)


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("degrees", [0, 33, 180])
def test_a_chip_brings_the_template_where_it_belongs(name: str, degrees: int) -> None:
    template = TEMPLATES[name]
    placed = Crop(400, 300, 250, degrees)
    points = (np.array(template.points) + 0.5) / template.size_px
    five = placed.to_image(points)
    crop = chip_crop(five, template)
    matrix = chip_matrix(crop, template.size_px)
    on_chip = np.column_stack((five, np.ones(5))) @ matrix.T
    assert on_chip == pytest.approx(np.array(template.points), abs=1e-6)
    assert crop.side == pytest.approx(250)


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_chips_pixels_are_where_its_matrix_says(
    face: AlignedFace, astronaut: Pixels, name: str
) -> None:
    template = TEMPLATES[name]
    chip = face.chip(astronaut, name)
    assert chip.shape == (template.size_px, template.size_px, 3)
    crop = chip_crop(face.five, template)
    matrix = chip_matrix(crop, template.size_px)
    warped = cv2.warpAffine(astronaut, matrix, (template.size_px, template.size_px))
    assert np.abs(chip.astype(int) - warped).mean() < 3
    # No similarity brings a real face nearer to the template.
    on_chip = np.column_stack((face.five, np.ones(5))) @ matrix.T
    best = np.abs(on_chip - template.points).mean()
    for moved in (crop._replace(side=crop.side * 1.03), crop._replace(degrees=crop.degrees + 2)):
        other = np.column_stack((face.five, np.ones(5))) @ chip_matrix(moved, template.size_px).T
        assert ((other - template.points) ** 2).sum() > ((on_chip - template.points) ** 2).sum()
    assert best < 0.06 * template.size_px


def test_the_five_points_of_a_chip_are_found_again_where_they_were_put(
    aligner: FaceAligner, face: AlignedFace, astronaut: Pixels
) -> None:
    template = TEMPLATES["ffhq-512"]
    matrix = chip_matrix(chip_crop(face.five, template), template.size_px)
    expected = np.column_stack((face.five, np.ones(5))) @ matrix.T
    (again,) = aligner.align(face.chip(astronaut, "ffhq-512"))
    apart = np.linalg.norm(again.five - expected, axis=1).mean()
    assert apart < 0.03 * np.linalg.norm(expected[0] - expected[1])


@pytest.mark.parametrize("markup", MARKUPS.values(), ids=lambda m: m.name)
def test_the_five_points_are_the_images_left_first(markup: Markup) -> None:
    five = five_points(posed(markup, (0, 0, 0)), markup)
    assert five[0, 0] < five[1, 0]
    assert five[3, 0] < five[4, 0]
    assert five[0, 1] < five[2, 1] < five[3, 1]


def test_quality_falls_with_blur_and_dark_and_the_pictures_edge(
    face: AlignedFace, astronaut: Pixels
) -> None:
    sharp = face.quality
    blur = np.asarray(cv2.GaussianBlur(face.pixels, (0, 0), 4), np.uint8)
    blurred = quality(blur, face.landmarks, (512, 512))
    dark = quality((face.pixels // 2).astype(np.uint8), face.landmarks, (512, 512))
    assert blurred.sharpness < 0.5 * sharp.sharpness
    assert dark.brightness < 0.51 * sharp.brightness
    assert dark.sharpness == pytest.approx(sharp.sharpness, rel=0.2)
    assert sharp.inside == 1
    assert quality(face.pixels, face.landmarks, (220, 512)).inside == pytest.approx(0.5, abs=0.2)
    assert sharp.face_px == pytest.approx(np.ptp(face.landmarks, axis=0).max())


def test_openings_are_those_of_an_open_face(face: AlignedFace) -> None:
    assert 0.15 < face.openings.left_eye < 0.45
    assert 0.15 < face.openings.right_eye < 0.45
    assert 0 <= face.openings.mouth < 1


def test_points_that_fell_together_have_a_chip_without_a_turn() -> None:
    template = TEMPLATES["arcface-112"]
    crop = chip_crop(np.full((5, 2), 10.1), template)
    assert np.isfinite(crop).all()
    assert (crop.center_x, crop.center_y, crop.degrees) == pytest.approx((10.1, 10.1, 0))
    assert np.isfinite(chip_matrix(crop, template.size_px)).all()
