"""From one set of landmarks to another by a linear map, fitted on faces that have both.

MediaPipe's 478 points become a markup's so. Both are seen in the eyes' frame: the origin is the
mean of the points, the unit the distance of the outer eye corners, which lie level.
"""

from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from lwbafa.types import Points

OUTER_EYE_CORNERS = (33, 263)
"""Of MediaPipe's face mesh."""

RIDGE = 0.1
OUTLIER = 0.12
"""Mean distance, in the frame's unit, above which a face is not fitted on: mostly a wrong label."""


class LinearMap(NamedTuple):
    """`weights` (2M + 1)×2N take M points and a constant to N points, in the eyes' frame."""

    weights: NDArray[np.float64]

    @classmethod
    def fit(cls, meshes: Points, landmarks: Points) -> Self:
        """The map that fits K faces best: meshes K×M×2 and landmarks K×N×2 in pixels.

        Ridge regression, a second time without the faces that the first one is far off. Raises
        ValueError if a mesh has too few points, or there are fewer than two faces.
        """
        if meshes.shape[1] <= max(OUTER_EYE_CORNERS) or len(meshes) < 2:
            raise ValueError("a map is fitted on at least two faces of MediaPipe's points")
        frames = [_eye_frame(mesh) for mesh in meshes]
        sources = np.stack([_features(f.into(m)) for f, m in zip(frames, meshes, strict=True)])
        targets = np.stack([f.into(p).ravel() for f, p in zip(frames, landmarks, strict=True)])
        weights = _ridge(sources, targets)
        off = (sources @ weights - targets).reshape(len(targets), -1, 2)
        kept = np.linalg.norm(off, axis=2).mean(axis=1) < OUTLIER
        return cls(_ridge(sources[kept], targets[kept]) if kept.sum() > 1 else weights)

    def points(self, mesh: Points) -> NDArray[np.float64]:
        """N×2 points in pixels, of a mesh M×2."""
        frame = _eye_frame(mesh)
        return frame.out_of((_features(frame.into(mesh)) @ self.weights).reshape(-1, 2))


class _EyeFrame(NamedTuple):
    origin: NDArray[np.float64]
    axes: NDArray[np.float64]
    """Rows: the frame's x and y axis, in pixels."""

    def into(self, points: Points) -> NDArray[np.float64]:
        return np.asarray((points - self.origin) @ np.linalg.inv(self.axes))

    def out_of(self, points: Points) -> NDArray[np.float64]:
        return np.asarray(points @ self.axes + self.origin)


def _eye_frame(mesh: Points) -> _EyeFrame:
    left, right = (mesh[i] for i in OUTER_EYE_CORNERS)
    dx, dy = right - left
    return _EyeFrame(mesh.mean(axis=0), np.array([[dx, dy], [-dy, dx]], np.float64))


def _features(mesh: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.append(mesh.ravel(), 1.0)


def _ridge(sources: NDArray[np.float64], targets: NDArray[np.float64]) -> NDArray[np.float64]:
    penalty = RIDGE * np.eye(sources.shape[1])
    penalty[-1, -1] = 0  # the constant may be as large as it must
    return np.asarray(np.linalg.solve(sources.T @ sources + penalty, sources.T @ targets))
