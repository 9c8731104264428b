"""The LW-BAFA network, in PyTorch; knows no files and no device."""

from lwbafa.network.network import (
    ARCHITECTURES,
    BAFA,
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
    "LW_BAFA",
    "Architecture",
    "BoundaryAwareNetwork",
    "Prediction",
    "fold_for_inference",
    "normalise",
]
