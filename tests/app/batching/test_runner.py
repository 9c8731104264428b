from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.batching.runner import BatchLimit, BatchRunner
from app.errors import InferenceFailed


class Memory:
    """A device with room for so many items, on which some items fail."""

    def __init__(self, room: int, fails_on: frozenset[int] = frozenset()) -> None:
        self.room = room
        self.fails_on = fails_on
        self.batches: list[int] = []

    def run(self, items: Sequence[int]) -> list[int]:
        self.batches.append(len(items))
        if len(items) > self.room:
            raise MemoryError("no room for so many")
        if self.fails_on & set(items):
            raise ValueError("an item that this device fails on")
        return [2 * item for item in items]


class Clock:
    """A clock that the test moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr("time.monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_what_does_not_fit_is_run_in_halves_and_nobody_notices() -> None:
    doubler, limit = Memory(room=4), BatchLimit(16)
    outcome = BatchRunner(doubler.run, limit).run(range(16))
    assert outcome.answers == [2 * n for n in range(16)]
    # 16 and 8 do not fit; the second 8, which would not either, is not tried.
    assert doubler.batches == [16, 8, 4, 4, 4, 4]
    assert (outcome.passes, outcome.out_of_memory) == (6, 2)
    assert limit.items == 4


def test_one_item_that_does_not_fit_alone_fails_alone() -> None:
    doubler = Memory(room=0)
    outcome = BatchRunner(doubler.run, limit := BatchLimit(4)).run([1, 2, 3])
    assert all(isinstance(answer, InferenceFailed) for answer in outcome.answers)
    assert isinstance(outcome.answers[0], InferenceFailed)
    assert isinstance(outcome.answers[0].__cause__, MemoryError)
    assert limit.items == 1


def test_a_batch_that_raises_anything_else_does_not_lower_the_limit() -> None:
    doubler = Memory(room=8, fails_on=frozenset({5}))
    outcome = BatchRunner(doubler.run, limit := BatchLimit(8)).run(range(8))
    assert [isinstance(answer, InferenceFailed) for answer in outcome.answers].index(True) == 5
    assert outcome.out_of_memory == 0
    assert limit.items == 8


@given(
    st.integers(1, 40), st.integers(1, 40), st.frozensets(st.integers(0, 39)), st.integers(1, 40)
)
def test_every_item_gets_its_own_answer_whatever_goes_wrong(
    size: int, room: int, bad: frozenset[int], most: int
) -> None:
    doubler = Memory(room, bad)
    outcome = BatchRunner(doubler.run, BatchLimit(most)).run(range(size))
    assert outcome.passes == len(doubler.batches)
    for item, answer in zip(range(size), outcome.answers, strict=True):
        if item in bad:
            assert isinstance(answer, InferenceFailed)
        else:
            assert answer == 2 * item


def test_a_lowered_limit_doubles_after_a_while_up_to_what_it_was(clock: Clock) -> None:
    limit = BatchLimit(20, recovery_s=60)
    assert limit.items == 20
    limit.lower(3)
    seen = []
    for _ in range(5):
        seen.append(limit.items)
        clock.now += 59
        seen.append(limit.items)
        clock.now += 1
    assert seen == [3, 3, 6, 6, 12, 12, 20, 20, 20, 20]
    clock.now += 1e9
    assert limit.items == 20


def test_a_limit_is_never_lowered_upwards(clock: Clock) -> None:
    limit = BatchLimit(8)
    limit.lower(2)
    limit.lower(4)
    assert limit.items == 2


def test_the_age_is_that_of_the_running_pass_not_of_the_batch(clock: Clock) -> None:
    ages = []

    def run(items: Sequence[int]) -> list[int]:
        clock.now += 10
        ages.append(batch_runner.pass_age_s())
        if len(items) > 1:
            raise ValueError
        return list(items)

    batch_runner = BatchRunner(run, BatchLimit(4))
    batch_runner.run([1, 2, 3, 4])
    assert ages == [10] * 7
    assert batch_runner.pass_age_s() == 0


def test_halves_run_after_the_failed_pass_has_let_go_of_its_memory() -> None:
    """A handler's exception would hold the frames of the failed pass, and all that is in them."""
    held: set[int] = set()

    class Tensor:
        def __init__(self) -> None:
            held.add(id(self))

        def __del__(self) -> None:
            held.remove(id(self))

    def run(items: Sequence[int]) -> list[int]:
        assert not held
        tensor = Tensor()
        if len(items) > 1:
            raise MemoryError(f"no room beside {tensor}")
        return list(items)

    outcome = BatchRunner(run, BatchLimit(4)).run([1, 2, 3, 4])
    assert outcome.answers == [1, 2, 3, 4]
