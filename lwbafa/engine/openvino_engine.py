"""The OpenVINO engine: an OpenVINO model on the CPU."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Literal, NamedTuple

import numpy as np

from lwbafa.checkpoint import Checkpoint, EngineName
from lwbafa.engine import Alignment, split
from lwbafa.quiet_openvino import ov
from lwbafa.types import Pixels

MOST_SIDE_BY_SIDE = 4

FACES_AT_HAND = 16
"""Given to the streams at once, so that none waits for Python between two faces."""

MOST_TOGETHER, FACES_A_ROUND = 4, 8
"""In one request, and in those of all streams, where a face is quick: requests cost something.

By fours the lite network answers an eighth more faces on two cores, by pairs half of that, by
eights no more than by fours. The service's batches are of eight.
"""

QUICK_S = 0.02
"""For a face on one thread. The full network takes thrice that, and gains nothing together."""


def create(name: EngineName, checkpoint: Checkpoint, threads: int) -> "OpenVinoEngine":
    """The engine for the checkpoint's OpenVINO model of that name. Raises LoadError."""
    model = ov.Core().read_model(*checkpoint.openvino_files(name))
    return OpenVinoEngine(name, model, checkpoint.manifest.input.size_px, threads)


class Requests:
    """The inference requests of a model that was compiled for so many faces each."""

    def __init__(self, compiled: ov.CompiledModel, faces: int) -> None:
        self.faces = faces
        self._compiled = compiled
        self.idle: list[ov.InferRequest] = []

    def start(self, crops: Sequence[Pixels]) -> "Started":
        """Have one work on the crops, which are as many as it takes."""
        request = self.idle.pop() if self.idle else self._compiled.create_infer_request()
        request.start_async([np.stack(crops)])
        return Started(request, self)


class Started(NamedTuple):
    """A request that was given its crops, and those it belongs to."""

    request: ov.InferRequest
    requests: Requests

    def answers(self) -> list[Alignment]:
        """Wait for them. They are copies, since the next faces overwrite the tensors."""
        self.request.wait()
        answers = split(*(tensor.data.copy() for tensor in self.request.output_tensors))
        self.requests.idle.append(self.request)
        return answers

    def leave(self) -> None:
        """Wait for its end, whatever comes of it, and let others have it unless it failed."""
        with suppress(RuntimeError):
            self.request.wait()
            self.requests.idle.append(self.request)


class OpenVinoEngine:
    """Faces of a batch side by side, each on its share of the threads; a lone one on all of them.

    Threads that share a face wait for each other at every layer: the event loop, which now and then
    takes a core, would hold up the others as well. So no face is shared but those too few to give
    every stream one: they run one after the other. Quick ones go several to a request while every
    stream can have as many.
    """

    device: Literal["cpu"] = "cpu"

    def __init__(self, name: EngineName, model: ov.Model, input_px: int, threads: int) -> None:
        self.name = name
        self._black = np.zeros((input_px, input_px, 3), np.uint8)
        self._streams = min(threads, MOST_SIDE_BY_SIDE)
        options = {
            "INFERENCE_NUM_THREADS": threads,
            # Where the CPU has bf16, that would be taken unasked.
            "INFERENCE_PRECISION_HINT": "f32",
            # Two processes on one machine would pin their threads to the same cores.
            "ENABLE_CPU_PINNING": False,
        }
        core = ov.Core()

        def compiled(faces: int, streams: int) -> Requests:
            # Compiled for any size, the network is no quicker and keeps half a gigabyte more.
            model.reshape([faces, input_px, input_px, 3])
            streamed = {**options, "NUM_STREAMS": streams}
            return Requests(core.compile_model(model, "CPU", streamed), faces)

        self._beside = compiled(1, self._streams)
        self._alone = compiled(1, 1) if self._streams > 1 else self._beside
        self._together: Requests | None = None
        if _is_quick(self._beside, self._black):
            each = min(MOST_TOGETHER, FACES_A_ROUND // self._streams)
            self._together = compiled(each, self._streams)

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
        together = self._together
        grouped = _in_full_rounds(len(crops), self._streams * together.faces) if together else 0
        rest = len(crops) - grouped
        beside = grouped + (rest if crowded else _in_full_rounds(rest, self._streams))
        return OpenVinoPass(
            (*_dealt(together, crops[:grouped]), *_dealt(self._beside, crops[grouped:beside])),
            _dealt(self._alone, crops[beside:]),
            self._streams,
        )


Dealt = tuple[Requests, Sequence[Pixels]]
"""Crops for one of the requests."""


class OpenVinoPass:
    """Crops with the streams, then some `alone`, one after the other.

    Once it has ended, or failed, the requests are idle again.
    """

    def __init__(self, beside: Sequence[Dealt], alone: Sequence[Dealt], streams: int) -> None:
        self._alone = alone
        self._streams = streams
        self._started: list[Started] = []
        self._answers: list[Alignment] = []
        with self._ending_if_it_fails():
            self._start(beside)

    def wait_for_room(self) -> bool:
        """Wait until as many are left as there are streams, all of them running.

        A face alone is to have all threads.
        """
        if self._alone:
            return False
        self._collect_all_but(self._streams)
        return True

    def wait(self) -> list[Alignment]:
        """The answers, in order."""
        self._collect_all_but(0)
        for dealt in self._alone:
            self._start([dealt])
            self._collect_all_but(0)
        return self._answers

    def _start(self, dealt: Sequence[Dealt]) -> None:
        for requests, crops in dealt:
            self._started.append(requests.start(crops))

    def _collect_all_but(self, count: int) -> None:
        """Wait for the first ones."""
        with self._ending_if_it_fails():
            while len(self._started) > count:
                self._answers += self._started.pop(0).answers()

    @contextmanager
    def _ending_if_it_fails(self) -> Iterator[None]:
        """Wait for what a failed batch left running, and let others have the requests."""
        try:
            yield
        except BaseException:
            while self._started:
                self._started.pop().leave()
            raise


def _dealt(requests: Requests | None, crops: Sequence[Pixels]) -> list[Dealt]:
    if requests is None:
        return []
    each = requests.faces
    return [(requests, crops[start : start + each]) for start in range(0, len(crops), each)]


def _in_full_rounds(count: int, a_round: int) -> int:
    """Of so many, those that make full rounds."""
    return count // a_round * a_round


def _is_quick(requests: Requests, crop: Pixels) -> bool:
    """By the best of a few: the first is slow, and others may hold one up."""
    best = QUICK_S + 1
    for _ in range(4):
        started = time.perf_counter()
        requests.start([crop]).answers()
        best = min(best, time.perf_counter() - started)
    return best <= QUICK_S
