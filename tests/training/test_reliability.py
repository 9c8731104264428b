from pathlib import Path

import cv2
import numpy as np
import pytest

from lwbafa.markups import MARKUP_68
from training.reliability import (
    Judged,
    bins,
    brier,
    calibration_error,
    draw_reliability,
    group_calibration_error,
    ranking,
    table,
)

SCORES = np.array([0.05, 0.05, 0.95, 0.95, 1.0, np.nan], np.float32)
RIGHT = np.array([False, True, True, True, False, True])


def test_the_error_by_hand_and_points_without_a_score_do_not_count() -> None:
    low, high = bins(SCORES, RIGHT)
    assert (low.points, high.points) == (2, 3)
    assert (low.share_right, high.share_right) == pytest.approx((0.5, 2 / 3))
    error = (2 * (0.5 - 0.05) + 3 * ((0.95 + 0.95 + 1) / 3 - 2 / 3)) / 5
    assert calibration_error(SCORES, RIGHT) == pytest.approx(error, abs=1e-6)
    squares = [0.05**2, 0.95**2, 0.05**2, 0.05**2, 1]
    assert brier(SCORES, RIGHT) == pytest.approx(np.mean(squares), abs=1e-6)


def test_the_ranking_counts_pairs_and_ties_by_half() -> None:
    scores = np.array([0.2, 0.5, 0.5, 0.9], np.float32)
    right = np.array([False, False, True, True])
    assert ranking(scores, right) == pytest.approx((1 + 1 + 1 + 0.5) / 4)
    assert np.isnan(ranking(scores, np.ones(4, bool)))


def faces(jaw: float, eyes: float) -> Judged:
    """Every point scored 0.5; so many of the jaw's and of the other points are right."""
    right = np.random.default_rng(0).random((500, 68)) < eyes
    right[:, :17] = np.random.default_rng(1).random((500, 17)) < jaw
    return Judged("any", np.full((500, 68), 0.5, np.float32), right)


def test_groups_that_cancel_are_found_out() -> None:
    # 17 points too rarely right and 51 too often: a third as much.
    cancelling = faces(jaw=0.2, eyes=0.6)
    assert calibration_error(cancelling.scores, cancelling.right) < 0.01
    assert group_calibration_error(cancelling, MARKUP_68) > 0.1
    (row,) = table({"scores": [cancelling]}, MARKUP_68).splitlines()[2:]
    assert row.split()[:3] == ["scores", "any", "500"]


def test_the_diagram_is_a_picture(tmp_path: Path) -> None:
    path = tmp_path / "diagram.png"
    draw_reliability({"map": faces(0.2, 0.6), "score": faces(0.5, 0.5)}, MARKUP_68, "any", path)
    assert cv2.imread(str(path)) is not None
