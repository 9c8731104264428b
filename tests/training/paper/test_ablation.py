from dataclasses import fields
from pathlib import Path

import pytest

from training.paper.ablation import variants
from training.recipe import Recipe


@pytest.fixture
def runs() -> dict[str, Recipe]:
    return variants(Recipe.read(Path("training/recipes/lwbafa-300w68-cpu.toml")), steps=320)


def test_every_run_differs_from_ours(runs: dict[str, Recipe]) -> None:
    ours = runs.pop("ours")
    for name, variant in runs.items():
        changed = [
            f.name for f in fields(Recipe) if getattr(variant, f.name) != getattr(ours, f.name)
        ]
        assert 1 <= len(changed) <= 2, name


def test_all_runs_see_as_many_pixels(runs: dict[str, Recipe]) -> None:
    pixels = {run.phases[0].steps * run.phases[0].input_px ** 2 for run in runs.values()}
    assert pixels == {320 * 64**2}
    assert {len(run.phases) for run in runs.values()} == {1}
