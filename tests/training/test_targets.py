from itertools import pairwise

import numpy as np
import pytest
import torch

from lwbafa.markups import MARKUP_68, MARKUPS, Markup
from training.targets import BoundaryTargets, boundary_curve


def boundary_heatmaps(points: torch.Tensor, markup: Markup, size_px: int) -> torch.Tensor:
    return BoundaryTargets(markup, torch.device("cpu")).heatmaps(points, size_px)


def random_faces(markup: Markup, count: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return 0.2 + 0.6 * torch.rand(count, markup.landmark_count, 2, generator=generator)


def test_the_curve_runs_through_its_points() -> None:
    points = random_faces(MARKUP_68)[:, :17]
    curve = boundary_curve(points)
    assert curve.shape == (2, 16 * 4 + 1, 2)
    assert torch.allclose(curve[:, ::4], points, atol=1e-6)


def test_a_straight_boundary_stays_straight() -> None:
    x = torch.tensor([0.0, 0.1, 0.4, 0.5, 1.0])
    curve = boundary_curve(torch.stack((x, 2 * x), 1)[None])[0]
    assert torch.allclose(curve[:, 1], 2 * curve[:, 0], atol=1e-6)


@pytest.mark.parametrize("markup", MARKUPS.values(), ids=lambda m: m.name)
def test_peaks_lie_on_the_boundary_and_far_pixels_are_zero(markup: Markup) -> None:
    points = random_faces(markup)
    maps = boundary_heatmaps(points, markup, 32)
    assert maps.shape == (2, len(markup.boundaries), 32, 32)
    for k, boundary in enumerate(markup.boundaries):
        curve = boundary_curve(points[:1, list(boundary.landmarks)])[0] * 32 - 0.5
        corners = curve.numpy()
        dense = np.concatenate([np.linspace(a, b, 50) for a, b in pairwise(corners)])
        grid = np.stack(np.meshgrid(np.arange(32), np.arange(32)), -1)
        distance = np.linalg.norm(grid[:, :, None] - dense, axis=-1).min(-1)
        expected = np.where(distance < 3, np.exp(-(distance**2) / 2), 0)
        settled = np.abs(distance - 3) > 0.02  # the cut at 3σ itself may fall either way
        assert np.abs(maps[0, k].numpy() - expected)[settled].max() < 0.02


def test_a_single_point_peaks_at_its_pixel_centre() -> None:
    points = torch.full((1, 68, 2), (20 + 0.5) / 64)
    peak = boundary_heatmaps(points, MARKUP_68, 64)[0, 0]
    assert peak[20, 20] == 1
    assert peak.argmax() == 20 * 64 + 20
    assert torch.allclose(peak[20, 19], torch.tensor(-0.5).exp())


@pytest.mark.parametrize("markup", MARKUPS.values(), ids=lambda m: m.name)
def test_flipped_landmarks_give_flipped_targets(markup: Markup) -> None:
    points = random_faces(markup)
    mirrored = points[:, list(markup.flip)] * torch.tensor([-1, 1]) + torch.tensor([1, 0])
    order = [boundary.flips_to for boundary in markup.boundaries]
    expected = boundary_heatmaps(points, markup, 32)[:, order].flip(3)
    assert torch.allclose(boundary_heatmaps(mirrored, markup, 32), expected, atol=1e-4)
