"""Which detector finds the faces."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from lwbafa.detection import FaceDetector
from lwbafa.detection.search import FaceSearch
from lwbafa.errors import LoadError

DETECTORS: Mapping[str, str] = {
    "centerface": "lwbafa.detection.centerface",
    "yunet": "lwbafa.detection.yunet",
}
"""The detectors, and the modules whose `create(options)` makes them.

A module's `SCORE_THRESHOLD` is the least confidence, 0 to 1, that its detector asks of a face.
"""


@dataclass(frozen=True)
class DetectorOptions:
    """What is asked of a detector.

    `file` is its network, None for the model store's. Photographs are shrunk to `longest_side_px`
    before they are searched; faces below `score_threshold` (0 to 1) are dropped. None for either
    is the detector's own. While one photograph is searched at a time, `threads` of the CPU work on
    it, 0 for all that are granted; several have one each.
    """

    detector: str = "yunet"
    file: Path | None = None
    longest_side_px: int | None = None
    score_threshold: float | None = None
    threads: int = 0


def create_detector(options: DetectorOptions = DetectorOptions()) -> FaceSearch:
    """The detector that the options name, which looks again where it must. Raises LoadError."""
    if options.detector not in DETECTORS:
        there = ", ".join(DETECTORS)
        raise LoadError(f"there is no detector {options.detector}; there are: {there}")
    create: Callable[[DetectorOptions], FaceDetector]
    create = import_module(DETECTORS[options.detector]).create
    return FaceSearch(create(options))
