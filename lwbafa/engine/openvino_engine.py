"""The OpenVINO engine: an OpenVINO model on the CPU."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Literal

import numpy as np

from lwbafa.checkpoint import Checkpoint, EngineName
from lwbafa.engine import Alignment, split
from lwbafa.quiet_openvino import ov
from lwbafa.types import Pixels

MOST_SIDE_BY_SIDE = 4

FACES_AT_HAND = 16
"""Given to the streams at once, so that none waits for Python between two faces."""


def create(name: EngineName, checkpoint: Checkpoint, threads: int) -> "OpenVinoEngine":
    """The engine for the checkpoint's OpenVINO model of that name. Raises LoadError."""
    model = ov.Core().read_model(*checkpoint.openvino_files(name))
    return OpenVinoEngine(name, model, checkpoint.manifest.input.size_px, threads)


class OpenVinoEngine:
    """Faces of a batch side by side, each on its share of the threads; a lone one on all of them.

    Threads that share a face wait for each other at every layer: the event loop, which now and then
    takes a core, would hold up the others as well. So no face is shared but those too few to give
    every stream one: they run one after the other.
    """

    device: Literal["cpu"] = "cpu"

    def __init__(self, name: EngineName, model: ov.Model, input_px: int, threads: int) -> None:
        self.name = name
        self._black = np.zeros((input_px, input_px, 3), np.uint8)
        options = {
            "INFERENCE_NUM_THREADS": threads,
            # Where the CPU has bf16, that would be taken unasked.
            "INFERENCE_PRECISION_HINT": "f32",
            # Two processes on one machine would pin their threads to the same cores.
            "ENABLE_CPU_PINNING": False,
        }
        core = ov.Core()
        # Compiled for any size, the network is no quicker and keeps half a gigabyte more.
        model.reshape([1, input_px, input_px, 3])
        self._streams = min(threads, MOST_SIDE_BY_SIDE)
        beside = core.compile_model(model, "CPU", {**options, "NUM_STREAMS": self._streams})
        self._side_by_side = [beside.create_infer_request() for _ in range(FACES_AT_HAND)]
        self._alone = self._side_by_side[0]
        if self._streams > 1:
            alone = core.compile_model(model, "CPU", {**options, "NUM_STREAMS": 1})
            self._alone = alone.create_infer_request()

    def warm_up(self, max_batch: int) -> None:
        """Run the smallest and the largest batch, so that no caller pays for the first time."""
        for size in {1, max_batch}:
            self.align([self._black] * size)

    def align(self, crops: Sequence[Pixels]) -> list[Alignment]:
        """Align crops S×S×3 uint8 RGB, in order."""
        answers: list[Alignment] = []
        together = len(crops) - len(crops) % self._streams
        for start in range(0, together, FACES_AT_HAND):
            some = crops[start : min(start + FACES_AT_HAND, together)]
            answers += _run(self._side_by_side[: len(some)], some)
        for crop in crops[together:]:
            answers += _run([self._alone], [crop])
        return answers


def _run(requests: "list[ov.InferRequest]", crops: Sequence[Pixels]) -> list[Alignment]:
    """A crop on each request, all at once."""
    answers: list[Alignment] = []
    try:
        for request, crop in zip(requests, crops, strict=True):
            request.start_async([crop[None]])
        for request in requests:
            request.wait()
            answers += _answer(request)
    except BaseException:
        _finish(requests)
        raise
    return answers


def _finish(requests: "list[ov.InferRequest]") -> None:
    """Wait for what a failed batch left running: the same requests take its halves."""
    for request in requests:
        with suppress(RuntimeError):
            request.wait()


def _answer(request: "ov.InferRequest") -> list[Alignment]:
    """Copies, since the next face overwrites the tensors."""
    return split(*(tensor.data.copy() for tensor in request.output_tensors))
