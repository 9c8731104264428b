"""What the benches upload: a public photograph of one astronaut, in several sizes and formats."""

import io
import json
from typing import NamedTuple

import cv2
import numpy as np
import PIL.Image
import skimage.data

from lwbafa.checkpoint import Manifest
from lwbafa.imaging.crop import Crop
from lwbafa.imaging.orientation import Orientation
from lwbafa.types import FaceBox, Pixels
from proof.harness.image_files import exif

SIDE_PX = 512
FACE = FaceBox(181, 86, 88, 92)

PHONE_PX = (3024, 4032)
PHONE_EXIF_ORIENTATION = 6
# Enlarged, the picture is smooth: this much noise brings it to the size of a camera's JPEG.
PHONE_NOISE = 6.0


class Upload(NamedTuple):
    """The body of a request, its content type, and the `boxes` parameter of its face."""

    body: bytes
    headers: dict[str, str]
    boxes: dict[str, str]


def astronaut(
    side_px: int = SIDE_PX, format_name: str = "jpeg", height_share: float = 1.0
) -> Upload:
    """The photograph, encoded; `format_name` is jpeg, png or webp. The top 0.4 holds the face."""
    pixels = cv2.resize(photograph(), (side_px, side_px))[: round(side_px * height_share)]
    encoded, body = cv2.imencode(f".{format_name}", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    assert encoded
    return _upload(body.tobytes(), format_name, FACE, side_px / SIDE_PX)


def phone_photograph() -> Upload:
    """A made 12 MP photograph: the astronaut enlarged to a phone's upright frame, with noise.

    Stored lying on its side as phones do, EXIF orientation 6, JPEG of quality 90.
    """
    width, height = PHONE_PX
    scale = height / SIDE_PX
    left = (height - width) // 2
    enlarged = cv2.resize(photograph(), (height, height), interpolation=cv2.INTER_CUBIC)
    noise = np.random.default_rng(0).normal(0, PHONE_NOISE, (height, width, 1))
    upright = np.clip(enlarged[:, left : left + width] + noise, 0, 255).astype(np.uint8)
    stored = Orientation.of_exif(PHONE_EXIF_ORIENTATION).stored(upright)
    body = io.BytesIO()
    PIL.Image.fromarray(stored).save(body, "JPEG", quality=90, exif=exif(PHONE_EXIF_ORIENTATION))
    return _upload(body.getvalue(), "jpeg", FACE._replace(x=FACE.x - left / scale), scale)


def astronaut_crop(manifest: Manifest) -> Pixels:
    """A checkpoint's input for the face."""
    crop = Crop.around(FACE, manifest.box_convention.crop_scale)
    return crop.cut(photograph(), manifest.input.size_px)


def photograph() -> Pixels:
    """The photograph itself: 512×512, RGB."""
    return np.ascontiguousarray(skimage.data.astronaut())


def _upload(body: bytes, format_name: str, face: FaceBox, scale: float) -> Upload:
    box = [value * scale for value in face]
    return Upload(body, {"Content-Type": f"image/{format_name}"}, {"boxes": json.dumps([box])})
