"""The field's measures of landmark accuracy; points are N×2 in any unit, errors are fractions."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lwbafa.markups import Markup
from lwbafa.types import Points

FAILURE_NME = 0.10


def landmark_errors(points: Points, truth: Points, markup: Markup) -> NDArray[np.float64]:
    """Each landmark's distance to the truth over the distance of the outer eye corners: N.

    Their mean is the face's NME. The paper's equation (4) squares the norm as printed; every peer
    does not, nor do we.
    """
    left, right = markup.outer_eye_corners
    interocular = np.linalg.norm(truth[left] - truth[right])
    return np.asarray(np.linalg.norm(points - truth, axis=1) / interocular)


def failure_rate(errors: Sequence[float]) -> float:
    """Share of faces whose NME is above 10 %."""
    return float((np.asarray(errors) > FAILURE_NME).mean())


def auc(errors: Sequence[float]) -> float:
    """Area under the cumulative error curve up to 10 %, as a share of all there is."""
    return float(np.maximum(0, 1 - np.asarray(errors) / FAILURE_NME).mean())
