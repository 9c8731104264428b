from dataclasses import replace

import pytest
import torch

from lwbafa.markups import MARKUP_68
from lwbafa.network import Prediction
from training.losses import (
    adaptive_wing,
    alignment_loss,
    interocular_error,
    soft_wing,
    squared_error,
)
from training.recipe import Phase, Recipe, Source

PHASE = Phase(256, 1, 2, 1e-3, 0, 0.0)
RECIPE = Recipe(markup="300w-68", sources=(Source("any"),), phases=(PHASE,))


def truth() -> torch.Tensor:
    points = torch.zeros(2, 68, 2)
    points[:, 45, 0] = torch.tensor([0.5, 0.25])
    return points


def test_interocular_error_by_hand() -> None:
    shifted = truth() + torch.tensor([0.03, 0.04])
    error = interocular_error(shifted, truth(), MARKUP_68)
    assert torch.allclose(error, torch.tensor([0.1, 0.2]))


def test_soft_wing_by_hand() -> None:
    near = truth() + 1 / 256  # a pixel along both axes
    assert soft_wing(near, truth(), MARKUP_68).tolist() == pytest.approx([1 / 128, 1 / 64])
    far = truth() + 8 / 256
    expected = 20 * torch.log1p(torch.tensor(16.0)) + 2 - 20 * torch.log1p(torch.tensor(4.0))
    assert soft_wing(far, truth(), MARKUP_68)[0] == pytest.approx(float(expected) / 128)
    steps = [soft_wing(truth() + px / 256, truth(), MARKUP_68)[0] for px in (1.99, 2.01, 3, 40, 41)]
    assert steps[1] - steps[0] < 0.002  # no jump
    assert 3 * (steps[4] - steps[3]) < steps[2] - steps[1]


def test_heatmap_errors_by_hand() -> None:
    target = torch.zeros(1, 13, 8, 8)
    maps = torch.zeros_like(target)
    maps[0, 3, 2, 2] = 2.0
    assert squared_error(maps, target).tolist() == [4]
    # Far from a boundary: 14·ln(1 + 0.5^2.1), then a straight line of the same slope.
    ratio, power = torch.tensor(0.5), 2.1
    slope = 14 / (1 + ratio**power) * power * ratio ** (power - 1)
    joint = 14 * torch.log1p(ratio**power)
    assert torch.allclose(adaptive_wing(maps, target), joint + 1.5 * slope)
    target[0, 3, 2, 2] = 1.0
    maps[0, 3, 2, 2] = 0.9
    near = 11 * 14 * torch.log1p(torch.tensor(0.1) ** 1.1)
    assert torch.allclose(adaptive_wing(maps, target), near)


@pytest.mark.parametrize(
    "recipe",
    [
        RECIPE,
        replace(RECIPE, landmark_loss="crop"),
        replace(RECIPE, landmark_loss="soft-wing"),
        replace(RECIPE, heatmap_loss="awing"),
    ],
    ids=["interocular", "crop", "soft-wing", "awing"],
)
def test_the_truth_costs_nothing_and_teaches_nothing(recipe: Recipe) -> None:
    target = torch.rand(2, 13, 8, 8)
    maps = [target.clone().requires_grad_() for _ in range(4)]
    loss = alignment_loss(Prediction(truth(), maps), truth(), target, MARKUP_68, recipe)
    assert loss == 0
    loss.backward()  # type: ignore[no-untyped-call]
    assert all(heatmap.grad is not None and not heatmap.grad.any() for heatmap in maps)
    off = Prediction(truth() + 0.01, [target + 0.1] * 4)
    assert alignment_loss(off, truth(), target, MARKUP_68, recipe) > 0.01


def test_the_loss_is_the_sum_of_its_parts() -> None:
    target = torch.zeros(2, 13, 8, 8)
    maps = [target + 0.5, target, target, target + 0.5]
    prediction = Prediction(truth() + torch.tensor([0.03, 0.04]), maps)
    recipe = replace(RECIPE, landmark_loss="crop", heatmap_weight=1e-4)
    loss = alignment_loss(prediction, truth(), target, MARKUP_68, recipe)
    assert torch.allclose(loss, torch.tensor(0.05 + 1e-4 * 1.25 * 0.25 * 13 * 64))
