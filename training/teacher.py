"""Two opinions on where a face's landmarks are: MediaPipe's through a linear map, and our own."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lwbafa.aligner import FaceAligner
from lwbafa.imaging.crop import Crop
from lwbafa.types import FaceBox, Pixels, Points
from training.linear_map import LinearMap
from training.metrics import landmark_errors


class View(NamedTuple):
    """One way to look at a face: shifted, in crops' sides, scaled, and mirrored or not."""

    shift: float
    scale: float
    mirrored: bool


VIEWS = (View(0, 1, False), View(0, 1, True), View(0.02, 1.05, False), View(-0.02, 0.95, True))


class Opinion(NamedTuple):
    """A face's points N×2 in pixels, the mean of both, and how far apart the two are.

    `disagreement` is their mean distance over that of the outer eye corners.
    """

    points: NDArray[np.float64]
    disagreement: float


class Teacher:
    """A linear map of MediaPipe's points, and a checkpoint of the same markup."""

    def __init__(self, linear_map: LinearMap, aligner: FaceAligner) -> None:
        self._map, self._aligner = linear_map, aligner
        self._markup = aligner.checkpoint.markup
        self._input_px = aligner.checkpoint.manifest.input.size_px
        self._crop_scale = aligner.checkpoint.manifest.box_convention.crop_scale

    def opinions(self, picture: Pixels, meshes: Sequence[Points]) -> list[Opinion]:
        """One for each of a picture's meshes 478×2."""
        return [self._opinion(picture, self._map.points(mesh)) for mesh in meshes]

    def _opinion(self, picture: Pixels, mapped: NDArray[np.float64]) -> Opinion:
        answered = self._answered(picture, Crop.around(FaceBox.around(mapped), self._crop_scale))
        mean = (mapped + answered) / 2
        errors = landmark_errors(mapped, mean, self._markup)
        return Opinion(mean, 2 * float(errors.mean()))

    def _answered(self, picture: Pixels, crop: Crop) -> NDArray[np.float64]:
        """Our network's points, the mean over the views."""
        crops, pixels = [], []
        for shift, scale, mirrored in VIEWS:
            moved = crop._replace(
                center_x=crop.center_x + shift * crop.side, side=crop.side * scale
            )
            seen = moved.cut(picture, self._input_px)
            crops.append(moved)
            pixels.append(np.ascontiguousarray(seen[:, ::-1]) if mirrored else seen)
        points = []
        for moved, view, alignment in zip(
            crops, VIEWS, self._aligner.engine.align(pixels), strict=True
        ):
            found = np.asarray(alignment.points, np.float64)
            if view.mirrored:
                found = found[list(self._markup.flip)] * [-1, 1] + [1, 0]
            points.append(moved.to_image(found))
        return np.asarray(np.mean(points, axis=0))
