"""The PyTorch engine for CUDA: half precision, a CUDA graph per batch bucket.

At batch 1 a GPU spends most of an eager forward pass waiting for Python to launch the next of some
four hundred kernels; a captured graph launches them all at once. A graph's shapes and addresses are
fixed, so batches are padded to the next bucket and travel through static pinned buffers.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lwbafa.checkpoint import Checkpoint, EngineName
from lwbafa.engine import Alignment, split
from lwbafa.errors import DeviceLost
from lwbafa.network import BoundaryAwareNetwork
from lwbafa.network.scored import ScoredNetwork
from lwbafa.types import Pixels

BUCKETS = (1, 2, 4, 8, 16, 32)

OUT_OF_MEMORY = ("out of memory", "ALLOC_FAILED", "unable to find an engine")
"""What CUDA, cuBLAS and cuDNN say of it in errors that are not PyTorch's OutOfMemoryError."""

logger = logging.getLogger(__name__)


def create(checkpoint: Checkpoint) -> "CudaEngine":
    """The engine for the checkpoint's weights, in half precision. Raises LoadError."""
    network = halved(checkpoint.load_network())
    return CudaEngine(ScoredNetwork(network, checkpoint.markup, checkpoint.manifest.input))


class StaticBatch(NamedTuple):
    """A bucket's buffers on the host, and what turns `crops` into `answers` before it returns."""

    crops: NDArray[np.uint8]
    answers: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.uint8]]
    run: Callable[[], None]


class CudaEngine:
    """Half precision on the current CUDA device. Takes the network over."""

    name: EngineName = "torch"
    device: Literal["cuda"] = "cuda"

    def __init__(self, network: ScoredNetwork) -> None:
        torch.backends.cudnn.benchmark = True  # the shapes are few and fixed
        self._input_px = network.contract.size_px
        self._align = network.to("cuda", memory_format=torch.channels_last)  # type: ignore[call-overload]
        # Capturing needs a stream of its own, and graphs can share memory only if it is the same.
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self._pool = torch.cuda.graph_pool_handle()
        self._batches: dict[int, StaticBatch] = {}
        self._largest = BUCKETS[-1]

    def warm_up(self, max_batch: int) -> None:
        """Capture and run every bucket that batches up to `max_batch` can need.

        Raises MemoryError if not even one crop fits.
        """
        black = np.zeros((self._input_px, self._input_px, 3), np.uint8)
        # The largest first: the smaller ones' intermediate results fit into its memory.
        for size in reversed([size for size in BUCKETS if size <= bucket_for(max_batch)]):
            try:
                self.align([black] * size)
            except MemoryError:
                if size == BUCKETS[0]:
                    raise
                self._largest = size // 2
                logger.warning("this GPU has no room for batches of %d faces", size)

    def align(self, crops: Sequence[Pixels]) -> list[Alignment]:
        """Align crops S×S×3 uint8 RGB, in order.

        Raises MemoryError if they are too many, DeviceLost if the GPU answers nothing any more.
        """
        try:
            return self._align_in_buckets(crops)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                self._check_device()
                raise
            message = str(error)
        # Not in the handler: its exception holds the tensors that are to be freed.
        torch.cuda.empty_cache()
        raise MemoryError(message)

    def _align_in_buckets(self, crops: Sequence[Pixels]) -> list[Alignment]:
        answers = []
        for start in range(0, len(crops), self._largest):
            part = crops[start : start + self._largest]
            batch = self._batch(bucket_for(len(part)))
            # Behind them stay older crops: each row is computed on its own, and theirs is dropped.
            np.stack(part, out=batch.crops[: len(part)])
            batch.run()
            # Copies, since the next batch overwrites the buffers.
            answers += split(*(answer[: len(part)].copy() for answer in batch.answers))
        return answers

    def _batch(self, size: int) -> StaticBatch:
        if size not in self._batches:
            self._batches[size] = self._capture(size)
        return self._batches[size]

    def _check_device(self) -> None:
        """Raise DeviceLost if every call fails from now on, as after an illegal access."""
        try:
            self._synchronise()
        except RuntimeError as error:
            raise DeviceLost("The GPU answers nothing any more.") from error

    def _synchronise(self) -> None:
        torch.cuda.synchronize()

    @torch.inference_mode()
    def _capture(self, size: int) -> StaticBatch:
        """The copy to the device, the forward pass and the copies back, as one CUDA graph."""
        crops = torch.zeros(
            size, self._input_px, self._input_px, 3, dtype=torch.uint8, pin_memory=True
        )
        with torch.cuda.stream(self._stream):
            for _ in range(3):  # kernels are chosen, which cannot be captured
                answers = self._align(crops.to("cuda"))
            pinned = [torch.empty(a.shape, dtype=a.dtype, pin_memory=True) for a in answers]
            self._stream.synchronize()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=self._pool, stream=self._stream):
                answers = self._align(crops.to("cuda", non_blocking=True))
                for host, on_device in zip(pinned, answers, strict=True):
                    host.copy_(on_device, non_blocking=True)

        def run() -> None:
            graph.replay()
            torch.cuda.current_stream().synchronize()

        points, scores, heatmaps = (host.numpy() for host in pinned)
        return StaticBatch(crops.numpy(), (points, scores, heatmaps), run)


def bucket_for(count: int) -> int:
    """The smallest bucket that holds this many crops; the largest one if none does."""
    return next((size for size in BUCKETS if count <= size), BUCKETS[-1])


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether a device error, or one beneath it, is for want of memory.

    Beneath it, since a capture that is broken off ends with an error of its own.
    """
    if error is None:
        return False
    said = isinstance(error, torch.OutOfMemoryError) or any(s in str(error) for s in OUT_OF_MEMORY)
    return said or is_out_of_memory(error.__context__)


def halved(network: BoundaryAwareNetwork) -> BoundaryAwareNetwork:
    """The network with its convolutions in half precision, 97 % of its arithmetic.

    What follows them stays in single precision, but for TF32 inside convolutions where the GPU has
    it: half resolves coordinates around 0.5 only to an eighth of a pixel.
    """
    network.half()
    network.boundary_stage.register_forward_pre_hook(lambda _, inputs: (inputs[0].half(),))
    stage = network.landmark_stage
    for part in (stage.sa_feature, stage.head, stage.coordinates):
        part.float()
    stage.sa_feature.register_forward_pre_hook(_in_single_precision)
    return network


def _in_single_precision(_: nn.Module, inputs: tuple[list[Tensor]]) -> tuple[list[Tensor]]:
    return ([branch.float() for branch in inputs[0]],)
