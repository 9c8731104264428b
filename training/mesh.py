"""MediaPipe's 478 points of a face, beside those that people annotated."""

from collections.abc import Sequence

import numpy as np

from lwbafa.types import FaceBox, Points
from training.datasets import Face
from training.errors import DatasetError
from training.evaluate import LEAST_OVERLAP, overlap
from training.linear_map import LinearMap
from training.worker import Worker


def fitted_map(mediapipe: Worker, faces: Sequence[Face]) -> LinearMap:
    """The map from MediaPipe's points to those of annotated faces.

    Raises DatasetError if MediaPipe finds too few of them.
    """
    found = mediapipe.find_all([face.image for face in faces])
    pairs = [
        (mesh, face.landmarks)
        for face, meshes in zip(faces, found, strict=True)
        if (mesh := on_face(meshes, face)) is not None
    ]
    if len(pairs) < 2:
        raise DatasetError(f"MediaPipe found {len(pairs)} of the {len(faces)} true faces")
    meshes, landmarks = (np.stack(points) for points in zip(*pairs, strict=True))
    return LinearMap.fit(meshes, landmarks)


def on_face(candidates: Sequence[Points], face: Face) -> Points | None:
    """Of the faces found in a picture, the one that lies on an annotated face."""
    best = max(candidates, key=lambda c: overlap(FaceBox.around(c), face.box), default=None)
    if best is None or overlap(FaceBox.around(best), face.box) <= LEAST_OVERLAP:
        return None
    return best
