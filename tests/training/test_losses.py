from dataclasses import replace

import torch

from lwbafa.markups import MARKUP_68
from lwbafa.network import Prediction
from training.losses import alignment_loss, heatmap_error, interocular_error
from training.recipe import Phase, Recipe

PHASE = Phase(64, 1, 1e-3, 0, 0.0)
RECIPE = Recipe(markup="300w-68", sources=("any",), phases=(PHASE,))


def truth() -> torch.Tensor:
    points = torch.zeros(2, 68, 2)
    points[:, 45, 0] = torch.tensor([0.5, 0.25])
    return points


def test_interocular_error_by_hand() -> None:
    shifted = truth() + torch.tensor([0.03, 0.04])
    error = interocular_error(shifted, truth(), MARKUP_68)
    assert torch.allclose(error, torch.tensor([0.1, 0.2]))


def test_heatmap_error_by_hand() -> None:
    target = torch.zeros(1, 13, 8, 8)
    maps = [torch.zeros_like(target) for _ in range(4)]
    maps[0][0, 3, 2, 2] = 2.0
    maps[3][0, 0, 0, 0] = 1.0
    assert heatmap_error(maps, target).tolist() == [0.25 * 4 + 1]


def test_the_truth_costs_nothing() -> None:
    target = torch.rand(2, 13, 8, 8)
    for unit in ("crop", "interocular"):
        recipe = replace(RECIPE, landmark_loss=unit)
        prediction = Prediction(truth(), [target] * 4)
        assert alignment_loss(prediction, truth(), target, MARKUP_68, recipe) == 0


def test_the_loss_is_the_sum_of_its_parts() -> None:
    target = torch.zeros(2, 13, 8, 8)
    maps = [target] * 3 + [target + 0.5]
    prediction = Prediction(truth() + torch.tensor([0.03, 0.04]), maps)
    recipe = replace(RECIPE, landmark_loss="crop", heatmap_weight=1e-4)
    loss = alignment_loss(prediction, truth(), target, MARKUP_68, recipe)
    assert torch.allclose(loss, torch.tensor(0.05 + 1e-4 * 0.25 * 13 * 64))
