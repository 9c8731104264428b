"""The OpenVINO models that a checkpoint ships, and what a process that runs them does without."""

import subprocess
import sys
from collections.abc import Sequence
from unittest.mock import MagicMock

import numpy as np
import pytest

from lwbafa.checkpoint import Checkpoint
from lwbafa.engine import openvino_engine
from lwbafa.engine.openvino_engine import (
    OpenVinoEngine,
    Requests,
    Started,
    create,
)
from lwbafa.types import Pixels
from proof.harness import ROOT
from proof.harness.checkpoints import LITE


def python(code: str) -> str:
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return ran.stdout.strip()


@pytest.mark.parametrize("engine", ["openvino-int8", "openvino"])
def test_a_process_that_runs_openvino_imports_no_torch(engine: str) -> None:
    said = python(
        "import sys, numpy as np\n"
        "from lwbafa import EngineOptions, FaceAligner\n"
        f"aligner = FaceAligner.load(engine=EngineOptions({engine!r}, threads=1))\n"
        "(face,) = aligner.align(np.zeros((99, 99, 3), np.uint8), boxes=[(30, 30, 40, 40)])\n"
        "print(face.landmarks.shape, 'torch' in sys.modules, aligner.engine.name)"
    )
    assert said == f"(68, 2) False {engine}"


def test_openvino_reports_to_nobody() -> None:
    said = python(
        "import sys, lwbafa.engine.openvino_engine\n"
        "assert not [m for m in sys.modules if m.startswith('openvino_telemetry.')]\n"
        "from openvino.tools.ovc.telemetry_utils import tm; print(tm.__name__)"
    )
    assert said == "openvino.tools.ovc.telemetry_stub"


def lite_engine(
    monkeypatch: pytest.MonkeyPatch, quick_s: float, threads: int = 2
) -> OpenVinoEngine:
    """A stream a thread; whether its faces are quick does not depend on the machine."""
    monkeypatch.setattr(openvino_engine, "QUICK_S", quick_s)
    return create("openvino-int8", Checkpoint.load(LITE), threads)


def noted(monkeypatch: pytest.MonkeyPatch, requests: Requests) -> list[int]:
    """How many faces each of the requests is given from now on."""
    given: list[int] = []
    start = requests.start

    def noting(crops: Sequence[Pixels]) -> Started:
        given.append(len(crops))
        return start(crops)

    monkeypatch.setattr(requests, "start", noting)
    return given


def test_quick_faces_go_together_when_every_stream_has_as_many(
    monkeypatch: pytest.MonkeyPatch, crops: list[Pixels]
) -> None:
    engine = lite_engine(monkeypatch, quick_s=60)
    alone = [engine.align([crop])[0] for crop in crops]
    requests = engine._together
    assert requests is not None
    for count, groups in ((7, 0), (8, 2), (15, 2), (21, 4)):  # 21 are 16 at hand, then 5
        with monkeypatch.context() as patched:
            given = noted(patched, requests)
            answers = engine.align([crops[i % 8] for i in range(count)])
        assert given == [4] * groups
        assert len(answers) == count
        for i, answer in enumerate(answers):
            assert np.abs(answer.points - alone[i % 8].points).max() * 256 <= 0.01
            assert np.abs(answer.map_values - alone[i % 8].map_values).max() <= 0.001


def test_what_a_failed_batch_left_running_is_idle_once(
    monkeypatch: pytest.MonkeyPatch, crops: list[Pixels]
) -> None:
    """There may be no memory even for its answers, which nobody wants; the halves need room."""
    engine = lite_engine(monkeypatch, quick_s=60)
    running = engine.begin([crops[i % 8] for i in range(16)], crowded=True)
    with monkeypatch.context() as patched:
        patched.setattr(openvino_engine, "split", MagicMock(side_effect=MemoryError))
        with pytest.raises(MemoryError):
            running.wait()
    requests = engine._together
    assert requests is not None
    assert len(requests.idle) == 3, "all but the one whose answers had no room"
    assert running.wait() == []
    assert len(requests.idle) == 3
    assert len(engine.align(crops)) == len(crops)


@pytest.mark.parametrize(("threads", "each"), [(1, 4), (3, 2), (4, 2)])
def test_a_batch_of_eight_is_a_round_of_all_streams(
    monkeypatch: pytest.MonkeyPatch, crops: list[Pixels], threads: int, each: int
) -> None:
    engine = lite_engine(monkeypatch, quick_s=60, threads=threads)
    assert engine._together is not None
    given = noted(monkeypatch, engine._together)
    engine.align(crops)
    assert given == [each] * (8 // each // threads * threads)


def test_faces_that_take_long_have_no_model_for_several(monkeypatch: pytest.MonkeyPatch) -> None:
    assert lite_engine(monkeypatch, quick_s=0)._together is None


@pytest.mark.parametrize(("crowded", "alone"), [(False, [1]), (True, [])])
def test_a_lone_face_has_all_threads_unless_others_wait(
    checkpoint: Checkpoint,
    crops: list[Pixels],
    monkeypatch: pytest.MonkeyPatch,
    crowded: bool,
    alone: list[int],
) -> None:
    """And nothing is begun beside it, which would take threads from it."""
    engine = create("openvino-int8", checkpoint, threads=2)
    given = noted(monkeypatch, engine._alone)
    running = engine.begin(crops[:3], crowded=crowded)
    assert running.wait_for_room() is crowded
    assert len(running.wait()) == 3
    assert given == alone
