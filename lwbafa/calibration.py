"""From the boundary map's value at a point to the probability that the point is right.

A map's value alone says little: 0.75 is a good value on the jaw and a bad one on an eye, yet jaw
points are off far more often. So each landmark has its own bias; the point's value and the mean of
the face's values shift it. `python -m training calibrate` fits the numbers for a checkpoint.
"""

from typing import Annotated, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

RIGHT_WITHIN = 0.05
"""A point is right if it lies within this share of the inter-ocular distance of the truth."""

LEAST_VALUE = 0.01
"""Map values are kept this far from 0 and 1, whose logits are infinite."""

Finite = Annotated[float, Field(allow_inf_nan=False)]
Rising = Annotated[float, Field(allow_inf_nan=False, ge=0)]
"""A slope: a higher map value never makes a point less likely to be right."""


class Reliability(BaseModel):
    """How far scores were from what they say, on faces that the fit has not seen."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset: str
    box: str = Field(description="Where the crop's box came from: landmarks or detector")
    engine: str
    faces: int
    expected_calibration_error: float = Field(description="Over ten bins of equal width")
    brier: float = Field(description="Mean squared difference of a score from 0 or 1")


class Evidence(NamedTuple):
    """What a face's map values tell: each point's logit …×N, 0 where it has none, and the mean …×1.

    The mean is of the values themselves.
    """

    logits: NDArray[np.float64]
    mean: NDArray[np.float64]

    @classmethod
    def of(cls, map_values: NDArray[np.float32]) -> "Evidence":
        """Of values …×N, NaN for points on no boundary."""
        values = map_values.astype(np.float64)
        inside = np.clip(values, LEAST_VALUE, 1 - LEAST_VALUE)
        logits = np.nan_to_num(np.log(inside / (1 - inside)), nan=0.0)
        return cls(logits, np.nanmean(values, axis=-1, keepdims=True))


class Calibration(BaseModel):
    """The numbers that make map values probabilities, for the weights they were fitted on.

    logit p = bias of the landmark + slope · logit(map value) + mean_slope · mean of the face's.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    weights_sha256: str = Field(description="Of the weights; for others the numbers do not hold")
    fitted_on: str
    slope: Rising
    mean_slope: Rising
    biases: tuple[Finite, ...] = Field(description="One for each landmark")
    reliability: tuple[Reliability, ...] = ()

    def probabilities(self, map_values: NDArray[np.float32]) -> NDArray[np.float32]:
        """The probability that each point is right: …×N from map values …×N.

        A point on no boundary has one too, from its bias and the face's mean.
        """
        evidence = Evidence.of(map_values)
        own = np.array(self.biases) + self.slope * evidence.logits
        logits = own + self.mean_slope * evidence.mean
        return (1 / (1 + np.exp(-logits))).astype(np.float32)
