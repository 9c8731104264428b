"""The made photographs are what they say, and their boxes lie on the face."""

import json

import cv2
import numpy as np

from lwbafa.detection.choose import create_detector
from lwbafa.imaging.header import ImageLimits, read_header
from lwbafa.types import FaceBox
from proof.harness.photographs import PHONE_PX, Upload, astronaut, phone_photograph
from training.evaluate import overlap


def box_is_on_the_only_face(upload: Upload) -> bool:
    """As the service sees the upload, EXIF applied."""
    image = cv2.imdecode(np.frombuffer(upload.body, np.uint8), cv2.IMREAD_COLOR_RGB)
    (box,) = json.loads(upload.boxes["boxes"])
    (found,) = create_detector().detect(image)  # type: ignore[arg-type]
    return overlap(FaceBox(*box), found.box) > 0.7


def test_the_phones_photograph() -> None:
    upload = phone_photograph()
    header = read_header(upload.body, ImageLimits())
    assert (header.width, header.height) == PHONE_PX[::-1]
    assert header.orientation == 6
    assert 2e6 < len(upload.body) < 6e6
    assert box_is_on_the_only_face(upload)


def test_the_small_photograph_in_another_size() -> None:
    assert box_is_on_the_only_face(astronaut(1024, "webp"))
