"""Conversion happens once per content, and its cache can neither break a start nor an answer."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from lwbafa.engine.openvino_model import fp32_model
from numpy.typing import NDArray

from lwbafa.checkpoint import Checkpoint
from lwbafa.engine import openvino_model
from lwbafa.engine.openvino_engine import OpenVinoEngine
from lwbafa.quiet_openvino import ov
from lwbafa.types import Pixels
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def model(checkpoint: Checkpoint, cache_dir: Path) -> ov.Model:
    return fp32_model(checkpoint, cache_dir)


@pytest.fixture
def conversions(model: ov.Model, monkeypatch: pytest.MonkeyPatch) -> list[Checkpoint]:
    """Counts the conversions from here on; each gives the one that was really made."""
    made: list[Checkpoint] = []

    def convert(checkpoint: Checkpoint) -> ov.Model:
        made.append(checkpoint)
        return model

    monkeypatch.setattr(openvino_model, "converted", convert)
    return made


def answers(model: ov.Model, crops: list[Pixels]) -> NDArray[np.float32]:
    return OpenVinoEngine("openvino", model, threads=1).align(crops[:1])[0].points


def test_a_second_start_reads_what_the_first_one_converted(
    checkpoint: Checkpoint,
    model: ov.Model,
    cache_dir: Path,
    conversions: list[Checkpoint],
    crops: list[Pixels],
) -> None:
    again = fp32_model(checkpoint, cache_dir)
    assert not conversions
    assert np.abs(answers(again, crops) - answers(model, crops)).max() < 1e-5


def test_other_content_is_converted_anew(
    checkpoint: Checkpoint, tmp_path: Path, conversions: list[Checkpoint]
) -> None:
    fp32_model(checkpoint, tmp_path)
    retrained = checkpoint.manifest.model_copy(update={"sha256": "0" * 64})
    fp32_model(Checkpoint(tmp_path, retrained), tmp_path)
    fp32_model(checkpoint, tmp_path)
    assert len(conversions) == 2
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    "spoil",
    [
        lambda file: file.with_suffix(".xml").write_text("<net"),
        lambda file: file.with_suffix(".bin").write_bytes(b"short"),
        lambda file: file.with_suffix(".bin").unlink(),
    ],
    ids=["graph", "weights", "no weights"],
)
def test_a_broken_cache_is_replaced(
    checkpoint: Checkpoint,
    tmp_path: Path,
    conversions: list[Checkpoint],
    crops: list[Pixels],
    spoil: Callable[[Path], object],
) -> None:
    fp32_model(checkpoint, tmp_path)
    (graph,) = tmp_path.glob("*/model.xml")
    spoil(graph)
    fp32_model(checkpoint, tmp_path)
    assert len(conversions) == 2
    assert np.isfinite(answers(fp32_model(checkpoint, tmp_path), crops)).all()
    assert len(conversions) == 2


def test_a_cache_that_cannot_be_written_is_done_without(
    checkpoint: Checkpoint,
    model: ov.Model,
    tmp_path: Path,
    conversions: list[Checkpoint],
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "file").write_text("in the way")
    assert fp32_model(checkpoint, tmp_path / "file" / "cache") is model
    assert "was not cached" in caplog.text


def test_two_that_convert_at_once_do_not_meet(
    checkpoint: Checkpoint, model: ov.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def convert_while_another_does(checkpoint: Checkpoint) -> ov.Model:
        monkeypatch.setattr(openvino_model, "converted", lambda _: model)
        fp32_model(checkpoint, tmp_path)
        return model

    monkeypatch.setattr(openvino_model, "converted", convert_while_another_does)
    assert fp32_model(checkpoint, tmp_path) is model
    (folder,) = tmp_path.iterdir()
    assert sorted(path.name for path in folder.iterdir()) == ["model.bin", "model.xml"]


def test_openvino_reports_to_nobody() -> None:
    code = (
        "import sys, app.engine.openvino_model; "
        "assert not [m for m in sys.modules if m.startswith('openvino_telemetry.')]; "
        "from openvino.tools.ovc.telemetry_utils import tm; print(tm.__name__)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == "openvino.tools.ovc.telemetry_stub"
