"""Map values and merged heatmaps, from a network whose predictions are known."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lwbafa.checkpoint import InputContract
from lwbafa.markups import MARKUP_68, MARKUP_98, Markup
from lwbafa.network import LW_BAFA, Prediction
from lwbafa.network.scored import ScoredNetwork


class Known(nn.Module):
    """Answers every crop with the same points and heatmaps."""

    def __init__(self, points: Tensor, heatmaps: Tensor) -> None:
        super().__init__()
        self.points, self.heatmaps = points, heatmaps
        self.architecture = LW_BAFA

    def forward(self, crops: Tensor) -> Prediction:
        count = crops.shape[0]
        heatmaps = self.heatmaps.expand(count, -1, -1, -1)
        return Prediction(self.points.expand(count, -1, -1), [heatmaps])


def aligned(markup: Markup, points: Tensor, heatmaps: Tensor) -> list[NDArray[Any]]:
    aligner = ScoredNetwork(Known(points, heatmaps), markup, InputContract())  # type: ignore[arg-type]
    answers = aligner(torch.zeros(2, 256, 256, 3, dtype=torch.uint8))
    return [answer[1].numpy() for answer in answers]


def test_a_map_value_is_its_own_boundaries_heatmap_at_the_point() -> None:
    generator = torch.Generator().manual_seed(0)
    heatmaps = torch.rand(len(MARKUP_68.boundaries), 64, 64, generator=generator)
    points = torch.rand(68, 2, generator=generator) * 0.8 + 0.1
    _, map_values, _ = aligned(MARKUP_68, points, heatmaps)
    for landmark in range(68):
        x, y = points[landmark].numpy() * 64 - 0.5
        left, top = int(np.floor(x)), int(np.floor(y))
        fx, fy = x - left, y - top
        values = [
            np.array([1 - fy, fy])
            @ heatmaps[k, top : top + 2, left : left + 2].numpy()
            @ [1 - fx, fx]
            for k in MARKUP_68.boundaries_of_landmark[landmark]
        ]
        assert map_values[landmark] == pytest.approx(max(values), abs=1e-4)


def test_heatmaps_are_merged_by_maximum_and_clamped() -> None:
    heatmaps = torch.zeros(len(MARKUP_68.boundaries), 64, 64)
    heatmaps[2, 10, 20], heatmaps[5, 10, 20], heatmaps[7, 30, 40] = 0.25, 0.5, 1.7
    heatmaps[1, 50, 50] = -0.3
    *_, merged = aligned(MARKUP_68, torch.full((68, 2), 0.5), heatmaps)
    assert merged.dtype == np.uint8
    assert (merged[10, 20], merged[30, 40], merged[50, 50]) == (128, 255, 0)


def test_points_on_no_boundary_have_no_map_value() -> None:
    heatmaps = torch.zeros(len(MARKUP_98.boundaries), 64, 64)
    _, values, _ = aligned(MARKUP_98, torch.full((98, 2), 0.5), heatmaps)
    assert np.isnan(values).nonzero()[0].tolist() == [96, 97]


def test_points_outside_the_crop_are_neither_clamped_nor_on_the_map() -> None:
    heatmaps = torch.ones(len(MARKUP_68.boundaries), 64, 64)
    points, values, _ = aligned(MARKUP_68, torch.full((68, 2), 1.5), heatmaps)
    assert (points == 1.5).all()
    assert (values == 0).all()
