"""Where a head is turned to, from landmarks and a fixed mean face."""

from typing import NamedTuple

import numpy as np

from lwbafa.markups import MARKUP_68, MARKUP_98, WFLW_AS_68, Markup
from lwbafa.types import Points


class Pose(NamedTuple):
    """A head's angles in degrees.

    `pitch` is positive where the face looks up, `yaw` where it looks to the image's right, `roll`
    where the head is turned clockwise in the image.
    """

    pitch: float
    yaw: float
    roll: float


MEAN_FACE = np.array(
    [
        (-0.665, -0.475, 0.205),
        (-0.563, -0.56, 0.114),
        (-0.422, -0.587, 0.033),
        (-0.275, -0.568, -0.035),
        (-0.135, -0.516, -0.085),
        (0.135, -0.516, -0.085),
        (0.275, -0.568, -0.035),
        (0.422, -0.587, 0.033),
        (0.563, -0.56, 0.114),
        (0.665, -0.475, 0.205),
        (0, -0.346, -0.084),
        (0, -0.21, -0.151),
        (0, -0.074, -0.226),
        (0, 0.064, -0.3),
        (-0.167, 0.159, -0.103),
        (-0.087, 0.187, -0.136),
        (0, 0.212, -0.154),
        (0.087, 0.187, -0.136),
        (0.167, 0.159, -0.103),
        (-0.5, -0.322, 0.145),
        (-0.413, -0.371, 0.1),
        (-0.306, -0.37, 0.082),
        (-0.216, -0.306, 0.081),
        (-0.314, -0.286, 0.084),
        (-0.418, -0.287, 0.104),
        (0.216, -0.306, 0.081),
        (0.306, -0.37, 0.082),
        (0.413, -0.371, 0.1),
        (0.5, -0.322, 0.145),
        (0.418, -0.287, 0.104),
        (0.314, -0.286, 0.084),
        (-0.316, 0.422, 0.124),
        (-0.201, 0.37, -0.013),
        (-0.082, 0.345, -0.091),
        (0, 0.364, -0.1),
        (0.082, 0.345, -0.091),
        (0.201, 0.37, -0.013),
        (0.316, 0.422, 0.124),
        (0.206, 0.529, 0.03),
        (0.09, 0.576, -0.033),
        (0, 0.584, -0.043),
        (-0.09, 0.576, -0.033),
        (-0.206, 0.529, 0.03),
        (-0.267, 0.427, 0.102),
        (-0.083, 0.416, -0.066),
        (0, 0.423, -0.078),
        (0.083, 0.416, -0.066),
        (0.267, 0.427, 0.102),
        (0.085, 0.47, -0.046),
        (0, 0.479, -0.057),
        (-0.085, 0.47, -0.046),
    ]
)
"""Brows, nose, eyes and lips of the 68 points in three dimensions, 51×3.

The unit is the distance of the outer eye corners; x runs to the image's right, y down, z away from
the viewer. It is the rigid shape whose scaled projections lie nearest to some 6,500 training faces
and their mirror images. The jaw is left out: its points slide along the skin as the head turns.
"""

INNER_POINTS = {
    MARKUP_68.name: tuple(range(17, 68)),
    MARKUP_98.name: WFLW_AS_68[17:],
}
"""The landmarks of a markup that `MEAN_FACE` has."""

_FITTING = np.linalg.pinv(MEAN_FACE - MEAN_FACE.mean(axis=0))


def head_pose(points: Points, markup: Markup) -> Pose:
    """The pose in which the mean face comes nearest to one face's points N×2.

    The projection is a scaled orthographic one. Turning the image adds to `roll` alone; mirroring
    it changes the signs of `yaw` and `roll`. Raises KeyError for a markup without `INNER_POINTS`.
    """
    inner = np.asarray(points, np.float64)[list(INNER_POINTS[markup.name])]
    affine = (_FITTING @ (inner - inner.mean(axis=0))).T
    left, _, right = np.linalg.svd(affine, full_matrices=False)
    across, down = left @ right
    away = np.cross(across, down)
    # The rotation's rows are across, down and away: first pitch, then yaw, then roll.
    pitch = -np.arctan2(away[1], away[2])
    yaw = np.arcsin(np.clip(away[0], -1, 1))
    roll = np.arctan2(down[0], across[0])
    return Pose(*(float(angle) for angle in np.degrees((pitch, yaw, roll))))
