"""LW-BAFA and BAFA: two configurations of the same blocks.

Wang, Li, Li, Peng, "Lightweight Boundary-Aware Face Alignment with Compressed HourglassNet and
Transformer", APSIPA Transactions on Signal and Information Processing, 2023, 12, e45.
"""

from typing import NamedTuple

from torch import Tensor, nn

from lwbafa.markups import Markup
from lwbafa.network.architectures import Architecture
from lwbafa.network.blocks import ConvNorm, Residual, ShuffleUnit
from lwbafa.network.boundary_stage import BoundaryStage, SDFusion
from lwbafa.network.landmark_stage import LandmarkStage


class Prediction(NamedTuple):
    """What the network says of a batch of crops.

    `points` B×N×2, x and y in [0, 1] of the crop (0 and 1 are the crop's outer edges), unclamped;
    `heatmaps` B×K×s×s of every hourglass, raw (trained towards [0, 1]), the last one the best; s is
    a quarter or an eighth of the crops' side, as the architecture says.
    """

    points: Tensor
    heatmaps: list[Tensor]


class BoundaryAwareNetwork(nn.Module):
    """Crops B×3×256×256 (float, RGB, normalised) to a `Prediction`.

    Until it is folded, smaller square inputs whose side is a multiple of the architecture's
    `input_multiple_px` work too; heatmaps shrink with them.
    """

    def __init__(self, architecture: Architecture, markup: Markup) -> None:
        super().__init__()
        self.architecture = architecture
        boundaries = len(markup.boundaries)
        self.boundary_stage = BoundaryStage(architecture, boundaries)
        self.landmark_stage = LandmarkStage(architecture, boundaries, markup.landmark_count)

    def forward(self, crops: Tensor) -> Prediction:
        shallow, deep, heatmaps = self.boundary_stage(crops)
        return Prediction(self.landmark_stage(shallow, deep, heatmaps[-1]), heatmaps)


def normalise(crops: Tensor, mean: float = 127.5, divisor: float = 127.5) -> Tensor:
    """Crops uint8 B×H×W×3 (RGB) to the network's input: float B×3×H×W, (value − mean) / divisor."""
    return crops.permute(0, 3, 1, 2).float() / divisor - mean / divisor


def fold_for_inference(network: nn.Module, heatmap_px: int) -> None:
    """Make an evaluation-mode network say the same with less work, in place.

    From then on its heatmaps are `heatmap_px` × `heatmap_px`, and its crops as that needs.
    """
    for module in list(network.modules()):
        if isinstance(module, SDFusion):
            module.fold(heatmap_px)
        elif isinstance(module, (ConvNorm, Residual, ShuffleUnit)):
            module.fold()
