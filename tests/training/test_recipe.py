"""A recipe is read strictly: what is wrong in it is said before anything is trained."""

import re
from pathlib import Path

import pytest

from training.errors import RecipeError
from training.recipe import Augmentation, Phase, Recipe, Source

RECIPES = sorted(Path("training/recipes").glob("*.toml"))

USUAL = """
markup = "300w-68"
sources = ["300w/afw", { path = "list.txt", kind = "pseudo", weight = 0.5 }]
input_px = 64
[augmentation]
scale = 0.3
grey_probability = 0.1
[[phases]]
input_px = 128
steps = 10
batch_size = 4
peak_learning_rate = 1e-3
warmup_steps = 1
ema_decay = 0.9
[[phases]]
input_px = 64
steps = 10
batch_size = 4
peak_learning_rate = 1e-3
warmup_steps = 1
ema_decay = 0.9
augmentation = { grey_probability = 0 }
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.toml"
    path.write_text(USUAL)
    return path


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipes_in_the_repository_are_valid_and_explain_every_setting(path: Path) -> None:
    assert Recipe.read(path).phases
    settings = [line for line in path.read_text().splitlines() if re.match(r"\w+ = (?!\[$)", line)]
    assert settings
    for line in settings:
        assert re.search(r" # \S", line), line


def test_a_source_may_be_a_path_alone_and_a_phase_states_what_it_does_otherwise(
    path: Path,
) -> None:
    recipe = Recipe.read(path)
    assert recipe.sources == (Source("300w/afw"), Source("list.txt", "pseudo", 0.5))
    assert recipe.true_sources == ("300w/afw",)
    first, last = (phase.augmentation for phase in recipe.phases)
    assert first == Augmentation(scale=0.3, grey_probability=0.1)
    assert last == Augmentation(scale=0.3)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"300w-68"', '"17"', "markup is not one of 300w-68, wflw-98"),
        ("input_px = 64\n[aug", "surprise = 1\n[aug", "surprise: Unexpected"),
        ("steps = 10", 'steps = "many"', "phases.0.steps: Input should be a valid integer"),
        ("batch_size = 4", "batch_size = 1", "phases.0.batch_size: .* greater than or equal to 2"),
        ("input_px = 128", "input_px = 100", "phases.0.input_px: .* multiple of 64"),
        ("input_px = 64\n[aug", "[aug", "the last phase trains at 64 px, .* reads 256 px"),
        ("grey_probability = 0 }", "gray = 0 }", "phases.1.augmentation.gray: Unexpected"),
        ("ema_decay = 0.9\n[[", "ema_decay = 0.9\nshares = {true=0.5}\n[[", "add up to 1"),
        ("ema_decay = 0.9\n[[", "ema_decay = 0.9\nshares = {any=1}\n[[", "phases.0.shares.any"),
        ('kind = "pseudo"', 'kind = "guess"', "sources.1.kind: Input should be 'true'"),
        ("scale = 0.3", "occluder_sides = [0.6, 0.2]", "the least and the greatest"),
        ("markup", 'architecture = "lwbafa-lite"\nmarkup', "lwbafa-lite reads multiples of 128 px"),
        ("markup", "nonsense", "nonsense|markup"),
        ("markup =", "markup", "Expected '='"),
    ],
)
def test_a_wrong_recipe_says_what_is_wrong(path: Path, old: str, new: str, says: str) -> None:
    path.write_text(USUAL.replace(old, new, 1))
    with pytest.raises(RecipeError, match=f"recipe.toml: .*(?:{says})"):
        Recipe.read(path)


def test_a_missing_recipe_is_named_once(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"absent\.toml: cannot be read: No such file[^/]*$"):
        Recipe.read(tmp_path / "absent.toml")


def test_98_points_are_not_converted_from_68() -> None:
    phase = Phase(256, 1, 2, 1e-3, 0, 0.0)
    with pytest.raises(ValueError, match="98 points cannot be converted"):
        Recipe("wflw-98", (Source("any", "converted"),), (phase,))
