"""A face as plain values, ready for JSON: the same from the library and from the client."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lwbafa.types import FaceBox


def plain_face(
    box: FaceBox,
    box_score: float | None,
    score: float,
    landmarks: NDArray[np.float64],
    scores: NDArray[np.float32],
) -> dict[str, Any]:
    """`box`, `score` and `landmarks` (N×2, with `scores` N); scores that are NaN become None."""
    return {
        "box": {**box._asdict(), "score": box_score},
        "score": _defined(score),
        "landmarks": [
            {"x": x, "y": y, "score": _defined(score)}
            for (x, y), score in zip(landmarks.tolist(), scores.tolist(), strict=True)
        ],
    }


def _defined(score: float) -> float | None:
    return None if math.isnan(score) else score
