"""Face detectors: whole photographs in, face boxes out.

A detector returns boxes in the network's convention, the landmarks' bounding box (see
`lwbafa.imaging.crop`), whatever its own boxes look like.
"""

from typing import NamedTuple, Protocol

from lwbafa.types import FaceBox, Pixels


class Detection(NamedTuple):
    """A face found: its box in image pixels and the detector's confidence, 0 to 1."""

    box: FaceBox
    score: float


class FaceDetector(Protocol):
    """Finds faces. Must be safe to call from several threads at once."""

    @property
    def longest_side_px(self) -> int:
        """Pictures longer than this are shrunk to it: finer ones are of no use."""
        ...

    def detect(self, image: Pixels) -> list[Detection]:
        """All faces of an upright RGB image H×W×3, in any order."""
        ...
