"""The PyTorch engine: BatchNorm folded, channels_last, points and scores computed on the device."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from app.engine import Alignment
from app.errors import StartupError
from app.imaging.crop import Image
from app.lwbafa import INPUT_PX, BoundaryAwareNetwork, Markup, fold_batch_norms, normalise


def choose_device(name: str) -> torch.device:
    """The device for a setting of `auto`, `cpu` or `cuda`. Raises StartupError without CUDA."""
    has_cuda = torch.cuda.is_available()
    if name == "cuda" and not has_cuda:
        raise StartupError("device is set to cuda, but PyTorch sees no CUDA device")
    return torch.device("cuda" if has_cuda and name != "cpu" else "cpu")


class TorchEngine:
    """Eager PyTorch in single precision on one device. Takes the network over and folds it."""

    def __init__(
        self, network: BoundaryAwareNetwork, markup: Markup, device: torch.device, threads: int
    ) -> None:
        torch.set_num_threads(threads)
        fold_batch_norms(network.eval())
        self._network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._device = device
        on_boundary = torch.zeros(len(markup.boundaries), markup.landmark_count, dtype=torch.bool)
        for landmark, boundaries in enumerate(markup.boundaries_of_landmark):
            on_boundary[list(boundaries), landmark] = True
        self._on_boundary = on_boundary.to(device)

    def warm_up(self, max_batch: int) -> None:
        """Run the smallest and the largest batch, so that no caller pays for the first time."""
        black = np.zeros((INPUT_PX, INPUT_PX, 3), np.uint8)
        for size in {1, max_batch}:
            self.align([black] * size)

    def align(self, crops: Sequence[Image]) -> list[Alignment]:
        """Align crops of 256×256×3 uint8 RGB, in order. Raises MemoryError if they are too many."""
        try:
            return self._align(crops)
        except torch.OutOfMemoryError as error:
            message = str(error)
        # Not in the handler: its exception holds the tensors that are to be freed.
        torch.cuda.empty_cache()
        raise MemoryError(message)

    @torch.inference_mode()
    def _align(self, crops: Sequence[Image]) -> list[Alignment]:
        batch = torch.from_numpy(np.stack(crops)).to(self._device)
        prediction = self._network(normalise(batch))
        heatmaps = prediction.heatmaps[-1].clamp(0, 1)
        points = prediction.points.cpu().numpy()
        scores = self._scores(prediction.points, heatmaps).cpu().numpy()
        merged = (heatmaps.amax(dim=1) * 255).round().byte().cpu().numpy()
        return [Alignment(*face) for face in zip(points, scores, merged, strict=True)]

    def _scores(self, points: Tensor, heatmaps: Tensor) -> Tensor:
        """The highest of a landmark's own boundaries' heatmaps at its place: B×N, NaN for none."""
        grid = (2 * points - 1).unsqueeze(1)
        sampled = F.grid_sample(heatmaps, grid, align_corners=False).squeeze(2)
        own = sampled.masked_fill(~self._on_boundary, -1.0).amax(dim=1)
        return own.masked_fill(~self._on_boundary.any(dim=0), torch.nan)
