import copy
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from lwbafa.markups import MARKUP_68, MARKUP_98, MARKUPS, Markup
from lwbafa.network import (
    ARCHITECTURES,
    BAFA,
    LITE,
    LW_BAFA,
    Architecture,
    BoundaryAwareNetwork,
    fold_for_inference,
    normalise,
)
from lwbafa.network.blocks import Residual, ShuffleUnit
from lwbafa.network.boundary_stage import SDFusion
from lwbafa.network.landmark_stage import AxisProfile, GroupLinear, SAFeature

# Table 4 of the paper, for 98 points: parameters in millions, multiply-accumulates in billions.
PAPER = {"lwbafa": (9.48, 11.4), "bafa": (19.96, 22.23)}


def seeded(architecture: Architecture, markup: Markup) -> BoundaryAwareNetwork:
    torch.manual_seed(0)
    return BoundaryAwareNetwork(architecture, markup)


@pytest.mark.parametrize("architecture", [LW_BAFA, BAFA], ids=lambda a: a.name)
def test_size_and_work_are_within_one_percent_of_the_paper(architecture: Architecture) -> None:
    network = seeded(architecture, MARKUP_98).eval()
    parameters = sum(p.numel() for p in network.parameters()) / 1e6
    counter = FlopCounterMode(display=False)
    with counter:
        prediction = network(torch.zeros(1, 3, 256, 256))
    assert prediction.heatmaps[-1].shape == (1, 15, 64, 64)
    macs = counter.get_total_flops() / 2 / 1e9
    assert (parameters, macs) == pytest.approx(PAPER[architecture.name], rel=0.01)


def test_the_lite_network_is_a_twenty_fifth_of_the_work() -> None:
    counter = FlopCounterMode(display=False)
    with counter:
        prediction = seeded(LITE, MARKUP_68).eval()(torch.zeros(1, 3, 256, 256))
    assert prediction.heatmaps[-1].shape == (1, 13, 32, 32)
    assert counter.get_total_flops() / 2e9 == pytest.approx(0.444, abs=0.005)


@pytest.mark.parametrize("architecture", ARCHITECTURES.values(), ids=lambda a: a.name)
@pytest.mark.parametrize("markup", MARKUPS.values(), ids=lambda m: m.name)
def test_shapes(architecture: Architecture, markup: Markup) -> None:
    network = seeded(architecture, markup).eval()
    with torch.inference_mode():
        for side in (256, architecture.input_multiple_px):
            prediction = network(torch.zeros(2, 3, side, side))
            boundaries = len(markup.boundaries)
            assert prediction.points.shape == (2, markup.landmark_count, 2)
            assert [tuple(h.shape) for h in prediction.heatmaps] == [
                (2, boundaries, *[side // architecture.map_stride] * 2)
            ] * architecture.hourglasses


@pytest.mark.parametrize("architecture", ARCHITECTURES.values(), ids=lambda a: a.name)
def test_folding_changes_no_output(architecture: Architecture) -> None:
    network = seeded(architecture, MARKUP_68)
    crops = torch.randn(2, 3, 256, 256)
    network.train()
    with torch.no_grad():
        for _ in range(3):
            network(crops)  # so that the running statistics are not the initial ones
        network.eval()
        folded = copy.deepcopy(network)
        fold_for_inference(folded, 256 // architecture.map_stride)
        before, after = network(crops), folded(crops)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in folded.modules())
    units = [m for m in folded.modules() if isinstance(m, ShuffleUnit)]
    assert len(units) == (4 * architecture.hourglasses if architecture.shuffle_decoder else 0)
    assert all(unit.last_and_shuffle is not None for unit in units)
    assert torch.allclose(before.points, after.points, atol=1e-5)
    for ours, theirs in zip(before.heatmaps, after.heatmaps, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize(
    ("made", "inputs", "merged"),
    [
        (partial(Residual, 16, 24, 0.25), 1, "last_and_skip"),
        (partial(ShuffleUnit, 16), 1, "last_and_shuffle"),
        (partial(SDFusion, 16, 13), 2, "from_levels"),
    ],
    ids=["residual", "shuffle", "fusion"],
)
def test_a_folded_unit_says_the_same(
    made: Callable[[], torch.nn.Module], inputs: int, merged: str
) -> None:
    torch.manual_seed(0)
    unit = made()
    maps = [torch.rand(3, 16, 64, 64) for _ in range(inputs)]
    with torch.no_grad():
        for _ in range(3):
            unit(*maps)
        unit.eval()
        before = unit(*maps)
        folded = copy.deepcopy(unit)
        for _ in range(2):  # once more changes nothing
            fold_for_inference(folded, 64)
        after = folded(*maps)
    torch.testing.assert_close(after, before, rtol=0, atol=1e-5)
    assert getattr(unit, merged) is None
    assert getattr(folded, merged) is not None


def test_every_parameter_takes_part_in_the_training() -> None:
    network = seeded(LW_BAFA, MARKUP_98)
    prediction = network(torch.randn(2, 3, 64, 64))
    (prediction.points.sum() + sum(h.sum() for h in prediction.heatmaps)).backward()
    idle = [name for name, p in network.named_parameters() if p.grad is None]
    assert idle == []


def test_untrained_network_says_the_middle_of_the_crop() -> None:
    with torch.inference_mode():
        points = seeded(LW_BAFA, MARKUP_68).eval()(torch.zeros(1, 3, 64, 64)).points
    assert (points - 0.5).abs().max() < 0.5


def test_group_linear_shuffles_groups_into_each_other() -> None:
    torch.manual_seed(0)
    layer = GroupLinear(8, 12, groups=2).eval()
    x = torch.randn(1, 1, 8)
    with torch.inference_mode():
        groups = [half @ layer.weight[i] for i, half in enumerate(x[0].chunk(2, dim=1))]
        shuffled = torch.stack(groups, dim=2).reshape(2, 6)
        expected = F.gelu(layer.norm(shuffled)).flatten()
        assert torch.allclose(layer(x, None).flatten(), expected, atol=1e-6)


@pytest.mark.parametrize("axis", [2, 3])
def test_a_profile_is_a_one_dimensional_convolution_of_the_mean_over_its_axis(axis: int) -> None:
    torch.manual_seed(0)
    profile = AxisProfile(256, axis)
    branch = torch.randn(2, 256, 16, 16)
    with torch.inference_mode():
        expected = torch.sigmoid(profile.conv(branch.mean(dim=axis))).unsqueeze(axis)
        assert torch.allclose(profile(branch), expected, atol=1e-6)


def test_normalise_maps_bytes_to_minus_one_and_one() -> None:
    crops = torch.tensor([0, 255], dtype=torch.uint8).view(1, 1, 2, 1).expand(1, 1, 2, 3)
    out = normalise(crops)
    assert out.shape == (1, 3, 1, 2)
    assert out[0, :, 0].tolist() == [[-1.0, 1.0]] * 3


def test_pooled_attention_reads_means_over_squares_of_the_grid() -> None:
    torch.manual_seed(0)
    each, pooled = SAFeature(32, pool=1), SAFeature(32, pool=2)
    pooled.load_state_dict(each.state_dict())
    tokens = torch.randn(3, 256, 32)
    queries, *all_of_both = each._queries_keys_values(tokens)
    asked, *means_of_both = pooled._queries_keys_values(tokens)
    assert torch.allclose(asked, queries, atol=1e-5)
    for every, means in zip(all_of_both, means_of_both, strict=True):
        grid = every.reshape(3, 16, 16, 32)
        by_hand = torch.stack([grid[:, i::2, j::2] for i in (0, 1) for j in (0, 1)]).mean(0)
        assert torch.allclose(means.reshape(3, 8, 8, 32), by_hand, atol=1e-5)
