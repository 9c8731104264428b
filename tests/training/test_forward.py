"""Half precision stays where it does no harm."""

import pytest
import torch

from lwbafa.markups import MARKUP_68
from tests.training.narrow import narrow_network
from training.forward import cpu_computes_halves, predict


@pytest.mark.parametrize("half", [False, True])
def test_no_coordinate_is_rounded_to_half_precision(half: bool) -> None:
    network = narrow_network(MARKUP_68).eval()
    crops = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        whole = network(crops)
        prediction = predict(network, crops, half=half)
    assert prediction.points.dtype == torch.float32
    assert {heatmap.dtype for heatmap in prediction.heatmaps} == {torch.float32}
    rounded = prediction.points.bfloat16().float()
    assert (prediction.points != rounded).float().mean() > 0.9
    # Next to each other are answers that bfloat16 would give as one.
    different, left = (len(set(p[..., 0].flatten().tolist())) for p in (prediction.points, rounded))
    assert different > 2 * left
    assert torch.allclose(prediction.points, whole.points, atol=1e-3 if half else 0, rtol=0)
    if half:  # the convolutions did compute in half precision
        assert not torch.equal(prediction.heatmaps[-1], whole.heatmaps[-1])
    else:
        assert torch.equal(prediction.heatmaps[-1], whole.heatmaps[-1])


@pytest.mark.parametrize(
    ("instructions", "in_half"),
    [({}, False), ({"avx512_bf16": True}, True), ({"avx512_bf16": False, "amx_bf16": True}, True)],
)
def test_a_cpu_computes_in_half_precision_only_where_it_has_instructions_for_it(
    instructions: dict[str, bool], in_half: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: instructions)
    cpu_computes_halves.cache_clear()
    network = narrow_network(MARKUP_68).eval()
    crops = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        heatmap, whole = predict(network, crops).heatmaps[0], network(crops).heatmaps[0]
    cpu_computes_halves.cache_clear()
    assert torch.equal(heatmap, whole) is not in_half


def test_gradients_flow_through_half_precision_in_single() -> None:
    network = narrow_network(MARKUP_68).train()
    prediction = predict(network, torch.randn(2, 3, 64, 64), half=True)
    (prediction.points.sum() + prediction.heatmaps[-1].sum()).backward()  # type: ignore[no-untyped-call]
    gradients = [parameter.grad for parameter in network.parameters()]
    assert all(g is not None and g.dtype == torch.float32 for g in gradients)
