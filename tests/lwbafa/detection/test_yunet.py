from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage import data

from lwbafa.detection.choose import DetectorOptions
from lwbafa.detection.yunet import FILE, SCORE_THRESHOLD, YuNet, create
from lwbafa.errors import LoadError
from lwbafa.types import FaceBox, Pixels
from tests.conftest import FACE_DATA, needs_face_data
from training.datasets import load_faces
from training.evaluate import detected_box


@pytest.fixture(scope="module")
def detector() -> YuNet:
    return create(DetectorOptions("yunet"))


def test_the_network_is_read_as_opencv_reads_it(detector: YuNet, astronaut: Pixels) -> None:
    # Sides that are multiples of 32, which neither of the two pads or stretches.
    cut = np.ascontiguousarray(astronaut[:384, 32:448])
    height, width = cut.shape[:2]
    opencv = cv2.FaceDetectorYN.create(str(FILE), "", (width, height), SCORE_THRESHOLD, 1.0)
    _, expected = opencv.detect(cv2.cvtColor(cut, cv2.COLOR_RGB2BGR))
    raw = detector.raw_faces(cut)
    found = np.column_stack((raw.boxes, raw.points.reshape(-1, 10), raw.scores))
    assert len(found) > 5
    assert _sorted(found) == pytest.approx(_sorted(expected), abs=0.01)


def test_the_one_face_is_found_in_the_landmarks_convention(
    detector: YuNet, astronaut: Pixels
) -> None:
    (found,) = detector.detect(astronaut)
    # Brows to chin, ear to ear, as seen by eye; a hairline-to-chin box would begin near y = 63.
    assert found.box == pytest.approx(FaceBox(181, 88, 88, 90), abs=6)
    assert found.score > 0.8


def test_a_large_photograph_is_answered_in_its_own_pixels(
    detector: YuNet, astronaut: Pixels
) -> None:
    (small,) = detector.detect(astronaut)
    large = cv2.resize(astronaut, (2048, 2048))
    (found,) = detector.detect(np.ascontiguousarray(large))
    assert found.box == pytest.approx([4 * value for value in small.box], abs=16)


@pytest.mark.parametrize("shape", [(1, 1), (1, 3000), (3000, 1), (33, 65), (7, 500)])
def test_odd_shapes_have_no_face_and_do_no_harm(detector: YuNet, shape: tuple[int, int]) -> None:
    assert detector.detect(np.zeros((*shape, 3), np.uint8)) == []


def test_no_face_where_there_is_none(detector: YuNet) -> None:
    assert detector.detect(data.coffee()) == []


def test_threads_get_the_same_answer(detector: YuNet, astronaut: Pixels) -> None:
    expected = detector.detect(astronaut)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(detector.detect, [astronaut] * 12))
    assert all(answer == expected for answer in answers)


def test_a_missing_or_foreign_file_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="is missing"):
        YuNet(tmp_path / "none.onnx", 640, 0.5)
    (tmp_path / "other.onnx").write_bytes(b"not the one")
    with pytest.raises(LoadError, match="sha256"):
        YuNet(tmp_path / "other.onnx", 640, 0.5)


@needs_face_data
def test_every_labelled_face_of_a_sample_is_found(detector: YuNet) -> None:
    faces = load_faces(FACE_DATA, ["300w/helen/testset"], 68)[::8]
    missed = [face.name for face in faces if detected_box(face, detector) is None]
    assert missed == []


def _sorted(faces: np.ndarray) -> np.ndarray:
    return faces[np.lexsort(faces.T)]
