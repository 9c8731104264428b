"""The network's forward pass in training: half precision where it is faster and does no harm."""

from functools import cache

import torch
from torch import Tensor

from lwbafa.network import BoundaryAwareNetwork, Prediction


def predict(network: BoundaryAwareNetwork, crops: Tensor, half: bool | None = None) -> Prediction:
    """Normalised crops B×3×S×S to a prediction in single precision.

    With `half`, by default where it is faster, convolutions compute in bfloat16. What places the
    points never does: bfloat16 knows no number between 0.5 and 0.5039, a pixel of 256.
    """
    if half is None:
        half = crops.is_cuda or cpu_computes_halves()
    # A cache of halved weights would outlive a CUDA graph's capture.
    with torch.autocast(crops.device.type, torch.bfloat16, enabled=half, cache_enabled=False):
        shallow, deep, heatmaps = network.boundary_stage(crops)
        branches = network.landmark_stage.branches(shallow, deep, heatmaps[-1])
    with torch.autocast(crops.device.type, enabled=False):
        points = network.landmark_stage.landmarks([branch.float() for branch in branches])
    return Prediction(points, [heatmap.float() for heatmap in heatmaps])


@cache
def cpu_computes_halves() -> bool:
    """Whether the CPU multiplies bfloat16 itself; any other one would only convert to and fro."""
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))
