"""The CUDA engine: what a CPU can test of it, and on a GPU the answers too."""

import weakref

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lwbafa.checkpoint import Checkpoint
from lwbafa.engine.cuda_engine import (
    BUCKETS,
    CudaEngine,
    StaticBatch,
    bucket_for,
    create,
    halved,
    is_out_of_memory,
)
from lwbafa.errors import DeviceLost
from lwbafa.network.scored import ScoredNetwork
from lwbafa.types import Pixels

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


class Echo(CudaEngine):
    """The real batching over buckets; in a graph's place, answers that tell the crops apart."""

    def __init__(self) -> None:
        self._batches: dict[int, StaticBatch] = {}
        self._largest = BUCKETS[-1]
        self._input_px = 256
        self.ran: list[int] = []

    def _capture(self, size: int) -> StaticBatch:
        crops = np.zeros((size, 256, 256, 3), np.uint8)
        points = np.zeros((size, 68, 2), np.float32)
        answers = (points, np.zeros((size, 68), np.float32), np.zeros((size, 64, 64), np.uint8))

        def run() -> None:
            self.ran.append(size)
            points[:] = crops[:, :1, :1, :1].reshape(size, 1, 1)

        return StaticBatch(crops, answers, run)


def numbered(count: int, first: int = 1) -> list[Pixels]:
    return [np.full((256, 256, 3), first + i, np.uint8) for i in range(count)]


@pytest.mark.parametrize(
    ("count", "bucket"), [(1, 1), (2, 2), (3, 4), (5, 8), (16, 16), (17, 32), (33, 32)]
)
def test_the_bucket_is_the_smallest_that_holds_the_batch(count: int, bucket: int) -> None:
    assert bucket_for(count) == bucket


@pytest.mark.parametrize("count", [1, 3, 8, 31, 32, 33, 70])
def test_padding_changes_neither_number_nor_order(count: int) -> None:
    engine = Echo()
    answers = engine.align(numbered(count))
    assert [answer.points[0, 0] for answer in answers] == list(range(1, count + 1))


def test_a_batch_beyond_the_largest_bucket_is_run_in_parts() -> None:
    engine = Echo()
    engine.align(numbered(67))
    assert engine.ran == [32, 32, 4]


class Full(Echo):
    """A device with room for so many crops at once."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room
        self.seen: list[weakref.ref[torch.Tensor]] = []

    def _capture(self, size: int) -> StaticBatch:
        tensor = torch.zeros(size)
        self.seen.append(weakref.ref(tensor))
        if size > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super()._capture(size)


def test_a_batch_too_large_for_the_device_is_a_memory_error_and_lets_go_of_its_memory() -> None:
    engine = Full(room=2)
    with pytest.raises(MemoryError, match="CUDA out of memory") as error:
        engine.align(numbered(3))
    assert error.value.__context__ is None
    assert [tensor() for tensor in engine.seen] == [None]
    assert len(engine.align(numbered(2))) == 2


def test_a_small_device_warms_up_what_it_has_room_for(caplog: pytest.LogCaptureFixture) -> None:
    engine = Full(room=4)
    engine.warm_up(16)
    assert sorted(engine._batches) == [1, 2, 4]
    assert [record.args for record in caplog.records] == [(16,), (8,)]


def test_a_size_that_did_not_fit_in_warm_up_is_not_tried_again() -> None:
    engine = Full(room=4)
    engine.warm_up(8)
    tried = len(engine.seen)
    assert len(engine.align(numbered(8))) == 8
    assert engine.ran[-2:] == [4, 4]
    assert len(engine.seen) == tried


def test_a_device_without_room_for_one_crop_does_not_warm_up() -> None:
    with pytest.raises(MemoryError):
        Full(room=0).warm_up(16)


def broken_capture() -> RuntimeError:
    """How a capture ends that ran out of memory: with an error of its own."""
    error = RuntimeError("CUDA error: operation failed due to a previous error during capture")
    error.__context__ = torch.OutOfMemoryError("CUDA out of memory")
    return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("Tried to allocate 2 GiB"), True),
        (torch.AcceleratorError("CUDA error: out of memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"), True),
        (broken_capture(), True),
        (torch.AcceleratorError("CUDA error: an illegal memory access was encountered"), False),
        (None, False),
    ],
)
def test_what_is_for_want_of_memory(error: BaseException | None, expected: bool) -> None:
    assert is_out_of_memory(error) is expected


class Failing(Echo):
    """A device that fails, for this once or for good."""

    def __init__(self, for_good: bool) -> None:
        super().__init__()
        self.for_good = for_good

    def _capture(self, size: int) -> StaticBatch:
        raise torch.AcceleratorError(f"CUDA error: launch failure in a batch of {size}")

    def _synchronise(self) -> None:
        if self.for_good:
            raise torch.AcceleratorError("CUDA error: unspecified launch failure")


@pytest.mark.parametrize(
    ("for_good", "raised"), [(False, torch.AcceleratorError), (True, DeviceLost)]
)
def test_a_device_that_fails_for_good_is_told_from_one_that_failed_once(
    for_good: bool, raised: type[Exception]
) -> None:
    with pytest.raises(raised):
        Failing(for_good).align(numbered(1))


def test_what_an_earlier_batch_left_is_not_answered() -> None:
    engine = Echo()
    first = engine.align(numbered(4))
    second = engine.align(numbered(3, first=100))
    assert [answer.points[0, 0] for answer in second] == [100, 101, 102]
    assert [answer.points[0, 0] for answer in first] == [1, 2, 3, 4]


def test_warm_up_captures_what_the_largest_batch_needs() -> None:
    engine = Echo()
    engine.warm_up(5)
    assert sorted(engine._batches) == [1, 2, 4, 8]
    assert set(engine._batches) < set(BUCKETS)


def test_half_precision_keeps_the_points(
    checkpoint: Checkpoint,
    plain: tuple[NDArray[np.float32], NDArray[np.float32]],
    crops: list[Pixels],
) -> None:
    aligner = ScoredNetwork(
        halved(checkpoint.load_network()), checkpoint.markup, checkpoint.manifest.input
    )
    with torch.inference_mode():
        points, scores, merged = aligner(torch.from_numpy(np.stack(crops[:1])))
    assert points.dtype == scores.dtype == torch.float32
    assert np.abs(points.numpy() - plain[0][:1]).max() * 256 < 0.25
    heatmaps = plain[1][:1].max(axis=1).clip(0, 1) * 255
    assert np.abs(merged.numpy() - heatmaps).mean() < 1


@needs_cuda
def test_graphs_answer_as_the_plain_network(
    checkpoint: Checkpoint,
    plain: tuple[NDArray[np.float32], NDArray[np.float32]],
    crops: list[Pixels],
) -> None:
    engine = create(checkpoint)
    engine.warm_up(8)
    for count in (1, 3, 8):
        answers = engine.align(crops[:count])
        for answer, truth in zip(answers, plain[0], strict=False):
            assert np.abs(answer.points - truth).max() * 256 < 0.25
