"""What happens to the pixels of a crop, each thing by itself."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from training.augment import distort, triangular, uniform
from training.recipe import Augmentation

OFF = Augmentation(flip_probability=0, blur_probability=0, illumination=0, occlusion_probability=0)
CPU = torch.device("cpu")


@pytest.fixture
def crops() -> Tensor:
    """Eight different grey-free crops with structure at every scale."""
    generator = torch.Generator().manual_seed(0)
    return 255 * torch.rand(8, 3, 128, 128, generator=generator)


def distorted(crops: Tensor, **options: Any) -> Tensor:
    torch.manual_seed(1)
    return distort(crops, replace(OFF, **options))


def test_nothing_asked_for_is_nothing_done(crops: Tensor) -> None:
    assert distorted(crops) is crops


@pytest.mark.parametrize(
    "options",
    [
        {"mix_probability": 1},
        {"fewer_pixels_probability": 1},
        {"blur_probability": 1},
        {"illumination": 0.3},
        {"gamma": 0.5},
        {"grey_probability": 1},
        {"noise_probability": 1},
        {"occlusion_probability": 1},
        {"edge_probability": 1},
    ],
    ids=lambda options: next(iter(options)),
)
def test_each_changes_every_face_within_range_and_by_chance(
    crops: Tensor, options: dict[str, Any]
) -> None:
    changed = distorted(crops, **options)
    assert changed.shape == crops.shape
    assert changed.min() >= 0
    assert changed.max() <= 255
    assert ((changed - crops).abs().amax(dim=(1, 2, 3)) > 1).all()
    assert torch.equal(changed, distorted(crops, **options))
    if "grey_probability" not in options:  # there is one grey of a colour
        assert not torch.equal(changed, distort(crops, replace(OFF, **options)))


def test_a_probability_is_of_each_face_by_itself(crops: Tensor) -> None:
    many = crops[:, :, :8, :8].repeat(50, 1, 1, 1)
    grey = distorted(many, grey_probability=0.3)
    share = (grey[:, 0] == grey[:, 2]).all(dim=(1, 2)).float().mean()
    assert share == pytest.approx(0.3, abs=0.08)


def test_a_blur_averages_neighbours_and_keeps_the_light() -> None:
    spot = torch.zeros(4, 3, 64, 64)
    spot[:, :, 20, 30] = 255
    blurred = distorted(spot, blur_probability=1)
    assert torch.allclose(blurred.sum(dim=(2, 3)), torch.tensor(255.0), atol=0.1)
    assert (blurred[:, :, 20, 30] == blurred.amax(dim=(2, 3))).all()
    assert torch.allclose(blurred[:, :, 20, 29], blurred[:, :, 21, 30])
    flat = torch.full((2, 3, 64, 64), 100.0)
    assert torch.allclose(distorted(flat, blur_probability=1), flat, atol=1e-3)


def test_an_occluder_is_a_rectangle_of_the_sides_asked_for() -> None:
    black = torch.zeros(100, 3, 40, 40)
    covered = distorted(black, occlusion_probability=1, occluder_sides=(0.25, 0.5)).amax(dim=1) > 0
    for mask in covered:
        rows, columns = mask.any(dim=1), mask.any(dim=0)
        if rows.any():  # covered by another picture, which is black too
            assert 9 <= rows.sum() <= 21
            assert 9 <= columns.sum() <= 21
            assert mask[rows][:, columns].float().mean() > 0.99
    assert 0.5 < covered.any(dim=(1, 2)).float().mean() < 0.9


def test_an_edge_blackens_one_side_up_to_a_third() -> None:
    white = torch.full((200, 3, 40, 40), 255.0)
    black = distorted(white, edge_probability=1)[:, 0] == 0
    touched = [
        black[:, 0].all(1),
        black[:, -1].all(1),
        black[:, :, 0].all(1),
        black[:, :, -1].all(1),
    ]
    some = black.any(dim=(1, 2))
    assert (torch.stack(touched).sum(dim=0)[some] == 1).all()
    assert all(40 > side.sum() > 20 or side.sum() > 20 for side in touched)
    assert black.float().mean(dim=(1, 2)).max() <= 0.35


@pytest.mark.parametrize("draw", [uniform, triangular])
def test_chance_fills_its_range(draw: Callable[..., Tensor]) -> None:
    numbers = draw(10_000, device=CPU)
    low = 0.0 if draw is uniform else -1.0
    assert low <= numbers.min() < low + 0.05
    assert 0.95 < numbers.max() < 1
    assert numbers.mean() == pytest.approx((low + 1) / 2, abs=0.03)
