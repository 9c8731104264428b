"""LW-BAFA face alignment: 68 or 98 scored facial landmarks for every face in a photograph.

    from lwbafa import FaceAligner

    aligner = FaceAligner.load()
    for face in aligner.align("portrait.jpg"):
        print(face.landmarks.shape, face.score, face.group("left_eye"))

No HTTP, no event loop, no environment variables: the service in `app` stands on this. Only
`Client` and `AsyncClient`, for users of that service, speak HTTP.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lwbafa.aligner import FaceAligner as FaceAligner
    from lwbafa.checkpoint import Checkpoint as Checkpoint
    from lwbafa.client import AsyncClient as AsyncClient
    from lwbafa.client import Client as Client
    from lwbafa.detection.choose import DetectorOptions as DetectorOptions
    from lwbafa.engine.choose import EngineOptions as EngineOptions
    from lwbafa.errors import LwbafaError as LwbafaError
    from lwbafa.face import AlignedFace as AlignedFace
    from lwbafa.face import draw_faces as draw_faces
    from lwbafa.markups import MARKUPS as MARKUPS
    from lwbafa.markups import Markup as Markup
    from lwbafa.tracker import Tracker as Tracker
    from lwbafa.types import FaceBox as FaceBox

_HOMES = {
    "AlignedFace": "lwbafa.face",
    "AsyncClient": "lwbafa.client",
    "Client": "lwbafa.client",
    "Checkpoint": "lwbafa.checkpoint",
    "DetectorOptions": "lwbafa.detection.choose",
    "EngineOptions": "lwbafa.engine.choose",
    "FaceAligner": "lwbafa.aligner",
    "FaceBox": "lwbafa.types",
    "LwbafaError": "lwbafa.errors",
    "MARKUPS": "lwbafa.markups",
    "Markup": "lwbafa.markups",
    "Tracker": "lwbafa.tracker",
    "draw_faces": "lwbafa.face",
}
"""The public names and where they live."""

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for.

    So `lwbafa.errors` or `lwbafa.markups` alone cost no image library.
    """
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
