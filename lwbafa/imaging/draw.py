"""Pictures for people: a heatmap as a PNG, and a photograph with its landmarks over it."""

import base64
from collections.abc import Mapping, Sequence
from itertools import cycle

import cv2
import numpy as np
from numpy.typing import NDArray

from lwbafa.imaging.crop import Crop
from lwbafa.types import Pixels, Points

HEATMAP_PNG_PX = 256
PICTURE_SMALLEST_PX, PICTURE_LARGEST_PX = 1024, 2048
HEAT_COLOR = np.array([255, 80, 0], np.float32)
GROUP_COLORS = (
    *((255, 255, 255), (255, 221, 87), (255, 221, 87), (120, 220, 255), (96, 255, 128)),
    *((96, 255, 128), (255, 140, 200), (255, 190, 230), (0, 255, 255)),
)


DrawnFace = tuple[Crop, Points, NDArray[np.uint8], Mapping[str, Sequence[int]]]
"""Crop, landmarks N×2, merged heatmap (all in the photograph's pixels), and the markup's groups."""


def heatmap_image(heatmap: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A merged heatmap enlarged to 256×256 grey, 255 where the network is certain."""
    size = (HEATMAP_PNG_PX, HEATMAP_PNG_PX)
    return cv2.resize(heatmap, size, interpolation=cv2.INTER_CUBIC)  # type: ignore[return-value]


def leveled(crop: Crop, heatmap: NDArray[np.uint8]) -> tuple[Crop, NDArray[np.uint8]]:
    """A turned crop and its heatmap as the upright square around it, black in the corners."""
    if not crop.degrees:
        return crop, heatmap
    angle, side = np.deg2rad(crop.degrees), len(heatmap)
    wider = float(abs(np.cos(angle)) + abs(np.sin(angle)))
    middle = (side - 1) / 2
    square = Crop(middle, middle, side * wider, -crop.degrees)
    around = square.cut(heatmap, round(side * wider))
    return crop._replace(side=crop.side * wider, degrees=0.0), around


def png(image: NDArray[np.uint8]) -> bytes:
    """Encode grey H×W or RGB H×W×3 as PNG."""
    pixels = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
    return cv2.imencode(".png", pixels)[1].tobytes()


def png_base64(image: NDArray[np.uint8]) -> str:
    """The same as text, for JSON."""
    return base64.b64encode(png(image)).decode()


def annotated(photograph: Pixels, faces: Sequence[DrawnFace]) -> Pixels:
    """The photograph, 1024 to 2048 px long, with heatmaps and landmarks drawn over it.

    `photograph` is left as it is.
    """
    height, width = photograph.shape[:2]
    longest = max(height, width)
    scale = float(np.clip(longest, PICTURE_SMALLEST_PX, PICTURE_LARGEST_PX)) / longest
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    canvas: Pixels = cv2.resize(photograph, size, interpolation=method)  # type: ignore[assignment]
    for crop, points, heatmap, groups in faces:
        on_canvas = Crop(
            (crop.center_x + 0.5) * scale - 0.5,
            (crop.center_y + 0.5) * scale - 0.5,
            crop.side * scale,
            crop.degrees,
        )
        _blend_heat(canvas, *leveled(on_canvas, heatmap))
        _draw_landmarks(canvas, (points + 0.5) * scale - 0.5, on_canvas.side, groups)
    return canvas


def _blend_heat(canvas: Pixels, crop: Crop, heatmap: NDArray[np.uint8]) -> None:
    """Colour the crop's part of the canvas by the heatmap, as opaque as the network is certain."""
    left, top = crop.center_x - crop.side / 2, crop.center_y - crop.side / 2
    first_x, first_y = max(0, int(left)), max(0, int(top))
    under = canvas[first_y : int(top + crop.side) + 1, first_x : int(left + crop.side) + 1]
    if not under.size:
        return
    scale = crop.side / heatmap.shape[0]
    offset_x, offset_y = left - first_x + scale / 2, top - first_y + scale / 2
    to_canvas = np.array([[scale, 0, offset_x], [0, scale, offset_y]])
    heat = cv2.warpAffine(heatmap, to_canvas, under.shape[1::-1], flags=cv2.INTER_LINEAR)
    alpha = heat[..., None].astype(np.float32) * (0.6 / 255)
    under[:] = under + (HEAT_COLOR - under) * alpha


def _draw_landmarks(
    canvas: Pixels, points: Points, side: float, groups: Mapping[str, Sequence[int]]
) -> None:
    radius = max(1.0, side / 180)
    shift = 4
    for color, indices in zip(cycle(GROUP_COLORS), groups.values(), strict=False):
        for x, y in points[list(indices)]:
            center = (round(x * 2**shift), round(y * 2**shift))
            for reach, ink in ((radius * 1.5, (0, 0, 0)), (radius, color)):
                reach_fixed = round(reach * 2**shift)
                cv2.circle(canvas, center, reach_fixed, ink, -1, cv2.LINE_AA, shift)
