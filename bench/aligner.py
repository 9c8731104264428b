"""What the service aligns with, without the service."""

from pathlib import Path

import cv2

from app.service import detector_options, engine_options
from app.settings import read_settings
from lwbafa.aligner import FaceAligner


def served_aligner(checkpoint: Path) -> FaceAligner:
    """The detector and the engine that the service's settings choose for a checkpoint here."""
    settings = read_settings()
    cv2.setNumThreads(1)  # as the service does
    return FaceAligner.load(
        checkpoint, detector=detector_options(settings), engine=engine_options(settings)
    )
