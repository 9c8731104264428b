"""One-Euro filter: still points stand still, fast ones do not lag (Casiez et al., CHI 2012)."""

import math

import numpy as np
from numpy.typing import NDArray

SPEED_CUTOFF_HZ = 1.0
"""The paper's own, for the speed itself."""


class OneEuro:
    """Smooths N×2 points that move on.

    The cutoff is `min_cutoff` + `beta` × speed, in Hz; the speed is each point's own, in units of
    `scale` a second, so that a face is smoothed alike near and far.
    """

    def __init__(self, min_cutoff: float, beta: float) -> None:
        self._min_cutoff = min_cutoff
        self._beta = beta
        self._points: NDArray[np.float64] | None = None
        self._speed: NDArray[np.float64] | None = None
        self._time_s = 0.0

    def __call__(
        self, points: NDArray[np.float64], time_s: float, scale: float
    ) -> NDArray[np.float64]:
        """The points N×2 smoothed; `time_s` comes after that of the call before."""
        if self._points is None or self._speed is None:
            smooth, speed = points.copy(), np.zeros_like(points)
        else:
            passed_s = time_s - self._time_s
            share = _share(np.array(SPEED_CUTOFF_HZ), passed_s)
            now = (points - self._points) / (scale * passed_s)
            speed = self._speed + share * (now - self._speed)
            cutoff = self._min_cutoff + self._beta * np.linalg.norm(speed, axis=1, keepdims=True)
            smooth = self._points + _share(cutoff, passed_s) * (points - self._points)
        self._points, self._speed, self._time_s = smooth, speed, time_s
        return smooth


def _share(cutoff_hz: NDArray[np.float64], passed_s: float) -> NDArray[np.float64]:
    """How much of the new value a low-pass filter takes."""
    turn = 2 * math.pi * cutoff_hz * passed_s
    return np.asarray(turn / (turn + 1))
