"""The PyTorch engine for the CPU: runs wherever PyTorch does; what others are measured against."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch

from app.engine import Alignment, EngineName, split
from app.engine.aligner import Aligner
from app.imaging.crop import Image
from app.lwbafa import INPUT_PX, BoundaryAwareNetwork, Markup


class TorchEngine:
    """Eager PyTorch in single precision, channels_last. Takes the network over and folds it."""

    name: EngineName = "torch"
    device: Literal["cpu"] = "cpu"

    def __init__(self, network: BoundaryAwareNetwork, markup: Markup, threads: int) -> None:
        torch.set_num_threads(threads)
        self._align = Aligner(network, markup).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def warm_up(self, max_batch: int) -> None:
        """Run the smallest and the largest batch, so that no caller pays for the first time."""
        black = np.zeros((INPUT_PX, INPUT_PX, 3), np.uint8)
        for size in {1, max_batch}:
            self.align([black] * size)

    @torch.inference_mode()
    def align(self, crops: Sequence[Image]) -> list[Alignment]:
        """Align crops of 256×256×3 uint8 RGB, in order."""
        return split(*(answer.numpy() for answer in self._align(torch.from_numpy(np.stack(crops)))))
