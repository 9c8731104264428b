"""Rivals are measured on the face that was annotated, with the points that correspond."""

import numpy as np
import pytest

from bench import contenders
from bench.contenders import MEDIAPIPE_68
from bench.rivals import accuracy, errors_of
from lwbafa.markups import MARKUP_68, MARKUP_98, WFLW_AS_68
from lwbafa.model_store import checkpoint_names
from lwbafa.types import Pixels
from proof.harness.checkpoints import LITE
from tests.conftest import ASTRONAUT_POINTS
from training.datasets import Face
from training.worker import PYTHON

needs_rivals = pytest.mark.skipif(
    not PYTHON.exists(), reason="not installed: python -m bench.rivals --setup"
)


@pytest.fixture
def face() -> Face:
    points = np.random.default_rng(0).uniform(100, 200, (68, 2)).astype(np.float32)
    return Face("somebody", np.zeros((288, 288, 3), np.uint8), points)


def test_mediapipes_counterparts() -> None:
    assert len(MEDIAPIPE_68) == MARKUP_68.landmark_count
    indices = [index for some in MEDIAPIPE_68 for index in some]
    assert all(0 <= index < 478 for index in indices)
    # Only the lower of two neighbouring jaw points shares an index with the upper.
    assert len(indices) - len(set(indices)) == 1


def test_wflws_counterparts_mirror_alike_and_share_the_eye_corners() -> None:
    assert len(set(WFLW_AS_68)) == MARKUP_68.landmark_count
    for index, counterpart in enumerate(WFLW_AS_68):
        assert MARKUP_98.flip[counterpart] == WFLW_AS_68[MARKUP_68.flip[index]]
    for corner, counterpart in zip(
        MARKUP_68.outer_eye_corners, MARKUP_98.outer_eye_corners, strict=True
    ):
        assert WFLW_AS_68[corner] == counterpart


def test_the_face_that_lies_on_the_annotated_one_counts(face: Face) -> None:
    near, far = face.landmarks + 1, face.landmarks + 500
    (errors,) = errors_of([[far, near]], [face])
    left, right = MARKUP_68.outer_eye_corners
    interocular = np.linalg.norm(face.landmarks[left] - face.landmarks[right])
    assert errors == pytest.approx(np.sqrt(2) / interocular, rel=1e-4)


def test_a_face_elsewhere_is_a_miss(face: Face) -> None:
    for candidates in ([], [face.landmarks + 500]):
        (errors,) = errors_of([candidates], [face])
        assert np.isnan(errors).all()


def test_accuracy_of_what_each_found_and_of_what_all_found() -> None:
    ours, theirs = np.full((3, 68), 0.04), np.full((3, 68), 0.06)
    ours[0] = 0.02
    ours[1, :17] = 0.08
    ours[2] = np.nan
    theirs[0] = np.nan
    row = accuracy(ours, [ours, theirs])
    assert row["missed"] == "1"
    assert row["NME %"] == pytest.approx((2 + 5) / 2)
    assert row["NME %, found by all"] == pytest.approx(5)
    assert row["without jaw"] == pytest.approx(4)


@needs_rivals
def test_every_contender_finds_the_astronauts_points(astronaut: Pixels) -> None:
    with contenders.contenders(LITE) as all_of_them:
        assert len(all_of_them) == 3 + len(checkpoint_names())
        for contender in all_of_them:
            assert contender.landmarks(0.01) > 0
            assert contender.photographs(0.01) > 0
            ((points,),) = contender.find([astronaut])
            assert points.shape == (68, 2)
            for index, point in ASTRONAUT_POINTS.items():
                assert points[index] == pytest.approx(point, abs=8), contender.name
