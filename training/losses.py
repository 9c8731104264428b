"""Losses: landmark distance and boundary heatmaps (equations 1 to 3)."""

import torch
from torch import Tensor

from lwbafa.markups import Markup
from lwbafa.network import Prediction
from training.recipe import Recipe

STACK_WEIGHTS = (0.25, 0.5, 0.75, 1.0)


def interocular_error(points: Tensor, truth: Tensor, markup: Markup) -> Tensor:
    """NME of each face, B: mean landmark distance over the distance of the outer eye corners."""
    left, right = markup.outer_eye_corners
    interocular: Tensor = (truth[:, left] - truth[:, right]).norm(dim=1)
    return landmark_error(points, truth) / interocular


def heatmap_error(heatmaps: list[Tensor], target: Tensor) -> Tensor:
    """Squared error summed over each face's maps, weighted over the hourglasses (equation 3): B."""
    return torch.stack(
        [
            weight * (heatmap - target).square().sum(dim=(1, 2, 3))
            for weight, heatmap in zip(STACK_WEIGHTS, heatmaps, strict=True)
        ]
    ).sum(dim=0)


def landmark_error(points: Tensor, truth: Tensor) -> Tensor:
    """Mean landmark distance of each face, B, in units of the crop's side."""
    distance: Tensor = (points - truth).norm(dim=2).mean(dim=1)
    return distance


def alignment_loss(
    prediction: Prediction, truth: Tensor, target: Tensor, markup: Markup, recipe: Recipe
) -> Tensor:
    """L_lm + β·L_bh (equation 1), mean over the batch.

    L_lm is the mean landmark distance in the recipe's unit; L_bh sums the hourglasses' squared
    errors (equation 3). The paper's β of 1e-4 goes with distances in units of the crop's side.
    """
    if recipe.landmark_loss == "interocular":
        landmark_loss = interocular_error(prediction.points, truth, markup)
    else:
        landmark_loss = landmark_error(prediction.points, truth)
    heatmap_loss = heatmap_error(prediction.heatmaps, target)
    return (landmark_loss + recipe.heatmap_weight * heatmap_loss).mean()
