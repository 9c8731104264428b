"""The OpenVINO models that a checkpoint ships, and what a process that runs them does without."""

import subprocess
import sys

import pytest

from proof.harness import ROOT


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
