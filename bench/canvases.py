"""Pictures whose faces are known: training faces, scaled and turned, laid over a canvas.

Photographs of things under the faces are harder than life (a head cut out and stuck on a
motorcycle), grey is easier: the truth lies between the two.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np
import skimage.data
from numpy.typing import NDArray

from lwbafa.types import FaceBox, Pixels
from training.datasets import Face

CANVAS_PX = 640
LARGEST_SHRUNK_PX = 128
"""The faces of 300-W are 85 to 160 px high: beyond this, most are enlarged."""

GREY = (127, 127, 127)
PHOTOGRAPHS: dict[str, Callable[[], NDArray[np.uint8]]] = {
    "coffee": skimage.data.coffee,
    "rocket": skimage.data.rocket,
    "motorcycle": lambda: skimage.data.stereo_motorcycle()[0],
    "cat": skimage.data.chelsea,
    "galaxies": skimage.data.hubble_deep_field,
    "tissue": skimage.data.immunohistochemistry,
    "retina": skimage.data.retina,
    "clock": skimage.data.clock,
    "page": skimage.data.page,
    "gravel": skimage.data.gravel,
    "grass": skimage.data.grass,
}
"""Photographs of nobody, by what they show."""

Background = Callable[[np.random.Generator], Pixels]


class Canvas(NamedTuple):
    """Pixels, where the faces are, and the rectangles that were pasted with them."""

    image: Pixels
    faces: list[FaceBox]
    pasted: list[FaceBox]


def clutter(random: np.random.Generator) -> Pixels:
    """Part of a photograph of things with edges and depth."""
    names = ("coffee", "rocket", "motorcycle")
    return part_of(names[random.integers(len(names))], random)


def grey(_: np.random.Generator) -> Pixels:
    """Nothing at all."""
    return np.full((CANVAS_PX, CANVAS_PX, 3), GREY, np.uint8)


def part_of(name: str, random: np.random.Generator) -> Pixels:
    """A canvas cut from one of PHOTOGRAPHS, mirrored or not."""
    photograph = PHOTOGRAPHS[name]()
    if photograph.ndim == 2:
        photograph = np.stack([photograph] * 3, axis=2)
    height, width = photograph.shape[:2]
    side = int(min(height, width) * random.uniform(0.6, 1))
    top, left = random.integers(height - side + 1), random.integers(width - side + 1)
    cut = photograph[top : top + side, left : left + side]
    if random.random() < 0.5:
        cut = cut[:, ::-1]
    return cv2.resize(np.ascontiguousarray(cut), (CANVAS_PX, CANVAS_PX))  # type: ignore[return-value]


def canvases(
    faces: Sequence[Face], height: int, background: Background, seed: int
) -> Iterator[Canvas]:
    """The faces at one height on canvases: several small ones on each, large ones alone."""
    random = np.random.default_rng(seed)
    cells = 3 if height <= 48 else 2 if height <= LARGEST_SHRUNK_PX else 1
    for start in range(0, len(faces), cells**2):
        canvas = Canvas(background(random), [], [])
        for index, face in enumerate(faces[start : start + cells**2]):
            cell, (row, column) = CANVAS_PX // cells, divmod(index, cells)
            pasted_into(canvas, face, height, (column * cell, row * cell, cell, cell), random)
        yield canvas


def turned(face: Face, degrees: float) -> Face:
    """A face turned clockwise about its middle, on grey where its picture ends."""
    box = face.box
    middle = (box.x + box.width / 2, box.y + box.height / 2)
    height, width = face.image.shape[:2]
    matrix = cv2.getRotationMatrix2D(middle, -degrees, 1)
    image = cv2.warpAffine(face.image, matrix, (width, height), borderValue=GREY)
    landmarks = face.landmarks @ matrix[:, :2].T + matrix[:, 2]
    return face._replace(image=image, landmarks=landmarks.astype(np.float32))  # type: ignore[arg-type]


def pasted_into(
    canvas: Canvas,
    face: Face,
    height: int,
    cell: tuple[int, int, int, int],
    random: np.random.Generator,
) -> None:
    """Lay a face's crop, scaled to a box's height, into a cell (left, top, width, height).

    What reaches past the cell is cut.
    """
    scale = height / face.box.height
    picture_height, picture_width = (max(1, round(s * scale)) for s in face.image.shape[:2])
    # The service shrinks photographs the same way.
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    picture = cv2.resize(face.image, (picture_width, picture_height), interpolation=how)
    across = np.array([picture_width, picture_height]) / face.image.shape[1::-1]
    scaled = FaceBox.around((face.landmarks + 0.5) * across - 0.5)
    cell_left, cell_top, cell_width, cell_height = cell
    left = cell_left + _offset(cell_width, picture_width, scaled.x, scaled.width, random)
    top = cell_top + _offset(cell_height, picture_height, scaled.y, scaled.height, random)
    from_x, to_x = max(left, cell_left), min(left + picture_width, cell_left + cell_width)
    from_y, to_y = max(top, cell_top), min(top + picture_height, cell_top + cell_height)
    canvas.image[from_y:to_y, from_x:to_x] = picture[
        from_y - top : to_y - top, from_x - left : to_x - left
    ]
    canvas.faces.append(scaled._replace(x=scaled.x + left, y=scaled.y + top))
    canvas.pasted.append(FaceBox(from_x, from_y, to_x - from_x, to_y - from_y))


def _offset(
    cell: int, picture: int, start: float, length: float, random: np.random.Generator
) -> int:
    """Where a picture begins in its cell: anywhere it fits, else with the face in the middle."""
    if picture <= cell:
        return int(random.integers(cell - picture + 1))
    return round((cell - length) / 2 - start)
