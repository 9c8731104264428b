"""Every bench runs and fills its table; how fast anything was is not looked at."""

import json
from pathlib import Path

import pytest

from app.settings import Settings
from bench import __main__ as bench_main
from bench import batcher, idle, latency, memory, rivals, service
from bench.batcher import CALLERS
from bench.report import Report

CHECKPOINT = Settings().checkpoint_dir


def filled(report: Report) -> list[str]:
    """The columns, the same in every row."""
    (columns,) = {tuple(row) for row in report.rows}
    assert report.note
    assert report.as_text().count("\n") > len(report.rows)
    return list(columns)


def test_batcher() -> None:
    report = batcher.measure(rounds=2, items=200)
    filled(report)
    assert [row["callers"] for row in report.rows] == [str(callers) for callers in CALLERS]
    alone, *together = [row["mean batch"] for row in report.rows]
    assert alone == 1
    assert all(isinstance(mean, float) and 1 <= mean <= 8 for mean in together)


def test_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proof.harness.closed_loop.RAMP_S", 1.0)
    report = service.measure(CHECKPOINT, rounds=1, seconds=1, connections=2)
    filled(report)
    assert len(report.rows) == 3


def test_latency() -> None:
    report = latency.measure(CHECKPOINT, rounds=1, requests=1)
    assert filled(report) == ["stage", "box given", "detection", "12 MP, detection"]
    stages = {row["stage"] for row in report.rows}
    assert {"decode", "detect", "network", "total", latency.OVERHEAD, latency.CLIENT} <= stages


def test_idle() -> None:
    filled(idle.measure(CHECKPOINT, rounds=1, seconds=0.1))


def test_memory() -> None:
    filled(memory.measure(CHECKPOINT, requests=4))


def test_rivals_without_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rivals, "PYTHON", Path("not/installed"))
    report = rivals.measure(CHECKPOINT, rounds=1, seconds=0.01)
    filled(report)
    assert len(report.rows) == 1
    assert "--setup" in report.note


def test_what_was_measured_is_kept_when_a_later_bench_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def broken(*_: object) -> Report:
        raise RuntimeError("no such luck")

    monkeypatch.setattr(latency, "measure", broken)
    out = tmp_path / "made" / "bench.json"
    arguments = ["--only", "batcher", "latency", "--rounds", "1", "--batcher-items", "200"]
    monkeypatch.setattr("sys.argv", ["bench", *arguments, "--out", str(out)])
    with pytest.raises(RuntimeError, match="no such luck"):
        bench_main.main()
    assert list(json.loads(out.read_text())["benches"]) == ["batcher"]


def test_a_folder_without_faces_is_refused_before_anything_is_measured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["bench", "--data", str(tmp_path)])
    with pytest.raises(SystemExit):
        bench_main.main()
    assert "holds neither 300w/helen/testset nor wflw/" in capsys.readouterr().err
