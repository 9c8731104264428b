"""The network as an OpenVINO model, converted once, when a checkpoint is made."""

import warnings

import torch

from lwbafa.checkpoint import Checkpoint
from lwbafa.network.scored import ScoredNetwork
from lwbafa.quiet_openvino import ov


def converted(checkpoint: Checkpoint) -> ov.Model:
    """The checkpoint's network with all that `ScoredNetwork` adds, for batches of any size."""
    contract = checkpoint.manifest.input
    module = ScoredNetwork(checkpoint.load_network(), checkpoint.markup, contract)
    # Not 1, which a trace takes for a constant.
    example = torch.zeros(2, contract.size_px, contract.size_px, 3, dtype=torch.uint8)
    with torch.no_grad(), warnings.catch_warnings():
        # OpenVINO would trace by itself, in the same deprecated way, but thrice to compare.
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(module, example, check_trace=False)  # type: ignore[no-untyped-call]
    shape = ov.PartialShape([-1, *example.shape[1:]])
    return ov.convert_model(traced, input=[(shape, ov.Type.u8)])
