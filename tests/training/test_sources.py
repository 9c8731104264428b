"""Which faces are trained on, and how often each is drawn."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lwbafa.markups import MARKUP_68, WFLW_AS_68
from tests.training.drawn_faces import drawn_source, mean_face, write_list, write_pts
from training.datasets import Annotation
from training.errors import DatasetError
from training.recipe import Phase, Recipe, Source
from training.sources import Draws, TrainingFace, divided, draw_rates, read_sources

RECIPE = Recipe("300w-68", (Source("set"),), (Phase(256, 1, 2, 1e-3, 0, 0.0),))


def face(name: str, kind: str = "true", weight: float = 1.0, *, shut: bool = False) -> TrainingFace:
    points = mean_face(68) * 100
    if shut:
        for upper, lower in ((37, 41), (38, 40), (43, 47), (44, 46)):
            points[lower] = points[upper]
    annotation = Annotation(name, Path(name), points)
    return TrainingFace(annotation, kind, weight)  # type: ignore[arg-type]


def test_sources_of_all_kinds_come_as_the_recipes_markup(tmp_path: Path) -> None:
    drawn_source(tmp_path / "set", 2)
    write_list(tmp_path / "of_98.txt", ["set/0.png"], [mean_face(98) * 100])
    write_list(tmp_path / "of_68.txt", ["set/1.png"], [mean_face(68) * 100])
    sources = (
        Source("set"),
        Source("of_98.txt", "converted", 2.0),
        Source("of_68.txt", "pseudo"),
    )
    faces = read_sources(tmp_path, replace(RECIPE, sources=sources))
    assert [face.kind for face in faces] == ["true", "true", "converted", "pseudo"]
    assert [face.weight for face in faces] == [1, 1, 2, 1]
    assert {face.annotation.landmarks.shape for face in faces} == {(68, 2)}
    expected = mean_face(98)[list(WFLW_AS_68)] * 100
    assert np.abs(faces[2].annotation.landmarks - expected).max() < 1e-2


def test_eyes_in_one_place_are_named(tmp_path: Path) -> None:
    points = mean_face(68) * 100
    points[45] = points[36]
    drawn_source(tmp_path / "set", 1)
    write_pts(tmp_path / "set" / "0.pts", points)
    with pytest.raises(DatasetError, match="set/0: both outer eye corners"):
        read_sources(tmp_path, RECIPE)


def test_other_labels_of_a_photograph_that_is_held_back_are_left_out() -> None:
    faces = [face(f"set/{n}") for n in range(300)]
    faces += [face(f"list/{n}.png#{n}", "pseudo") for n in range(300)]
    training, validation = divided(faces, 0.2)
    held_back = {annotation.photograph for annotation in validation}
    assert 30 < len(validation) < 90
    assert len(training) == 2 * (300 - len(validation))
    assert not held_back & {face.annotation.photograph for face in training}
    assert {face.kind for face in training} == {"true", "pseudo"}


def test_a_single_photograph_is_refused() -> None:
    for alone in ([face("set/7_1"), face("set/7_2")], [face("set/7")], []):
        with pytest.raises(DatasetError, match="cannot learn from a single photograph"):
            divided(alone, 0.0)


def test_weights_and_shares_decide_how_often_a_face_is_drawn() -> None:
    faces = [face("a"), face("b", weight=3), face("c", "pseudo"), face("d", "pseudo", shut=True)]
    assert draw_rates(faces, {}, MARKUP_68) == pytest.approx([1 / 6, 3 / 6, 1 / 6, 1 / 6])
    of_kinds = draw_rates(faces, {"true": 0.8, "pseudo": 0.2}, MARKUP_68)
    assert of_kinds == pytest.approx([0.2, 0.6, 0.1, 0.1])
    of_rare = draw_rates(faces, {"pseudo": 0.5, "closed_eyes": 0.5}, MARKUP_68)
    assert of_rare == pytest.approx([0, 0, 0.25, 0.75])
    for shares in ({"converted": 1.0}, {"true": 0.5, "closed_eyes": 0.5}):
        with pytest.raises(DatasetError, match=f"no face of the sources is {[*shares][-1]}"):
            draw_rates(faces, shares, MARKUP_68)  # type: ignore[arg-type]


def test_a_round_shows_every_face_once_if_all_are_alike() -> None:
    draws = Draws(np.full(8, 1 / 8), (1, 0))
    rounds = [draws.indices(8 * number, 8).tolist() for number in range(3)]
    assert all(sorted(chosen) == list(range(8)) for chosen in rounds)
    assert rounds[0] != rounds[1] != rounds[2]
    assert draws.indices(5, 14).tolist() == (rounds[0] + rounds[1] + rounds[2])[5:19]


def test_faces_are_drawn_as_often_as_their_rates_say_and_evenly() -> None:
    rates = np.array([0.5, 0.3, 0.15, 0.05])
    drawn = Draws(rates, (3,)).indices(0, 4000)
    counts = Counter(drawn.tolist())
    assert [counts[i] / 4000 for i in range(4)] == pytest.approx(rates, abs=0.02)
    assert {int((chosen == 0).sum()) for chosen in drawn.reshape(-1, 4)} == {2}
