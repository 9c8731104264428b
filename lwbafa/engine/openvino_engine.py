"""The OpenVINO engine: an OpenVINO model on the CPU."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
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
        self._beside = core.compile_model(model, "CPU", {**options, "NUM_STREAMS": self._streams})
        self._idle: list[ov.InferRequest] = []
        self._alone = self._request()
        if self._streams > 1:
            alone = core.compile_model(model, "CPU", {**options, "NUM_STREAMS": 1})
            self._alone = alone.create_infer_request()

    def warm_up(self, max_batch: int) -> None:
        """Run the smallest and the largest batch, so that no caller pays for the first time."""
        self.align([self._black])
        for running in [self.begin([self._black] * max_batch, crowded=True) for _ in range(2)]:
            running.wait()

    def align(self, crops: Sequence[Pixels]) -> list[Alignment]:
        """Align crops S×S×3 uint8 RGB, in order."""
        answers: list[Alignment] = []
        for start in range(0, len(crops), FACES_AT_HAND):
            end = start + FACES_AT_HAND
            answers += self.begin(crops[start:end], crowded=end < len(crops)).wait()
        return answers

    def begin(self, crops: Sequence[Pixels], crowded: bool) -> "OpenVinoPass":
        """Give crops to the streams, but those too few for every stream only if it is crowded."""
        count = len(crops) if crowded else len(crops) - len(crops) % self._streams
        requests = [self._idle.pop() if self._idle else self._request() for _ in range(count)]
        alone = [self._alone] * (len(crops) - count)
        return OpenVinoPass(requests, alone, crops, self._streams, self._idle)

    def _request(self) -> "ov.InferRequest":
        return self._beside.create_infer_request()


class OpenVinoPass:
    """Crops with the streams, a request each; then some alone, one after the other.

    Once it has ended, or failed, the requests are back among the `idle` ones, and none runs.
    """

    def __init__(
        self,
        requests: "list[ov.InferRequest]",
        alone: "list[ov.InferRequest]",
        crops: Sequence[Pixels],
        streams: int,
        idle: "list[ov.InferRequest]",
    ) -> None:
        self._requests, self._alone, self._idle = requests, alone, idle
        self._rest = crops[len(requests) :]
        self._streams = streams
        self._answers: list[Alignment] = []
        with self._ending_if_it_fails():
            for request, crop in zip(requests, crops, strict=False):
                request.start_async([crop[None]])

    def wait_for_room(self) -> bool:
        """Wait until as many are left as there are streams, all of them running.

        A face alone is to have all threads.
        """
        if self._alone:
            return False
        with self._ending_if_it_fails():
            self._collect(len(self._requests) - self._streams)
        return True

    def wait(self) -> list[Alignment]:
        """The answers, in order."""
        with self._ending_if_it_fails():
            self._collect(len(self._requests))
            for request, crop in zip(self._alone, self._rest, strict=True):
                request.start_async([crop[None]])
                request.wait()
                self._answers += _answer(request)
        self._end()
        return self._answers

    def _collect(self, count: int) -> None:
        """Wait for the first ones."""
        while len(self._answers) < count:
            request = self._requests[len(self._answers)]
            request.wait()
            self._answers += _answer(request)

    @contextmanager
    def _ending_if_it_fails(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self._end()
            raise

    def _end(self) -> None:
        """Wait for what a failed batch left running, and let others have the requests."""
        for request in (*self._requests, *self._alone):
            with suppress(RuntimeError):
                request.wait()
        self._idle += self._requests
        self._requests = []


def _answer(request: "ov.InferRequest") -> list[Alignment]:
    """Copies, since the next face overwrites the tensors."""
    return split(*(tensor.data.copy() for tensor in request.output_tensors))
