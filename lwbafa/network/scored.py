"""The network from pixels to landmarks and their map values: what every engine runs."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lwbafa.checkpoint import InputContract
from lwbafa.markups import Markup
from lwbafa.network import BoundaryAwareNetwork, fold_for_inference, normalise


class ScoredNetwork(nn.Module):
    """Crops uint8 B×S×S×3 (RGB) to points, map values and merged heatmaps (see `Alignment`).

    Takes the network over and folds it for that S. Reading values off and merging belong here: they
    need a megabyte of heatmaps per face where these lie, and leave four kilobytes to be copied.
    """

    off_boundary: Tensor
    off_map: Tensor

    def __init__(
        self, network: BoundaryAwareNetwork, markup: Markup, contract: InputContract
    ) -> None:
        super().__init__()
        fold_for_inference(network.eval(), contract.size_px // network.architecture.map_stride)
        self.network = network
        self.contract = contract
        on_boundary = torch.zeros(len(markup.boundaries), markup.landmark_count, dtype=torch.bool)
        for landmark, boundaries in enumerate(markup.boundaries_of_landmark):
            on_boundary[list(boundaries), landmark] = True
        self.register_buffer("off_boundary", ~on_boundary, persistent=False)
        self.register_buffer("off_map", ~on_boundary.any(dim=0), persistent=False)

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        prediction = self.network(normalise(crops, self.contract.mean, self.contract.divisor))
        heatmaps = prediction.heatmaps[-1].float().clamp(0, 1)
        return prediction.points, self._map_values(prediction.points, heatmaps), merged(heatmaps)

    def _map_values(self, points: Tensor, heatmaps: Tensor) -> Tensor:
        """The highest of a landmark's own boundaries' heatmaps at its place: B×N, NaN for none."""
        grid = (2 * points - 1).unsqueeze(1)
        sampled = F.grid_sample(heatmaps, grid, align_corners=False).squeeze(2)
        own = sampled.masked_fill(self.off_boundary, -1.0).amax(dim=1)
        return own.masked_fill(self.off_map, torch.nan)


def merged(heatmaps: Tensor) -> Tensor:
    """A face's boundaries in one map: B×K×s×s in [0, 1] to uint8 B×s×s, 255 for 1."""
    return (heatmaps.amax(dim=1) * 255).round().to(torch.uint8)
