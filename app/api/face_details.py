"""What an answer tells of a face beside its points, if it is asked for."""

import math
from collections.abc import Callable
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from app.api.schemas import Chip, Face, FacePose, FaceQuality, FaceQuery, Mask, Openings
from lwbafa.face import AlignedFace
from lwbafa.imaging.draw import png_base64
from lwbafa.imaging.photograph import Frame, Photograph
from lwbafa.measures.chips import TEMPLATES, chip_crop, chip_matrix
from lwbafa.types import FaceBox, Pixels

Measure = TypeVar("Measure")


def details(
    face: AlignedFace, photograph: Photograph, query: FaceQuery, chip: Pixels | None
) -> dict[str, Any]:
    """The fields of `Face` that the query asks for; None where the markup does not tell them.

    Pose, openings, quality and chips are of the upright photograph whatever the frame.
    """
    asked: dict[str, Any] = {}
    if query.pose:
        asked["pose"] = _told(lambda: FacePose(**_rounded(face.pose, 2)))
    if query.openings:
        asked["openings"] = _told(lambda: Openings(**_rounded(face.openings, 4)))
    if query.quality:
        asked["quality"] = FaceQuality(**_rounded(face.quality, 4))
    if query.five:
        asked["five"] = _told(lambda: _five(face, photograph, query.frame))
    if query.chip and chip is not None:
        asked["chip"] = _chip(face, query.chip, chip)
    if query.mask:
        asked["mask"] = _mask(face, photograph, query.frame)
    if query.map_values:
        asked["map_values"] = rounded_scores(face.map_values)
    return asked


def rounded_scores(values: NDArray[np.float32]) -> list[float | None]:
    """Four digits of scores or map values; None for those that are not defined."""
    rounded: list[float] = np.round(values.astype(float), 4).tolist()
    return [None if math.isnan(value) else value for value in rounded]


def _told(measure: Callable[[], Measure]) -> Measure | None:
    try:
        return measure()
    except KeyError:
        return None


def _five(face: AlignedFace, photograph: Photograph, frame: Frame) -> list[tuple[float, float]]:
    five = photograph.points_from_upright(face.five, frame)
    return [(round(x, 3), round(y, 3)) for x, y in five.tolist()]


def _rounded(values: Any, digits: int) -> dict[str, float]:
    return {name: round(value, digits) for name, value in values._asdict().items()}


def _chip(face: AlignedFace, name: str, pixels: Pixels) -> Chip:
    template = TEMPLATES[name]
    matrix = chip_matrix(chip_crop(face.five, template), template.size_px)
    return Chip(
        template=name,
        width=template.size_px,
        height=template.size_px,
        matrix=[[round(value, 6) for value in row] for row in matrix.tolist()],
        png_base64=png_base64(pixels),
    )


def _mask(face: AlignedFace, photograph: Photograph, frame: Frame) -> Mask:
    """The hull of the landmarks, as a picture of its bounds within the frame: a pixel at least."""
    width, height = photograph.size(frame)
    points = photograph.points_from_upright(face.landmarks, frame)
    left, top, right, bottom = FaceBox.around(points).bounds
    x, y = int(np.clip(round(left), 0, width - 1)), int(np.clip(round(top), 0, height - 1))
    to_x, to_y = (
        int(np.clip(round(right) + 1, x + 1, width)),
        int(np.clip(round(bottom) + 1, y + 1, height)),
    )
    mask = np.zeros((to_y - y, to_x - x), np.uint8)
    hull = cv2.convexHull(np.round(points - [x, y]).astype(np.int32))
    cv2.fillConvexPoly(mask, hull, 255)
    return Mask(
        x=x,
        y=y,
        width=to_x - x,
        height=to_y - y,
        png_base64=png_base64(mask),
    )


def normalized(face: Face, width: int, height: int) -> Face:
    """A face whose places are shares of the picture's sides: 0 and 1 are its outer edges."""

    def x(value: float) -> float:
        return round((value + 0.5) / width, 6)

    def y(value: float) -> float:
        return round((value + 0.5) / height, 6)

    def box(of: Any) -> Any:
        size = {"width": round(of.width / width, 6), "height": round(of.height / height, 6)}
        return of.model_copy(update={"x": x(of.x), "y": y(of.y), **size})

    changed: dict[str, Any] = {
        "box": box(face.box),
        "landmarks": [
            point.model_copy(update={"x": x(point.x), "y": y(point.y)}) for point in face.landmarks
        ],
    }
    if face.five:
        changed["five"] = [(x(px), y(py)) for px, py in face.five]
    if face.heatmap:
        changed["heatmap"] = face.heatmap.model_copy(update={"box": box(face.heatmap.box)})
    return face.model_copy(update=changed)
