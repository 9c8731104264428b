"""What is seen of a run while it works."""

import sys

import pytest

from app import bulk_progress
from app.bulk_progress import sum_up

pytest.importorskip("pyarrow", reason="pyarrow is not installed")

from lwbafa.bulk.worker import Mark

MARKS = [Mark(0, photographs=10, faces=12), Mark(1, photographs=10, faces=3, failures={"x": 2})]


def test_a_log_gets_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    totals = sum_up(MARKS, 4)
    assert (totals.photographs, totals.faces, totals.failures.total()) == (20, 15, 2)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(bulk_progress, "LOG_EVERY_S", 0.0)
    sum_up([*MARKS, Mark(2, left="store gone")], 4)
    first, second, third = capsys.readouterr().err.splitlines()
    assert first.startswith("shards 1/4, 0:00:00 left, ")
    assert first.endswith(" photographs/s, 12 faces, 0 failed")
    assert second.endswith(" photographs/s, 15 faces, 2 failed")
    assert third.startswith("shards 3/4, 0:00:00 left, ")


def test_a_terminal_gets_one_line_with_the_rate_and_the_time_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    sum_up(MARKS, 2)
    said = capsys.readouterr().err
    assert "2/2" in said
    assert "photographs/s, 15 faces, 2 failed" in said
