"""Annotated faces that are drawn: enough to train on where no photographs are at hand."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lwbafa.markups import MARKUPS

Landmarks = NDArray[np.float32]


def mean_face(landmark_count: int) -> Landmarks:
    """A symmetric face in [0, 1]: each group of a markup on an ellipse of its own."""
    (markup,) = (m for m in MARKUPS.values() if m.landmark_count == landmark_count)
    ellipses = {  # centre, half axes, first and last angle in degrees
        "jaw": ((0.5, 0.4), (0.4, 0.5), (180, 0)),
        "left_brow": ((0.3, 0.3), (0.13, 0.06), (180, 360)),
        "right_brow": ((0.7, 0.3), (0.13, 0.06), (180, 360)),
        "nose": ((0.5, 0.55), (0.08, 0.08), (270, 90)),
        "left_eye": ((0.32, 0.4), (0.08, 0.03), (180, 540)),
        "right_eye": ((0.68, 0.4), (0.08, 0.03), (180, 540)),
        "outer_lips": ((0.5, 0.75), (0.16, 0.07), (180, 540)),
        "inner_lips": ((0.5, 0.75), (0.12, 0.03), (180, 540)),
        "pupils": ((0.5, 0.4), (0.18, 0.0), (180, 0)),
    }
    points = np.zeros((landmark_count, 2), np.float32)
    for group, indices in markup.groups.items():
        center, axes, (first, last) = ellipses[group]
        closed = last - first == 360
        angles = np.radians(np.linspace(first, last, len(indices), endpoint=not closed))
        around = np.stack((np.cos(angles), np.sin(angles)), axis=1)
        points[list(indices)] = np.array(center) + np.array(axes) * around
    return points


def drawn_source(folder: Path, count: int, size_px: int = 96, landmark_count: int = 68) -> None:
    """Pictures of drawn faces in several places and sizes, each with a .pts beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for number in range(count):
        scale = size_px * rng.uniform(0.5, 0.6)
        left, top = rng.uniform(0.1, 0.3, 2) * size_px
        points = mean_face(landmark_count) * np.float32(scale)
        points += np.array([left, top], np.float32)
        image = np.full((size_px, size_px, 3), 40, np.uint8)
        for x, y in points.round().astype(int):
            cv2.circle(image, (int(x), int(y)), 1, (255, 255, 255), -1)
        cv2.imwrite(str(folder / f"{number}.png"), image)
        write_pts(folder / f"{number}.pts", points)


def write_pts(path: Path, points: Landmarks) -> None:
    """A .pts file, whose first pixel is 1."""
    lines = [f"{x + 1} {y + 1}" for x, y in points]
    path.write_text("\n".join(["version: 1", f"n_points: {len(points)}", "{", *lines, "}"]))


def write_list(path: Path, pictures: Sequence[str], landmarks: Sequence[Landmarks]) -> None:
    """A WFLW list, its pictures' paths from its own folder on."""
    lines = [
        f"{' '.join(map(str, points.ravel()))} 0 0 9 9 0 0 0 0 0 0 {picture}"
        for picture, points in zip(pictures, landmarks, strict=True)
    ]
    path.write_text("\n".join(lines) + "\n")
