"""Every bench runs and fills its table; how fast anything was is not looked at."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from bench import __main__ as bench_main
from bench import (
    batcher,
    contenders,
    crowds,
    engine,
    idle,
    latency,
    memory,
    models,
    rivals,
    service,
    shapes,
)
from bench.batcher import CALLERS
from bench.report import Report, Spread
from lwbafa.model_store import checkpoint_names
from lwbafa.types import Pixels
from proof.harness.checkpoints import LITE
from tests.conftest import ASTRONAUT_POINTS
from training.datasets import Face


def filled(report: Report) -> list[str]:
    """The columns, the same in every row."""
    (columns,) = {tuple(row) for row in report.rows}
    assert report.note
    assert report.as_text().count("\n") > len(report.rows)
    return list(columns)


def test_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "BATCHES", (1,))
    report = engine.measure(LITE, rounds=1, seconds=0.01)
    assert filled(report) == ["engine", "batch", "faces per second", "ratio"]
    measured = {str(row["engine"]) for row in report.rows}
    assert {engine.EAGER, engine.LABELS["torch"], engine.LABELS["openvino-int8"]} <= measured


def test_crowds(monkeypatch: pytest.MonkeyPatch, astronaut: Pixels) -> None:
    monkeypatch.setattr(crowds, "DETECTION_PX", (960, 2880))
    monkeypatch.setattr(crowds, "HEIGHTS_PX", (28, 40))
    landmarks = np.array([*ASTRONAUT_POINTS.values()], np.float32)
    face = Face("astronaut", astronaut, landmarks)
    report = crowds.report([face], pictures=1, seed=0)
    assert filled(report)[:2] == ["detection_px", "found of 30"]
    whole, fine = (row["found of 30"] for row in report.rows)
    assert isinstance(whole, Spread)
    assert isinstance(fine, Spread)
    assert whole.median < fine.median == 30
    assert [row["found twice"] for row in report.rows] == ["0", "0"]


def test_batcher() -> None:
    report = batcher.measure(rounds=2, items=200)
    filled(report)
    assert [row["callers"] for row in report.rows] == [str(callers) for callers in CALLERS]
    alone, *together = [row["mean batch"] for row in report.rows]
    assert alone == 1
    assert all(isinstance(mean, float) and 1 <= mean <= 8 for mean in together)


def test_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proof.harness.closed_loop.RAMP_S", 1.0)
    report = service.measure(LITE, rounds=1, seconds=1, connections=2)
    filled(report)
    assert len(report.rows) == 3


def test_latency() -> None:
    report = latency.measure(LITE, rounds=1, requests=1)
    cases = ["box given", "detection", "detection, 100 ms apart", "12 MP, detection"]
    assert filled(report) == ["stage", *cases]
    stages = {row["stage"] for row in report.rows}
    assert {"decode", "detect", "network", "total", latency.OVERHEAD, latency.CLIENT} <= stages


def test_idle() -> None:
    filled(idle.measure(LITE, rounds=1, seconds=0.1))


def test_memory() -> None:
    filled(memory.measure(LITE, requests=4))


def test_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "ENGINES", ("auto",))
    monkeypatch.setattr(models, "REST_S", 0.0)
    report = models.measure(LITE, rounds=1)
    filled(report)
    assert [row["models"] for row in report.rows] == ["1", "2"]


def test_rivals_without_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contenders, "PYTHON", Path("not/installed"))
    report = rivals.measure(LITE, rounds=1, seconds=0.01)
    filled(report)
    assert len(report.rows) == len(checkpoint_names()) + 1
    assert "--setup" in report.note


def test_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    some = shapes.photographs()
    assert len({photograph.shape for photograph in some}) == len(some) == 31
    monkeypatch.setattr(shapes, "photographs", lambda: some[:2])
    report = shapes.measure(rounds=1)
    filled(report)
    assert [row["detector"] for row in report.rows] == ["centerface, 640 px", "yunet, 960 px"]


def test_what_was_measured_is_kept_when_a_later_bench_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def broken(*_: object) -> Report:
        raise RuntimeError("no such luck")

    monkeypatch.setattr(latency, "measure", broken)
    out = tmp_path / "made" / "bench.json"
    arguments = [
        "--only",
        "batcher",
        "--only",
        "latency",
        "--rounds",
        "1",
        "--batcher-items",
        "200",
    ]
    result = CliRunner().invoke(bench_main.main, [*arguments, "--out", str(out)])
    assert str(result.exception) == "no such luck"
    assert list(json.loads(out.read_text())["benches"]) == ["batcher"]


def test_a_folder_without_faces_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    result = CliRunner().invoke(bench_main.main, ["--data", str(tmp_path)])
    assert result.exit_code == 2
    assert "holds neither 300w/helen/testset nor wflw/" in result.output
