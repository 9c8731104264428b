"""A map between landmarks that are known to be linear in each other."""

import numpy as np
import pytest
from numpy.typing import NDArray

from training.linear_map import OUTER_EYE_CORNERS, LinearMap

Faces = NDArray[np.float64]


def faces(count: int, seed: int = 0) -> tuple[Faces, Faces]:
    """Meshes of 478 points turned, scaled and moved, and five points that are means of some."""
    rng, chance = np.random.default_rng(0), np.random.default_rng(seed + 1)
    shape = rng.normal(0, 1, (478, 2))
    shape[list(OUTER_EYE_CORNERS)] = (-1, 0.1), (1, -0.1)
    modes = rng.normal(0, 0.1, (12, *shape.shape))
    meshes = []
    for _ in range(count):
        angle, size = chance.uniform(-1, 1), chance.uniform(20, 200)
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        meshes.append(
            (shape + np.tensordot(chance.normal(size=12), modes, 1)) @ turn * size
            + chance.normal(300)
        )
    stacked = np.stack(meshes)
    return stacked, np.stack([stacked[:, i : i + 40].mean(axis=1) for i in range(0, 200, 40)], 1)


def error(fitted: LinearMap, meshes: Faces, truth: Faces) -> float:
    """Mean distance over the distance of the outer eye corners."""
    left, right = (meshes[:, i] for i in OUTER_EYE_CORNERS)
    unit = np.linalg.norm(left - right, axis=1)[:, None]
    found = np.stack([fitted.points(mesh) for mesh in meshes])
    return float((np.linalg.norm(found - truth, axis=2) / unit).mean())


def test_a_linear_relation_is_found_whatever_size_place_and_turn() -> None:
    fitted = LinearMap.fit(*faces(400))
    assert error(fitted, *faces(50, seed=1)) < 0.01


def test_a_few_wrong_labels_do_no_harm() -> None:
    meshes, truth = faces(400)
    clean = error(LinearMap.fit(meshes, truth), *faces(50, seed=1))
    truth[::50] += 400
    assert error(LinearMap.fit(meshes, truth), *faces(50, seed=1)) < 2 * clean + 0.01


def test_too_few_faces_or_points_are_refused() -> None:
    meshes, truth = faces(2)
    with pytest.raises(ValueError, match="at least two faces"):
        LinearMap.fit(meshes[:1], truth[:1])
    with pytest.raises(ValueError, match="MediaPipe's points"):
        LinearMap.fit(meshes[:, :68], truth)
