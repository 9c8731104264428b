"""What every engine must keep, whatever it runs on."""

from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from lwbafa.checkpoint import Checkpoint, EngineName
from lwbafa.engine import Engine, OverlappingEngine
from lwbafa.engine.choose import ENGINES, EngineOptions, create_engine
from lwbafa.engine.openvino_engine import OpenVinoEngine
from lwbafa.types import Pixels


class Tolerance(NamedTuple):
    """Largest differences from the plain network: points in pixels of 256, heatmaps of 255."""

    points_px: float
    heatmap: float
    mean_heatmap: float


TOLERANCES: dict[EngineName, Tolerance] = {
    "torch": Tolerance(0.01, 1, 0.01),
    "openvino": Tolerance(0.01, 1, 0.01),
    "openvino-int8": Tolerance(3.0, 64, 2.55),
}


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest, checkpoint: Checkpoint) -> Engine:
    return create_engine(checkpoint, EngineOptions(request.param, "cpu", threads=2))


def test_the_engine_answers_as_the_plain_network(
    engine: Engine, plain: tuple[NDArray[np.float32], NDArray[np.float32]], crops: list[Pixels]
) -> None:
    allowed = TOLERANCES[engine.name]
    points, heatmaps = plain
    merged = heatmaps.max(axis=1).clip(0, 1) * 255
    for answer, truth, heatmap in zip(engine.align(crops[:4]), points, merged, strict=False):
        assert answer.points.shape == (68, 2)
        assert answer.points.dtype == np.float32
        assert answer.heatmap.dtype == np.uint8
        assert np.linalg.norm(answer.points - truth, axis=1).max() * 256 < allowed.points_px
        assert np.abs(answer.heatmap - heatmap).max() <= allowed.heatmap
        assert np.abs(answer.heatmap - heatmap).mean() <= max(allowed.mean_heatmap, 0.5)


def test_an_answer_does_not_depend_on_its_companions(engine: Engine, crops: list[Pixels]) -> None:
    many = [crops[i % 7] for i in range(21)]  # an odd number, and more than some take at once
    together = engine.align(many)
    for i in (0, 3, 6, 7, 19, 20):
        alone = engine.align([many[i]])[0]
        assert np.abs(alone.points - together[i].points).max() * 256 <= 0.01
        assert np.abs(alone.map_values - together[i].map_values).max() <= 0.001
        assert np.abs(alone.heatmap.astype(int) - together[i].heatmap).max() <= 1


def test_answers_are_the_callers_own(engine: Engine, crops: list[Pixels]) -> None:
    first = engine.align(crops[:2])
    kept = [answer.points.copy() for answer in first]
    engine.align(crops[2:4])
    for answer, points in zip(first, kept, strict=True):
        assert np.array_equal(answer.points, points)


class Failing:
    """Instead of an inference request: one that fails."""

    def start_async(self, inputs: object) -> None:
        pass

    def wait(self) -> None:
        raise RuntimeError("no room")


def test_a_batch_that_failed_leaves_nothing_running(
    engine: Engine, crops: list[Pixels], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not isinstance(engine, OpenVinoEngine):
        pytest.skip("runs a batch at once")
    with monkeypatch.context() as patched:
        for requests, count in ((engine._alone, 1), (engine._beside, 6)):
            patched.setattr(requests, "idle", [*requests.idle, Failing()])
            with pytest.raises(RuntimeError, match="no room"):
                engine.align(crops[:count])
    assert len(engine.align(crops[:6])) == 6


def test_a_pass_is_begun_before_the_last_one_ends(engine: Engine, crops: list[Pixels]) -> None:
    if not isinstance(engine, OverlappingEngine):
        pytest.skip("takes a batch at a time")
    expected = [engine.align([crop])[0].points for crop in crops[:5]]
    first = engine.begin(crops[:3], crowded=True)
    second = engine.begin(crops[3:5], crowded=True)
    answers = [*first.wait(), *second.wait()]
    for answer, points in zip(answers, expected, strict=True):
        assert np.abs(answer.points - points).max() * 256 <= 0.01


def test_every_batch_size_is_answered_after_warm_up(engine: Engine, crops: list[Pixels]) -> None:
    engine.warm_up(2)
    for size in (3, 5):
        assert len(engine.align(crops[:size])) == size


def test_the_engine_says_what_it_is(engine: Engine) -> None:
    assert engine.name in ENGINES
    assert engine.device == "cpu"
