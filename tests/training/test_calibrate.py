"""Fitting what makes scores probabilities, and the command that does it."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from lwbafa.aligner import FaceAligner
from lwbafa.calibration import Evidence
from lwbafa.checkpoint import Checkpoint
from lwbafa.engine.choose import EngineOptions
from proof.harness.checkpoints import LITE
from tests.conftest import FACE_DATA, needs_face_data
from training.__main__ import main
from training.calibrate import fit
from training.datasets import Face, load_faces
from training.evaluate import measure, with_boxes
from training.harder import harder
from training.reliability import calibration_error

MOST_ERROR = 0.05


def drawn(biases: list[float], slope: float, mean_slope: float, count: int = 4000) -> tuple:  # type: ignore[type-arg]
    """Map values, and points that are right with the probability that the numbers say."""
    rng = np.random.default_rng(0)
    values = rng.beta(5, 2, (count, len(biases))).astype(np.float32)
    evidence = Evidence.of(values)
    logits = np.array(biases) + slope * evidence.logits + mean_slope * evidence.mean
    return values, rng.random(values.shape) < 1 / (1 + np.exp(-logits))


def test_the_fit_finds_the_numbers_that_made_the_points() -> None:
    truth = [-2.0, -1.0, 0.5, 0.0, 1.0]
    *biases, slope, mean_slope = fit(*drawn(truth, 0.8, 2.0))
    assert biases == pytest.approx(truth, abs=0.6)  # they trade off with the mean's slope
    assert (slope, mean_slope) == pytest.approx((0.8, 2.0), rel=0.3)


def test_a_slope_that_would_fall_is_zero_and_the_rest_is_fitted_without_it() -> None:
    *biases, slope, mean_slope = fit(*drawn([0.0] * 6, -0.3, 4.0))
    assert slope == 0
    assert mean_slope > 0
    assert np.isfinite(biases).all()


def test_a_landmark_that_was_always_right_has_a_finite_bias() -> None:
    values, right = drawn([0.0, 0.0], 1, 1, count=50)
    right[:, 1] = True
    assert np.isfinite(fit(values, right)).all()


def test_harder_faces_have_other_boxes_and_pixels_and_the_same_landmarks(data: Path) -> None:
    (face,) = load_faces(data, ["set"], 68)
    before = face.image.copy()
    boxed = harder([face] * 30)
    assert np.array_equal(face.image, before)
    changed = [other for other, _ in boxed.faces if not np.array_equal(other.image, before)]
    assert 10 < len(changed) < 28
    assert len({box for _, box in boxed.faces}) == 30
    assert all(np.array_equal(other.landmarks, face.landmarks) for other, _ in boxed.faces)
    assert [box for _, box in harder([face] * 30).faces] == [box for _, box in boxed.faces]


def test_the_command_writes_a_calibration_of_these_weights_and_draws(
    data: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(LITE, tmp_path / "checkpoint"))
    stale = json.loads((folder / "manifest.json").read_text())
    stale["calibration"]["weights_sha256"] = "0" * 64
    (folder / "manifest.json").write_text(json.dumps(stale))
    assert Checkpoint.load(folder).calibration is None
    where = ["--checkpoint", str(folder), "--data", str(data), "--engine", "openvino"]
    what = ["--source", "set", "--test-source", "set", "--diagram", str(tmp_path / "drawn.png")]
    ended = CliRunner().invoke(main, ["calibrate", *where, *what])
    assert ended.exit_code == 0, ended.output
    assert "ECE within groups" in ended.output
    calibration = Checkpoint.load(folder).calibration
    assert calibration is not None
    assert {row.engine for row in calibration.reliability} == {"openvino"}
    assert cv2.imread(str(tmp_path / "drawn.png")) is not None


def sample() -> list[Face]:
    return load_faces(FACE_DATA, ["300w/helen/testset"], 68)[::5]


@needs_face_data
@pytest.mark.parametrize(
    ("name", "engine"),
    [
        ("lwbafa-300w68", "openvino-int8"),
        ("lwbafa-lite-300w68", "openvino-int8"),
        ("lwbafa-lite-300w68", "openvino"),
    ],
)
def test_scores_say_how_many_points_of_faces_never_seen_are_right(name: str, engine: str) -> None:
    aligner = FaceAligner.load(name, engine=EngineOptions(engine))
    for result in measure(aligner, with_boxes(sample(), aligner.detector)):
        judged = result.judged()
        # A fifth of the faces: the error's own scatter comes on top.
        assert calibration_error(judged.scores, judged.right) <= MOST_ERROR + 0.01
