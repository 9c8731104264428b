"""The LW-BAFA network, in PyTorch; knows no files and no device."""

from lwbafa.network.architectures import ARCHITECTURES, BAFA, LITE, LW_BAFA, Architecture
from lwbafa.network.network import (
    BoundaryAwareNetwork,
    Prediction,
    fold_for_inference,
    normalise,
)

__all__ = [
    "ARCHITECTURES",
    "BAFA",
    "LITE",
    "LW_BAFA",
    "Architecture",
    "BoundaryAwareNetwork",
    "Prediction",
    "fold_for_inference",
    "normalise",
]
