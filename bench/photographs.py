"""What the benches upload: a public photograph of one astronaut, in several sizes and formats."""

import json
from typing import NamedTuple

import cv2
import skimage.data

from app.imaging.crop import Crop, FaceBox, Image
from app.lwbafa import INPUT_PX

SIDE_PX = 512
FACE = FaceBox(181, 86, 88, 92)


class Upload(NamedTuple):
    """The body of a request, its content type, and the `boxes` parameter that fits it."""

    body: bytes
    headers: dict[str, str]
    boxes: dict[str, str]


def astronaut(side_px: int = SIDE_PX, format_name: str = "jpeg") -> Upload:
    """The photograph, encoded; `format_name` is jpeg, png or webp."""
    pixels = cv2.resize(_photograph(), (side_px, side_px))
    encoded, body = cv2.imencode(f".{format_name}", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    assert encoded
    box = [value * side_px / SIDE_PX for value in FACE]
    return Upload(
        body.tobytes(), {"Content-Type": f"image/{format_name}"}, {"boxes": json.dumps([box])}
    )


def astronaut_crop() -> Image:
    """The network's input for the face."""
    return Crop.around(FACE).cut(_photograph(), INPUT_PX)


def _photograph() -> Image:
    return skimage.data.astronaut()  # type: ignore[no-any-return]
