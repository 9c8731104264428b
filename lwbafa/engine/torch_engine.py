"""The PyTorch engine for the CPU: runs wherever PyTorch does; what others are measured against."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch

from lwbafa.checkpoint import Checkpoint, EngineName
from lwbafa.engine import Alignment, split
from lwbafa.network.scored import ScoredNetwork
from lwbafa.types import Pixels


def create(name: EngineName, checkpoint: Checkpoint, threads: int) -> "TorchEngine":
    """The engine for the checkpoint's weights. Raises LoadError."""
    network = checkpoint.load_network()
    return TorchEngine(
        ScoredNetwork(network, checkpoint.markup, checkpoint.manifest.input), threads
    )


class TorchEngine:
    """Eager PyTorch in single precision, channels_last. Takes the network over."""

    name: EngineName = "torch"
    device: Literal["cpu"] = "cpu"

    def __init__(self, network: ScoredNetwork, threads: int) -> None:
        torch.set_num_threads(threads)
        self._black = np.zeros((network.contract.size_px,) * 2 + (3,), np.uint8)
        self._align = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def warm_up(self, max_batch: int) -> None:
        """Run the smallest and the largest batch, so that no caller pays for the first time."""
        for size in {1, max_batch}:
            self.align([self._black] * size)

    @torch.inference_mode()
    def align(self, crops: Sequence[Pixels]) -> list[Alignment]:
        """Align crops S×S×3 uint8 RGB, in order."""
        return split(*(answer.numpy() for answer in self._align(torch.from_numpy(np.stack(crops)))))
