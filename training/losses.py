"""Losses: landmark distance and boundary heatmaps (equations 1 to 3), and what may replace each."""

import math

import torch
from torch import Tensor

from lwbafa.markups import Markup
from lwbafa.network import Prediction
from training.recipe import Recipe

SOFT_WING_LINEAR_PX, SOFT_WING_WIDTH_PX, SOFT_WING_EPSILON_PX = 2.0, 20.0, 0.5
SOFT_WING_CROP_PX = 256.0

AWING_ALPHA, AWING_OMEGA, AWING_EPSILON, AWING_THETA = 2.1, 14.0, 1.0, 0.5
AWING_FOREGROUND, AWING_FOREGROUND_WEIGHT = 0.2, 11.0


def alignment_loss(
    prediction: Prediction, truth: Tensor, target: Tensor, markup: Markup, recipe: Recipe
) -> Tensor:
    """L_lm + β·L_bh (equation 1), mean over the batch.

    L_lm is the recipe's landmark loss; L_bh sums the hourglasses' errors (equation 3). The paper's
    β of 1e-4 goes with distances in units of the crop's side and squared errors.
    """
    points = prediction.points
    if recipe.landmark_loss == "crop":
        landmark_loss = landmark_error(points, truth)
    elif recipe.landmark_loss == "interocular":
        landmark_loss = interocular_error(points, truth, markup)
    else:
        landmark_loss = soft_wing(points, truth, markup)
    of_maps = adaptive_wing if recipe.heatmap_loss == "awing" else squared_error
    heatmaps = prediction.heatmaps
    heatmap_loss = torch.stack(
        [
            number / len(heatmaps) * of_maps(heatmap, target)
            for number, heatmap in enumerate(heatmaps, start=1)
        ]
    ).sum(dim=0)
    return (landmark_loss + recipe.heatmap_weight * heatmap_loss).mean()


def landmark_error(points: Tensor, truth: Tensor) -> Tensor:
    """Mean landmark distance of each face, B, in units of the crop's side."""
    distance: Tensor = (points - truth).norm(dim=2).mean(dim=1)
    return distance


def interocular_error(points: Tensor, truth: Tensor, markup: Markup) -> Tensor:
    """NME of each face, B: mean landmark distance over the distance of the outer eye corners."""
    return landmark_error(points, truth) / _interocular(truth, markup)


def soft_wing(points: Tensor, truth: Tensor, markup: Markup) -> Tensor:
    """Soft-Wing of each face, B, over the distance of the outer eye corners.

    As |x| up to 2 px of 256, where labels are no better; steeper from there on, so that what is off
    by some pixels counts most; logarithmic for what is far off (Lin et al., TIP 2021).
    """
    off = (points - truth).abs() * SOFT_WING_CROP_PX
    ratio = SOFT_WING_LINEAR_PX / SOFT_WING_EPSILON_PX
    joint = SOFT_WING_LINEAR_PX - SOFT_WING_WIDTH_PX * math.log1p(ratio)
    far = SOFT_WING_WIDTH_PX * torch.log1p(off / SOFT_WING_EPSILON_PX) + joint
    wing = torch.where(off < SOFT_WING_LINEAR_PX, off, far).mean(dim=(1, 2))
    return wing / (SOFT_WING_CROP_PX * _interocular(truth, markup))


def squared_error(heatmaps: Tensor, target: Tensor) -> Tensor:
    """Squared error summed over each face's maps B×K×s×s: B."""
    return (heatmaps - target).square().sum(dim=(1, 2, 3))


def adaptive_wing(heatmaps: Tensor, target: Tensor) -> Tensor:
    """Adaptive Wing summed over each face's maps B×K×s×s: B (Wang et al., ICCV 2019).

    On a boundary it is steep near the truth, off it as flat as the squared error; the boundaries'
    surroundings count eleven times.
    """
    off = (heatmaps - target).abs()
    power = AWING_ALPHA - target
    ratio = AWING_THETA / AWING_EPSILON
    slope = AWING_OMEGA / (1 + ratio**power) * power * ratio ** (power - 1) / AWING_EPSILON
    joint = AWING_THETA * slope - AWING_OMEGA * torch.log1p(ratio**power)
    near = AWING_OMEGA * torch.log1p((off / AWING_EPSILON) ** power)
    wing = torch.where(off < AWING_THETA, near, slope * off - joint)
    around = torch.nn.functional.max_pool2d(target, 3, stride=1, padding=1) > AWING_FOREGROUND
    return torch.where(around, AWING_FOREGROUND_WEIGHT * wing, wing).sum(dim=(1, 2, 3))


def _interocular(truth: Tensor, markup: Markup) -> Tensor:
    left, right = markup.outer_eye_corners
    distance: Tensor = (truth[:, left] - truth[:, right]).norm(dim=1)
    return distance
