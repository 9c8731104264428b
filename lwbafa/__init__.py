"""LW-BAFA face alignment: 68 or 98 scored facial landmarks for every face in a photograph.

    from lwbafa import FaceAligner

    aligner = FaceAligner.load("lwbafa-300w68")
    for face in aligner.align("portrait.jpg"):
        print(face.landmarks.shape, face.score, face.group("left_eye"))

No HTTP, no event loop, no environment variables: the service in `app` stands on this.
"""

from lwbafa.aligner import FaceAligner
from lwbafa.checkpoint import Checkpoint
from lwbafa.detection.choose import DetectorOptions
from lwbafa.engine.choose import EngineOptions
from lwbafa.errors import LwbafaError
from lwbafa.face import AlignedFace, draw_faces
from lwbafa.markups import MARKUPS, Markup
from lwbafa.types import FaceBox

__all__ = [
    "MARKUPS",
    "AlignedFace",
    "Checkpoint",
    "DetectorOptions",
    "EngineOptions",
    "FaceAligner",
    "FaceBox",
    "LwbafaError",
    "Markup",
    "draw_faces",
]
