"""Which faces a recipe trains on, and how often each of them is drawn."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from lwbafa.markups import MARKUP_98, MARKUPS, WFLW_AS_68, Markup
from lwbafa.measures.openings import eye_opening, mouth_opening
from lwbafa.types import Points
from training.datasets import Annotation, is_held_back, read_annotations
from training.errors import DatasetError
from training.recipe import Kind, Rarity, Recipe
from training.strata import yaw

RARE: dict[Rarity, Callable[[Points, Markup], bool]] = {
    "closed_eyes": lambda points, markup: eye_opening(points, markup) < 0.18,
    "open_mouth": lambda points, markup: mouth_opening(points, markup) > 0.5,
    "turned": lambda points, markup: abs(yaw(points, markup)) > 0.35,
}


class TrainingFace(NamedTuple):
    """A face's annotation in the recipe's markup, what its labels are, and its source's weight."""

    annotation: Annotation
    kind: Kind = "true"
    weight: float = 1.0


def read_sources(root: Path, recipe: Recipe) -> list[TrainingFace]:
    """The faces of all of a recipe's sources, without their images. Raises DatasetError."""
    markup = MARKUPS[recipe.markup]
    faces = []
    for source in recipe.sources:
        converted = source.kind == "converted"
        count = MARKUP_98.landmark_count if converted else markup.landmark_count
        for annotation in read_annotations(root, source.path, count):
            if converted:
                annotation = annotation._replace(landmarks=annotation.landmarks[list(WFLW_AS_68)])
            left, right = (annotation.landmarks[i] for i in markup.outer_eye_corners)
            if (left == right).all():
                raise DatasetError(f"{annotation.name}: both outer eye corners are one point")
            faces.append(TrainingFace(annotation, source.kind, source.weight))
    return faces


def divided(
    faces: Sequence[TrainingFace], validation_share: float
) -> tuple[list[TrainingFace], list[Annotation]]:
    """Faces to train on, and those held back: true ones, of photographs chosen by their names.

    Other labels of a photograph that is held back are left out altogether. Raises DatasetError if
    one photograph alone is left to train on.
    """
    held_back = [is_held_back(face.annotation.photograph, validation_share) for face in faces]
    training = [face for face, held in zip(faces, held_back, strict=True) if not held]
    if len({face.annotation.photograph for face in training}) < 2:
        raise DatasetError(
            f"of the sources' faces ({len(faces)}), {len(training)} may be trained on: a network "
            "cannot learn from a single photograph"
        )
    validation = [
        face.annotation
        for face, held in zip(faces, held_back, strict=True)
        if held and face.kind == "true"
    ]
    return training, validation


def draw_rates(
    faces: Sequence[TrainingFace], shares: Mapping[Kind | Rarity, float], markup: Markup
) -> NDArray[np.float64]:
    """The probability of each face to be the next one drawn.

    Without shares by the weights of the sources alone; with them, the weights count among the
    faces of one share. A rare face counts if its kind has a share too. Raises DatasetError if a
    share is of no face.
    """
    weights = np.array([face.weight for face in faces])
    if not shares:
        return np.asarray(weights / weights.sum())
    kinds = np.array([face.kind for face in faces])
    drawn = np.isin(kinds, [*shares])
    rates = np.zeros(len(faces))
    for name, share in shares.items():
        if name in get_args(Kind):
            members = kinds == name
        else:
            is_rare = RARE[name]  # type: ignore[index]
            members = drawn & [is_rare(face.annotation.landmarks, markup) for face in faces]
        if not members.any():
            raise DatasetError(f"shares: no face of the sources is {name}")
        rates[members] += share * weights[members] / weights[members].sum()
    return rates


class Draws:
    """The endless stream of faces, by number: draw n is always the same face.

    As many draws as there are faces make a round. Within a round each face comes as often as its
    rate says, rounded up or down by chance: with equal rates exactly once.
    """

    def __init__(self, rates: NDArray[np.float64], seed: tuple[int, ...]) -> None:
        self._rates, self._seed = rates, seed

    def indices(self, first: int, count: int) -> NDArray[np.int64]:
        """The faces of draws `first` to `first + count`, as indices."""
        size = len(self._rates)
        rounds = range(first // size, (first + count - 1) // size + 1)
        start = first - rounds[0] * size
        return np.concatenate([self._round(number) for number in rounds])[start : start + count]

    def _round(self, number: int) -> NDArray[np.int64]:
        rng = np.random.default_rng((*self._seed, number))
        order = rng.permutation(len(self._rates))
        ends = np.cumsum(self._rates[order])
        places = (np.arange(len(order)) + rng.random()) / len(order) * ends[-1]
        return rng.permutation(order[np.searchsorted(ends, places)])
