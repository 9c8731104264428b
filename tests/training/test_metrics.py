import numpy as np
import pytest

from lwbafa.markups import MARKUP_68, MARKUP_98
from training.metrics import auc, failure_rate, landmark_errors


def test_nme_by_hand() -> None:
    truth = np.zeros((68, 2))
    truth[45] = [50, 0]  # the outer eye corners are 50 apart
    points = truth.copy()
    points[0] += [3, 4]  # off by 5
    points[8] += [0, 12]  # off by 12
    errors = landmark_errors(points, truth, MARKUP_68)
    assert errors[[0, 1, 8]] == pytest.approx([0.1, 0, 0.24])
    assert errors.mean() == pytest.approx((5 + 12) / 68 / 50)


def test_wflw_is_normalised_by_its_own_eye_corners() -> None:
    truth = np.zeros((98, 2))
    truth[72] = [0, 20]
    errors = landmark_errors(truth + np.array([3, 4]), truth, MARKUP_98)
    assert errors == pytest.approx(np.full(98, 5 / 20))


def test_failure_rate_and_auc_by_hand() -> None:
    errors = [0.0, 0.05, 0.1, 0.2]
    assert failure_rate(errors) == 0.25
    assert auc(errors) == pytest.approx((1 + 0.5 + 0 + 0) / 4)


def test_auc_is_the_area_under_the_curve() -> None:
    errors = np.random.default_rng(0).gamma(4, 0.015, 500)
    thresholds = np.linspace(0, 0.1, 20001)
    share = (errors[None] <= thresholds[:, None]).mean(axis=1)
    assert auc(list(errors)) == pytest.approx(share.mean(), abs=1e-3)
