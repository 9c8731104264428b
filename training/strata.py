"""Accuracy by what makes faces hard: closed eyes, open mouths, turned and bent heads.

Openings and angles are computed from landmarks alone, so they are the same for the truth and for an
answer, and need no further annotation.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from tabulate import tabulate

from lwbafa.markups import Markup
from lwbafa.measures.openings import PLACES, eye_opening, mouth_opening
from lwbafa.types import Points

CLOSED_EYES = 0.15
"""Eyes whose ratio is below this are closed."""

EYE_BINS = (0.0, CLOSED_EYES, 0.20, 0.25, 0.30, 0.35, np.inf)
MOUTH_BINS = (0.0, 0.05, 0.15, 0.30, 0.50, np.inf)
ROLL_BINS_DEGREES = (0.0, 5.0, 10.0, 20.0, 30.0, np.inf)
YAW_BINS = (0.0, 0.1, 0.2, 0.35, 0.5, np.inf)


def roll_degrees(points: Points, markup: Markup) -> float:
    """How far the line of the outer eye corners is turned clockwise, in degrees."""
    left, right = markup.outer_eye_corners
    dx, dy = points[right] - points[left]
    return float(np.degrees(np.arctan2(dy, dx)))


def yaw(points: Points, markup: Markup) -> float:
    """How far the tip of the nose lies from the middle of the eyes, along their line.

    In inter-ocular distances: 0 from the front, about 0.5 where the far eye begins to vanish. A
    proxy, since no angle is annotated.
    """
    left, right = (points[i] for i in markup.outer_eye_corners)
    axis = right - left
    nose = points[PLACES[markup.name].nose_tip] - (left + right) / 2
    return float(nose @ axis / max(axis @ axis, 1e-9))


def by_opening(truths: Sequence[Points], answers: Sequence[Points], markup: Markup) -> str:
    """Answered against true openings of eyes and mouths, by bins of the true one."""
    tables = []
    for name, measure, bins in (
        ("eye opening", eye_opening, EYE_BINS),
        ("mouth opening", mouth_opening, MOUTH_BINS),
    ):
        true = np.array([measure(points, markup) for points in truths])
        answered = np.array([measure(points, markup) for points in answers])
        rows = [
            (label, int(some.sum()), true[some].mean(), answered[some].mean())
            for label, some in _bins(true, bins)
        ]
        table = tabulate(rows, (name, "faces", "true mean", "answered mean"), floatfmt=".3f")
        correlation = float(np.corrcoef(true, answered)[0, 1]) if len(true) > 1 else float("nan")
        tables.append(f"{table}\ncorrelation of answered and true: {correlation:.3f}")
    return "\n\n".join(tables)


def by_pose(truths: Sequence[Points], errors: Sequence[float], markup: Markup) -> str:
    """NME in percent by the true roll and yaw."""
    nme = 100 * np.array(errors)
    tables = []
    for name, measure, bins in (
        ("roll, degrees", roll_degrees, ROLL_BINS_DEGREES),
        ("yaw, inter-ocular distances", yaw, YAW_BINS),
    ):
        true = np.abs([measure(points, markup) for points in truths])
        rows = [(label, int(some.sum()), nme[some].mean()) for label, some in _bins(true, bins)]
        tables.append(tabulate(rows, (name, "faces", "NME %"), floatfmt=".2f"))
    return "\n\n".join(tables)


def _bins(
    values: NDArray[np.float64], edges: Sequence[float]
) -> list[tuple[str, NDArray[np.bool_]]]:
    """The bins that hold a value: what each is called, and which values it holds."""
    found = []
    for low, high in pairwise(edges):
        inside = (values >= low) & (values < high)
        if inside.any():
            label = f"{low:g} and more" if np.isinf(high) else f"{low:g} to {high:g}"
            found.append((label, inside))
    return found
