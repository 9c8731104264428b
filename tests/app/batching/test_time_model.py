from typing import cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.batching import BatchTimeModel


def taught(sizes: list[int], a: float, b: float, noise: float = 0.0) -> BatchTimeModel:
    """A model that saw batches of these sizes take a·n + b seconds, give or take the noise."""
    model = BatchTimeModel()
    factors = np.random.default_rng(3).normal(1, noise, len(sizes))
    for size, factor in zip(sizes, factors.tolist(), strict=True):
        model.observe(size, (a * size + b) * factor)
    return model


def mixed_sizes(count: int) -> list[int]:
    return [int(size) for size in np.random.default_rng(7).integers(1, 17, count)]


def test_before_the_first_batch_nothing_is_expected_to_take_time() -> None:
    assert BatchTimeModel().predict(8) == 0


@pytest.mark.parametrize("sizes", [[1, 16], [3, 4, 3, 3], mixed_sizes(20), mixed_sizes(2000)])
@pytest.mark.parametrize(("a", "b"), [(0.004, 0.02), (0.5, 0.0), (0.0, 0.03), (1e-5, 1e-4)])
def test_the_time_of_an_item_and_of_a_batch_are_recovered(
    sizes: list[int], a: float, b: float
) -> None:
    model = taught(sizes, a, b)
    for size in (1, 8, 16, 64):
        assert model.predict(size) == pytest.approx(a * size + b, rel=1e-6)


def test_times_that_scatter_are_averaged() -> None:
    model = taught(mixed_sizes(400), 0.004, 0.02, noise=0.1)
    for size in (1, 8, 16):
        assert model.predict(size) == pytest.approx(0.004 * size + 0.02, rel=0.1)


@pytest.mark.parametrize("size", [1, 8, 37])
@pytest.mark.parametrize("count", [1, 2, 500])
def test_from_batches_of_one_size_only_time_is_taken_to_grow_with_size(
    size: int, count: int
) -> None:
    model = taught([size] * count, 0.01, 0)
    assert model.predict(size) == pytest.approx(0.01 * size)
    assert model.predict(2 * size) == pytest.approx(0.02 * size)


def test_a_device_that_becomes_slower_is_followed() -> None:
    model = taught(mixed_sizes(300), 0.004, 0.02)
    for size in mixed_sizes(500):
        model.observe(size, 3 * (0.004 * size + 0.02))
    for size in (1, 16):
        assert model.predict(size) == pytest.approx(3 * (0.004 * size + 0.02), rel=0.03)


def test_a_shorter_memory_follows_sooner() -> None:
    expected = []
    for memory_batches in (10.0, 100.0):
        model = BatchTimeModel(memory_batches)
        for seconds in [1.0] * 50 + [2.0] * 10:
            model.observe(4, seconds)
        expected.append(model.predict(4))
    quick, slow = expected
    assert 1 < slow < quick < 2


def test_one_slow_batch_is_forgotten() -> None:
    model = BatchTimeModel()
    model.observe(1, 60)
    for size in mixed_sizes(1500):
        model.observe(size, 0.01 * size)
    assert model.predict(8) == pytest.approx(0.08, rel=0.01)


@given(
    st.lists(st.tuples(st.integers(1, 64), st.floats(0, 100)), min_size=1, max_size=20),
    st.integers(1, 64),
)
def test_whatever_was_seen_a_larger_batch_is_expected_to_take_no_less_time(
    seen: list[tuple[int, float]], size: int
) -> None:
    model = BatchTimeModel()
    for observed, seconds in seen:
        model.observe(observed, seconds)
    assert 0 <= model.predict(size) <= model.predict(size + 1)


def test_a_prediction_in_the_middle_of_an_observation_sees_only_what_was_complete() -> None:
    """Requests are admitted on one thread while another learns the time of a batch."""
    model = BatchTimeModel()
    seen: list[float] = []

    class Interrupting(float):
        """Asks for a prediction when it is added to the sum of the sizes."""

        def __radd__(self, other: float) -> float:
            seen.append(model.predict(8))
            return other + float(self)

    model.observe(cast(int, Interrupting(4)), 0.2)
    model.observe(cast(int, Interrupting(2)), 0.1)
    assert seen == [0.0, pytest.approx(0.4)]
    assert model.predict(8) == pytest.approx(0.4)
