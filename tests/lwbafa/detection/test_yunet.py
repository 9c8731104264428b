import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from lwbafa.detection import network
from lwbafa.detection.choose import DetectorOptions
from lwbafa.detection.yunet import FILE, SCORE_THRESHOLD, create
from lwbafa.types import Pixels


def test_the_network_is_read_as_opencv_reads_it(
    astronaut: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As OpenCV does, in single precision on every CPU.
    monkeypatch.setitem(network.OPTIONS, "INFERENCE_PRECISION_HINT", "f32")
    # Sides that are multiples of 32, which neither of the two pads or stretches.
    picture = np.ascontiguousarray(astronaut[:384, 32:448])
    height, width = picture.shape[:2]
    # Without suppression: every cell that has seen a face.
    opencv = cv2.FaceDetectorYN.create(str(FILE), "", (width, height), SCORE_THRESHOLD, 1.0)
    _, expected = opencv.detect(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    raw = create(DetectorOptions("yunet")).raw_faces(picture)
    found = np.column_stack((raw.boxes, raw.points.reshape(-1, 10), raw.scores))
    assert len(found) > 3
    assert _sorted(found) == pytest.approx(_sorted(np.asarray(expected, np.float32)), abs=0.01)


def _sorted(faces: NDArray[np.float32]) -> NDArray[np.float32]:
    return faces[np.argsort(faces[:, 0])]
