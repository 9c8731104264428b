"""A run may begin with weights of another markup or architecture: what fits is taken and told."""

from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
import torch
from safetensors.torch import save_file

from lwbafa.markups import MARKUP_68, MARKUP_98, MARKUPS, WFLW_AS_68, Markup
from lwbafa.network import BoundaryAwareNetwork
from lwbafa.network.blocks import ConvNorm, SeparableConvNorm
from tests.training.narrow import NARROW, narrow_network
from training.adopt import adopt
from training.errors import RunError


def saved(network: BoundaryAwareNetwork, path: Path) -> Path:
    halves = {k: v.half() if v.is_floating_point() else v for k, v in network.state_dict().items()}
    save_file({name: tensor.contiguous() for name, tensor in halves.items()}, path)
    return path


def other(markup: Markup) -> Markup:
    (found,) = (m for m in MARKUPS.values() if m is not markup)
    return found


def test_the_same_networks_weights_are_taken_whole(tmp_path: Path) -> None:
    source, network = narrow_network(MARKUP_68, seed=1), narrow_network(MARKUP_68, seed=2)
    adoption = adopt(network, MARKUP_68, saved(source, tmp_path / "weights.safetensors"))
    assert (adoption.part, adoption.new, adoption.unused) == ([], [], [])
    expected = source.state_dict()
    for name, tensor in network.state_dict().items():
        assert torch.allclose(tensor, expected[name], atol=1e-3), name


@pytest.mark.parametrize("markup", MARKUPS.values(), ids=lambda m: f"to {m.name}")
def test_between_markups_what_both_have_is_taken(markup: Markup, tmp_path: Path) -> None:
    source, network = narrow_network(other(markup), seed=1), narrow_network(markup, seed=2)
    fresh = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    adoption = adopt(network, markup, saved(source, tmp_path / "weights.safetensors"))
    assert adoption.new == adoption.unused == []
    assert set(adoption.part) == {
        *(f"boundary_stage.fusions.{i}.heatmap.{n}" for i in range(3) for n in ("weight", "bias")),
        *(f"boundary_stage.fusions.{i}.attention.weight" for i in range(3)),
        *("boundary_stage.heatmap.weight", "boundary_stage.heatmap.bias"),
        *("landmark_stage.gate.weight", "landmark_stage.boundary.0.conv.weight"),
        *("landmark_stage.head.maps.weight", "landmark_stage.head.maps.bias"),
        "landmark_stage.head.embedding",
    }
    own, theirs = network.state_dict(), source.state_dict()
    shared = 13
    for name in ("boundary_stage.heatmap.weight", "boundary_stage.fusions.1.heatmap.weight"):
        assert torch.allclose(own[name][:shared], theirs[name][:shared], atol=1e-3)
        assert torch.equal(own[name][shared:], fresh[name][shared:])
    for name in ("landmark_stage.gate.weight", "boundary_stage.fusions.0.attention.weight"):
        assert torch.allclose(own[name][:, :shared], theirs[name][:, :shared], atol=1e-3)
        assert not own[name][:, shared:].any()
    places = {68: range(68), 98: WFLW_AS_68}
    name = "landmark_stage.head.embedding"
    for ours, of_theirs in zip(
        places[markup.landmark_count], places[other(markup).landmark_count], strict=True
    ):
        assert torch.allclose(own[name][ours], theirs[name][of_theirs], atol=1e-3)
    report = adoption.report()
    assert f"adopted {len(adoption.whole)} of {len(own)} tensors whole" in report
    assert "in part, for what both markups have: 16 (boundary_stage" in report


def test_a_new_boundary_changes_no_answer_at_first(tmp_path: Path) -> None:
    source, network = narrow_network(MARKUP_68, seed=1).eval(), narrow_network(MARKUP_98).eval()
    adopt(network, MARKUP_98, saved(source, tmp_path / "weights.safetensors"))
    crops = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        (_, deep, maps), (_, other_deep, other_maps) = (
            n.boundary_stage(crops) for n in (network, source)
        )
        assert torch.allclose(deep, other_deep, atol=1e-2)
        assert torch.allclose(maps[-1][:, :13], other_maps[-1], atol=1e-2)


def test_of_another_architecture_what_has_the_same_shape_is_taken(tmp_path: Path) -> None:
    bafas = replace(NARROW, shuffle_decoder=False)
    source, network = BoundaryAwareNetwork(bafas, MARKUP_68), narrow_network(MARKUP_68)
    source.register_buffer("more_of_it", torch.zeros(1))
    adoption = adopt(network, MARKUP_68, saved(source, tmp_path / "weights.safetensors"))
    assert "boundary_stage.stem.conv.weight" in adoption.whole
    assert "not used: 1 (more_of_it)" in adoption.report()
    assert adoption.new
    assert all(".ups." in name for name in adoption.new)
    assert "new: " in adoption.report()


def test_a_file_of_no_use_is_refused(tmp_path: Path) -> None:
    network = narrow_network(MARKUP_68)
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"any")
    with pytest.raises(RunError, match=r"broken\.safetensors: not a readable"):
        adopt(network, MARKUP_68, broken)
    with pytest.raises(RunError, match="absent: not a readable"):
        adopt(network, MARKUP_68, tmp_path / "absent")
    save_file({"any": torch.zeros(1)}, broken)
    with pytest.raises(RunError, match="none of its tensors fits"):
        adopt(network, MARKUP_68, broken)


def test_a_convolution_is_taken_apart_where_the_network_has_a_separable_one(tmp_path: Path) -> None:
    whole, apart = (narrow_network(MARKUP_68, seed=1, separable=which) for which in (False, True))
    convolution = cast(ConvNorm, whole.landmark_stage.deep[0])
    outputs, inputs = convolution.conv.weight.shape[:2]
    # Of rank one for every input, so that nothing is lost.
    kernels, mixing = torch.randn(1, inputs, 3, 3), torch.randn(outputs, inputs, 1, 1)
    with torch.no_grad():
        convolution.conv.weight.copy_(kernels * mixing)
    adoption = adopt(apart, MARKUP_68, saved(whole, tmp_path / "weights.safetensors"))
    assert (adoption.part, adoption.new, adoption.unused) == ([], [], [])
    features = torch.randn(1, inputs, 16, 16)
    with torch.inference_mode():
        expected = convolution.eval()(features)
        separable = cast(SeparableConvNorm, apart.landmark_stage.deep[0]).eval()(features)
    assert torch.allclose(separable, expected, atol=0.02 * float(expected.max()))
