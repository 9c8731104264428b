"""LW-BAFA and BAFA: two configurations of the same blocks.

Wang, Li, Li, Peng, "Lightweight Boundary-Aware Face Alignment with Compressed HourglassNet and
Transformer", APSIPA Transactions on Signal and Information Processing, 2023, 12, e45.
"""

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, nn

from lwbafa.markups import Markup
from lwbafa.network.blocks import ConvNorm, Residual, ShuffleUnit
from lwbafa.network.boundary_stage import BoundaryStage, SDFusion
from lwbafa.network.landmark_stage import LandmarkStage


@dataclass(frozen=True)
class Architecture:
    """What distinguishes LW-BAFA from BAFA; everything else they share."""

    name: str
    width: int
    preprocessing_bottleneck: float
    shuffle_decoder: bool
    deep_widths: tuple[int, int]
    shallow_widths: tuple[int, int]
    delight_head: bool


LW_BAFA = Architecture("lwbafa", 192, 0.25, True, (256, 256), (128, 192), True)
BAFA = Architecture("bafa", 256, 0.5, False, (384, 256), (192, 192), False)
ARCHITECTURES = {architecture.name: architecture for architecture in (LW_BAFA, BAFA)}


class Prediction(NamedTuple):
    """What the network says of a batch of crops.

    `points` B×N×2, x and y in [0, 1] of the crop (0 and 1 are the crop's outer edges), unclamped;
    `heatmaps` four of B×K×64×64, raw (trained towards [0, 1]), the last one the best.
    """

    points: Tensor
    heatmaps: list[Tensor]


class BoundaryAwareNetwork(nn.Module):
    """Crops B×3×256×256 (float, RGB, normalised) to a `Prediction`.

    Until it is folded, smaller square inputs whose side is a multiple of 64 work too; heatmaps
    shrink with them.
    """

    def __init__(self, architecture: Architecture, markup: Markup) -> None:
        super().__init__()
        boundaries = len(markup.boundaries)
        self.boundary_stage = BoundaryStage(
            architecture.width,
            boundaries,
            architecture.preprocessing_bottleneck,
            architecture.shuffle_decoder,
        )
        self.landmark_stage = LandmarkStage(
            architecture.width,
            boundaries,
            markup.landmark_count,
            architecture.deep_widths,
            architecture.shallow_widths,
            architecture.delight_head,
        )

    def forward(self, crops: Tensor) -> Prediction:
        shallow, deep, heatmaps = self.boundary_stage(crops)
        return Prediction(self.landmark_stage(shallow, deep, heatmaps[-1]), heatmaps)


def normalise(crops: Tensor, mean: float = 127.5, divisor: float = 127.5) -> Tensor:
    """Crops uint8 B×H×W×3 (RGB) to the network's input: float B×3×H×W, (value − mean) / divisor."""
    return crops.permute(0, 3, 1, 2).float() / divisor - mean / divisor


def fold_for_inference(network: nn.Module, input_px: int) -> None:
    """Make an evaluation-mode network say the same with less work, in place.

    From then on its crops are `input_px` × `input_px`.
    """
    for module in list(network.modules()):
        if isinstance(module, SDFusion):
            module.fold(input_px // 4)
        elif isinstance(module, (ConvNorm, Residual, ShuffleUnit)):
            module.fold()
