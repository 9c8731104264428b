"""The average is of the weights alone and of the phase alone; its statistics are its own."""

import pytest
import torch
from torch import nn

from lwbafa.markups import MARKUP_68
from tests.training.narrow import narrow_network
from training.averages import WeightAverage, estimate_statistics


def set_all(network: nn.Module, value: float) -> None:
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(value)


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.999])
def test_the_average_has_no_memory_of_what_was_before_the_phase(decay: float) -> None:
    network = narrow_network(MARKUP_68)
    average = WeightAverage(network, decay)
    values = [3.0, 5.0, 1.0]
    for update, value in enumerate(values, 1):
        set_all(network, value)
        average.prepare(update)
        average.update()
    weights = [decay ** (len(values) - i) if decay or i == 3 else 0.0 for i in range(1, 4)]
    expected = sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights)
    averaged = average.with_statistics([])
    for parameter in averaged.parameters():
        assert torch.allclose(parameter, torch.tensor(expected), rtol=1e-5)


def test_statistics_are_those_of_the_crops_under_the_averaged_weights() -> None:
    network = narrow_network(MARKUP_68)
    average = WeightAverage(network, 0.5)
    average.prepare(1)
    average.update()
    batches = [torch.randn(4, 3, 64, 64) * spread for spread in (1, 2)]
    averaged = average.with_statistics(batches)
    assert not averaged.training
    stem = averaged.boundary_stage.stem
    maps = [stem.conv(batch) for batch in batches]
    means = torch.stack([m.mean(dim=(0, 2, 3)) for m in maps]).mean(dim=0)
    variances = torch.stack([m.var(dim=(0, 2, 3)) for m in maps]).mean(dim=0)
    assert isinstance(stem.norm, nn.BatchNorm2d)
    assert stem.norm.running_mean is not None
    assert stem.norm.running_var is not None
    assert torch.allclose(stem.norm.running_mean, means, atol=1e-5)
    assert torch.allclose(stem.norm.running_var, variances, rtol=1e-4)
    assert stem.norm.momentum == 0.1
    # The network in training keeps its own.
    other = network.boundary_stage.stem.norm
    assert isinstance(other, nn.BatchNorm2d)
    assert other.running_mean is not None
    assert not other.running_mean.any()


def test_statistics_can_be_measured_twice() -> None:
    network = narrow_network(MARKUP_68)
    batch = torch.randn(4, 3, 64, 64)
    estimate_statistics(network, [batch])
    once = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    estimate_statistics(network, [batch])
    assert all(torch.equal(tensor, once[name]) for name, tensor in network.state_dict().items())
