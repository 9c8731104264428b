"""Openings, roll and yaw of faces made by hand."""

import numpy as np
import pytest
from numpy.typing import NDArray

from lwbafa.markups import MARKUP_68, MARKUP_98, MARKUPS, Markup
from lwbafa.measures.openings import PLACES, eye_opening, mouth_opening
from training.strata import by_opening, by_pose, roll_degrees, yaw

Landmarks = NDArray[np.float64]


def face(markup: Markup, eyes: float, mouth: float = 0.1, nose: float = 0.0) -> Landmarks:
    """Upright landmarks whose openings are given, the tip of the nose moved sideways."""
    points = np.zeros((markup.landmark_count, 2))
    places = PLACES[markup.name]
    left, right = markup.outer_eye_corners
    for outer, sign, eye in ((-50, 1, places.eyes[0]), (50, -1, places.eyes[1])):
        width = 30
        points[eye[0]], points[eye[1]] = (outer, 0), (outer + sign * width, 0)
        for upper, lower in zip(eye[2::2], eye[3::2], strict=True):
            points[upper] = (outer + sign * 15, -eyes * width / 2)
            points[lower] = (outer + sign * 15, eyes * width / 2)
    corner, other, *lips = places.mouth
    points[corner], points[other] = (-20, 80), (20, 80)
    for upper, lower in zip(lips[::2], lips[1::2], strict=True):
        points[upper], points[lower] = (0, 80 - 20 * mouth), (0, 80 + 20 * mouth)
    assert np.linalg.norm(points[left] - points[right]) == 100
    points[places.nose_tip] = (100 * nose, 40)
    return points


def turned(points: Landmarks, degrees: float) -> Landmarks:
    """Turned clockwise on the screen."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.asarray(points @ np.array([[c, s], [-s, c]]))


@pytest.mark.parametrize("markup", MARKUPS.values(), ids=MARKUPS)
def test_openings_do_not_depend_on_size_place_or_roll(markup: Markup) -> None:
    points = turned(3 * face(markup, 0.22, 0.4), 35) + 17
    assert eye_opening(points, markup) == pytest.approx(0.22)
    assert mouth_opening(points, markup) == pytest.approx(0.4)
    assert roll_degrees(points, markup) == pytest.approx(35)


@pytest.mark.parametrize("markup", MARKUPS.values(), ids=MARKUPS)
def test_a_mirror_keeps_openings_and_turns_angles_round(markup: Markup) -> None:
    points = turned(face(markup, 0.3, nose=0.2), 20)
    mirrored = (points * [-1, 1])[list(markup.flip)]
    assert eye_opening(mirrored, markup) == pytest.approx(0.3)
    assert yaw(points, markup) == pytest.approx(0.2)
    assert yaw(mirrored, markup) == pytest.approx(-0.2)
    assert roll_degrees(mirrored, markup) == pytest.approx(-20)


def test_closed_eyes_have_a_row_of_their_own_and_what_was_answered_stands_in_it() -> None:
    truths = [face(MARKUP_68, eyes) for eyes in (0.10, 0.12, 0.28)]
    answers = [face(MARKUP_68, eyes) for eyes in (0.20, 0.24, 0.28)]
    text = by_opening(truths, answers, MARKUP_68)
    rows = [line.split() for line in text.splitlines()]
    assert ["0", "to", "0.15", "2", "0.110", "0.220"] in rows
    assert ["0.25", "to", "0.3", "1", "0.280", "0.280"] in rows
    assert "0.2 to 0.25" not in text
    expected = np.corrcoef([0.10, 0.12, 0.28], [0.20, 0.24, 0.28])[0, 1]
    assert f"correlation of answered and true: {expected:.3f}" in text


def test_errors_are_told_by_the_true_pose() -> None:
    truths = [turned(face(MARKUP_98, 0.3), roll) for roll in (-25, 25, 2)]
    rows = [line.split() for line in by_pose(truths, [0.04, 0.06, 0.02], MARKUP_98).splitlines()]
    assert ["20", "to", "30", "2", "5.00"] in rows
    assert ["0", "to", "5", "1", "2.00"] in rows
