"""Whether scores are what they say: of points scored 0.8, eight in ten should be right.

Scores are …×N, NaN for points without one, which do not count; `right` says which points were.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from tabulate import tabulate

from lwbafa.calibration import RIGHT_WITHIN
from lwbafa.markups import Markup

BINS = 10
FEWEST_IN_A_BIN = 50
"""A bin of fewer points says too little to be drawn."""


class Bin(NamedTuple):
    """The points whose scores lie between two tenths."""

    points: int
    mean_score: float
    share_right: float


class Judged(NamedTuple):
    """All faces measured from boxes of one kind: scores F×N, and which points were right F×N."""

    box: str
    scores: NDArray[np.float32]
    right: NDArray[np.bool_]


def bins(scores: NDArray[np.float32], right: NDArray[np.bool_]) -> list[Bin]:
    """Points by their scores, in ten bins of equal width, without the empty ones."""
    scored = np.isfinite(scores)
    scores, right = scores[scored], right[scored]
    which = np.minimum((scores * BINS).astype(int), BINS - 1)
    inside = [which == number for number in range(BINS)]
    return [
        Bin(int(some.sum()), float(scores[some].mean()), float(right[some].mean()))
        for some in inside
        if some.any()
    ]


def calibration_error(scores: NDArray[np.float32], right: NDArray[np.bool_]) -> float:
    """The expected calibration error: the bins' |mean score − share right|, by their points."""
    found = bins(scores, right)
    off = [b.points * abs(b.mean_score - b.share_right) for b in found]
    return sum(off) / max(sum(b.points for b in found), 1)


def group_calibration_error(judged: Judged, markup: Markup) -> float:
    """The same within each group of landmarks, averaged: errors of two groups cannot cancel."""
    groups = [list(indices) for indices in markup.groups.values()]
    scored = [g for g in groups if np.isfinite(judged.scores[:, g]).any()]
    return float(
        np.mean([calibration_error(judged.scores[:, g], judged.right[:, g]) for g in scored])
    )


def brier(scores: NDArray[np.float32], right: NDArray[np.bool_]) -> float:
    """The mean squared difference of a score from 1 where the point was right, from 0 else."""
    return float(np.nanmean((scores - right) ** 2))


def ranking(scores: NDArray[np.float32], right: NDArray[np.bool_]) -> float:
    """How often a right point has a higher score than a wrong one: the area under the ROC."""
    scored = np.isfinite(scores)
    scores, right = scores[scored], right[scored]
    positive, negative = scores[right], np.sort(scores[~right])
    if not (len(positive) and len(negative)):
        return float("nan")
    below = np.searchsorted(negative, positive, "left") + np.searchsorted(
        negative, positive, "right"
    )
    return float(below.mean() / (2 * len(negative)))


def table(rows: Mapping[str, Sequence[Judged]], markup: Markup) -> str:
    """What each kind of score is worth, by box."""
    lines = [
        (
            name,
            j.box,
            len(j.scores),
            calibration_error(j.scores, j.right),
            group_calibration_error(j, markup),
            brier(j.scores, j.right),
            ranking(j.scores, j.right),
        )
        for name, some in rows.items()
        for j in some
    ]
    headers = ("scores", "box", "faces", "ECE", "ECE within groups", "Brier", "AUC")
    return tabulate(lines, headers, floatfmt=".3f")


def draw_reliability(panels: Mapping[str, Judged], markup: Markup, title: str, path: Path) -> None:
    """The share of right points against the score, as a picture: a panel for each kind of score.

    Each group of landmarks has a line of its own, since errors of two groups may cancel.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5 * len(panels), 5.2), layout="constrained")
    figure.suptitle(title)
    for axes, (name, some) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        error = calibration_error(some.scores, some.right)
        within = group_calibration_error(some, markup)
        axes.set_title(f"{name}: ECE {error:.3f}, within groups {within:.3f}")
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xlabel="mean of the bin")
        axes.plot([0, 1], [0, 1], color="grey", linestyle=":")
        for group, indices in markup.groups.items():
            drawn = [
                b
                for b in bins(some.scores[:, list(indices)], some.right[:, list(indices)])
                if b.points >= FEWEST_IN_A_BIN
            ]
            means, shares = [b.mean_score for b in drawn], [b.share_right for b in drawn]
            axes.plot(means, shares, marker="o", label=group.replace("_", " "))
        axes.grid(alpha=0.3)
    axes.legend(loc="upper left")
    figure.supylabel(
        f"share of points within {100 * RIGHT_WITHIN:g} % of the inter-ocular distance"
    )
    figure.savefig(path, dpi=80)
