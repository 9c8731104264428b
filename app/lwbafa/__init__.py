"""The LW-BAFA network and its markups; knows no HTTP, no files and no device."""

from app.lwbafa.markups import MARKUP_68, MARKUP_98, MARKUPS, Boundary, Markup
from app.lwbafa.network import (
    ARCHITECTURES,
    BAFA,
    INPUT_DIVISOR,
    INPUT_MEAN,
    INPUT_PX,
    LW_BAFA,
    Architecture,
    BoundaryAwareNetwork,
    Prediction,
    fold_for_inference,
    normalise,
)

__all__ = [
    "ARCHITECTURES",
    "BAFA",
    "INPUT_DIVISOR",
    "INPUT_MEAN",
    "INPUT_PX",
    "LW_BAFA",
    "MARKUPS",
    "MARKUP_68",
    "MARKUP_98",
    "Architecture",
    "Boundary",
    "BoundaryAwareNetwork",
    "Markup",
    "Prediction",
    "fold_for_inference",
    "normalise",
]
