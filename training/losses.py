"""What the network is trained to make small."""

import torch
from torch import Tensor

from app.lwbafa import Markup, Prediction

STACK_WEIGHTS = (0.25, 0.5, 0.75, 1.0)


def interocular_error(points: Tensor, truth: Tensor, markup: Markup) -> Tensor:
    """NME of each face, B: mean landmark distance over the distance of the outer eye corners."""
    left, right = markup.outer_eye_corners
    interocular: Tensor = (truth[:, left] - truth[:, right]).norm(dim=1)
    distance: Tensor = (points - truth).norm(dim=2).mean(dim=1)
    return distance / interocular


def heatmap_error(heatmaps: list[Tensor], target: Tensor) -> Tensor:
    """Squared error summed over each face's maps, weighted over the hourglasses (equation 3): B."""
    return torch.stack(
        [
            weight * (heatmap - target).square().sum(dim=(1, 2, 3))
            for weight, heatmap in zip(STACK_WEIGHTS, heatmaps, strict=True)
        ]
    ).sum(dim=0)


def alignment_loss(
    prediction: Prediction, truth: Tensor, target: Tensor, markup: Markup, heatmap_weight: float
) -> Tensor:
    """Inter-ocular landmark error plus the weighted boundary heatmap error, mean over the batch."""
    landmark_loss = interocular_error(prediction.points, truth, markup)
    return (landmark_loss + heatmap_weight * heatmap_error(prediction.heatmaps, target)).mean()
