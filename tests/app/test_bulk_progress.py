"""What is seen of a run while it works."""

import sys

import pytest

from app import bulk_progress
from app.bulk_progress import shown

pytest.importorskip("pyarrow", reason="pyarrow is not installed")

from lwbafa.bulk.worker import Mark

MARKS = [Mark(0, photographs=10, faces=12), Mark(1, photographs=10, faces=3, failures={"x": 2})]


def test_a_log_gets_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert list(shown(MARKS, 4)) == MARKS
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(bulk_progress, "LOG_EVERY_S", 0.0)
    assert list(shown(MARKS, 4)) == MARKS
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("shards 1/4, 0:00:00 left, ")
    assert first.endswith(" photographs/s, 12 faces, 0 failed")
    assert second.endswith(" photographs/s, 15 faces, 2 failed")


def test_a_terminal_gets_one_line_with_the_rate_and_the_time_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert list(shown(MARKS, 2)) == MARKS
    said = capsys.readouterr().err
    assert "2/2" in said
    assert "photographs/s, 15 faces, 2 failed" in said
