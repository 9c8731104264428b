"""Scores: from a map's value to a probability, the same on every way in, never of other weights."""

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from lwbafa import FaceAligner
from lwbafa.bulk.aligner import BulkAligner
from lwbafa.calibration import Calibration
from lwbafa.checkpoint import Checkpoint
from lwbafa.engine.choose import EngineOptions
from lwbafa.model_store import checkpoint_folder, checkpoint_names
from lwbafa.types import Pixels
from proof.harness.checkpoints import LITE
from tests.conftest import encode

BY_HAND = Calibration(
    weights_sha256="any", fitted_on="nothing", slope=1, mean_slope=2, biases=(-1, 0, 0.5)
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(LITE, tmp_path / "checkpoint"))


def rewrite(folder: Path, **changes: object) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def calibration_of(folder: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((folder / "manifest.json").read_text())["calibration"]
    return found


def test_a_probability_by_hand() -> None:
    values = np.array([0.5, 0.8, np.nan], np.float32)
    logits = np.array([-1, np.log(0.8 / 0.2), 0.5]) + 2 * 0.65
    assert BY_HAND.probabilities(values) == pytest.approx(1 / (1 + np.exp(-logits)), abs=1e-6)


def test_faces_of_a_batch_are_told_as_one_by_one() -> None:
    values = np.random.default_rng(0).random((5, 3), np.float32)
    together = BY_HAND.probabilities(values)
    assert together == pytest.approx(np.stack([BY_HAND.probabilities(v) for v in values]))


@pytest.mark.parametrize("name", checkpoint_names())
def test_scores_rise_with_the_map_value_and_stay_between_0_and_1(name: str) -> None:
    checkpoint = Checkpoint.load(checkpoint_folder(name))
    assert checkpoint.calibration is not None, f"calibrate {name}: its scores are map values"
    markup = checkpoint.markup
    rng = np.random.default_rng(0)
    face = rng.random(markup.landmark_count, np.float32)
    for landmark in range(markup.landmark_count):
        faces = np.tile(face, (21, 1))
        faces[:, landmark] = np.linspace(0, 1, 21)
        scores = checkpoint.calibration.probabilities(faces)
        assert (np.diff(scores[:, landmark]) >= 0).all()
        assert ((scores >= 0) & (scores <= 1)).all()


@pytest.mark.parametrize("name", checkpoint_names())
def test_the_manifest_states_what_the_scores_are_worth(name: str) -> None:
    calibration = Checkpoint.load(checkpoint_folder(name)).calibration
    assert calibration is not None
    stated = {row.box: row.expected_calibration_error for row in calibration.reliability}
    assert set(stated) == {"landmarks", "detector", "harder"}
    assert max(stated["landmarks"], stated["detector"]) <= 0.05


def test_a_slope_that_falls_or_a_number_that_is_none_is_refused() -> None:
    for wrong in ({"slope": -1}, {"mean_slope": float("nan")}, {"biases": [float("inf")]}):
        with pytest.raises(ValidationError):
            Calibration.model_validate(BY_HAND.model_dump() | wrong)


def test_a_calibration_of_other_weights_is_left_out_and_the_log_says_so(
    folder: Path, astronaut: Pixels, caplog: pytest.LogCaptureFixture
) -> None:
    rewrite(folder, calibration=calibration_of(folder) | {"weights_sha256": "0" * 64})
    with caplog.at_level(logging.WARNING):
        aligner = FaceAligner.load(folder, engine=EngineOptions("openvino", threads=1))
    assert aligner.checkpoint.calibration is None
    assert "has the calibration of other weights" in caplog.text
    (face,) = aligner.align(astronaut)
    assert np.array_equal(face.scores, face.map_values)


@pytest.mark.parametrize(
    ("change", "says"),
    [(None, "has no calibration"), ({"biases": [0.0]}, "has the calibration of another markup")],
)
def test_without_a_calibration_that_fits_a_checkpoint_is_served_and_the_log_says_why(
    change: dict[str, object] | None,
    says: str,
    folder: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    rewrite(folder, calibration=None if change is None else calibration_of(folder) | change)
    with caplog.at_level(logging.WARNING):
        assert Checkpoint.load(folder).calibration is None
    assert says in caplog.text


def test_a_face_has_its_scores_and_the_map_values_behind_them(astronaut: Pixels) -> None:
    aligner = FaceAligner.load()
    (face,) = aligner.align(astronaut)
    calibration = aligner.checkpoint.calibration
    assert calibration is not None
    assert np.array_equal(face.scores, calibration.probabilities(face.map_values))
    assert not np.array_equal(face.scores, face.map_values)
    assert face.score == pytest.approx(face.scores.mean(), abs=1e-6)


def test_pupils_have_a_score_though_no_boundary_runs_through_them(astronaut: Pixels) -> None:
    (face,) = FaceAligner.load("lwbafa-wflw98").align(astronaut)
    pupils = list(face.markup.groups["pupils"])
    assert np.isnan(face.map_values[pupils]).all()
    assert np.isfinite(face.scores).all()


def test_bulk_answers_the_librarys_scores(astronaut: Pixels) -> None:
    image = encode(astronaut, ".png")
    (row,) = BulkAligner().rows([image])
    (face,) = FaceAligner.load().align(image)
    (told,) = row["faces"]
    assert told["score"] == pytest.approx(face.score, abs=1e-6)
    scores = [point["score"] for point in told["landmarks"]]
    assert scores == pytest.approx(face.scores.tolist(), abs=1e-6)
