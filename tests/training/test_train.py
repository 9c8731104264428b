import itertools
from dataclasses import replace
from pathlib import Path

import cv2
import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.conftest import FACE_DATA, needs_face_data
from training.datasets import Face, load_faces
from training.errors import RecipeError, RunError
from training.recipe import Phase, Recipe
from training.train import Trainer, TrainingCrops, learning_rate

PHASE = Phase(
    input_px=64,
    steps=3,
    peak_learning_rate=1e-3,
    final_learning_rate=1e-4,
    warmup_steps=1,
    ema_decay=0.5,
)
RECIPE = Recipe(
    markup="300w-68",
    sources=("300w/afw",),
    batch_size=2,
    phases=(PHASE, replace(PHASE, steps=2)),
    validation_share=0,
)


@pytest.fixture(scope="module")
def faces() -> list[Face]:
    return load_faces(FACE_DATA, ["300w/afw"], 68)[:8]


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "network.safetensors")


def advance(trainer: Trainer, steps: int) -> dict[str, float]:
    """Train some steps and return the last one's metrics."""
    return list(itertools.islice(trainer.steps(), steps))[-1]


def test_recipes_in_the_repository_are_valid() -> None:
    recipes = list(Path("training/recipes").glob("*.toml"))
    assert recipes
    for path in recipes:
        assert Recipe.read(path).phases


def test_learning_rate_warms_up_and_falls() -> None:
    phase = replace(PHASE, steps=110, warmup_steps=10)
    rates = [learning_rate(phase, step) for step in range(111)]
    assert rates[:10] == pytest.approx([1e-4 * (i + 1) for i in range(10)])
    assert rates[10] == pytest.approx(1e-3)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[110] == pytest.approx(1e-4)


def test_the_papers_schedule_drops_at_epochs_90_and_120_of_150() -> None:
    phase = replace(PHASE, steps=150, schedule="steps", warmup_steps=0)
    rates = [learning_rate(phase, epoch) for epoch in (0, 89, 90, 119, 120, 149)]
    assert rates == pytest.approx([1e-3, 1e-3, 1e-4, 1e-4, 1e-5, 1e-5])


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ('markup = "17"', "markup: one of 300w-68, wflw-98"),
        ("surprise = 1", "surprise"),
        ('batch_size = "many"', "not supported between"),
        ("[[phases]]\ninput_px = 100", "missing"),
        ("nonsense", "Expected"),
    ],
)
def test_a_wrong_recipe_says_what_is_wrong(tmp_path: Path, wrong: str, says: str) -> None:
    text = Path("training/recipes/lwbafa-300w68-cpu.toml").read_text()
    path = tmp_path / "recipe.toml"
    key = wrong.split(" ")[0]
    kept = [line for line in text.splitlines() if not line.startswith(f"{key} =")]
    path.write_text("\n".join([wrong, *kept] if "[[" not in wrong else [*kept, wrong]))
    with pytest.raises(RecipeError, match=says):
        Recipe.read(path)


@needs_face_data
def test_accumulated_batches_step_like_one_large_batch(tmp_path: Path, faces: list[Face]) -> None:
    device = torch.device("cpu")
    one = replace(RECIPE, batch_size=8, phases=(PHASE,))
    parts = replace(one, batch_size=4, accumulated_batches=2)
    numbers = [
        advance(Trainer(recipe, faces, tmp_path, device), 1)["nme"] for recipe in (one, parts)
    ]
    # BatchNorm sees halves, so the losses agree only roughly; the faces are the same.
    assert numbers[0] == pytest.approx(numbers[1], rel=0.2)


@needs_face_data
def test_an_epoch_shows_every_face_once(faces: list[Face]) -> None:
    crops = TrainingCrops(faces, RECIPE, size_px=64)
    orders = [[crops.face(n).name for n in range(k, k + 8)] for k in (0, 8)]
    assert sorted(orders[0]) == sorted(orders[1]) == sorted(face.name for face in faces)
    assert orders[0] != orders[1]


@needs_face_data
def test_a_killed_and_resumed_run_continues_exactly(tmp_path: Path, faces: list[Face]) -> None:
    device = torch.device("cpu")
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    whole.mkdir()
    cut.mkdir()
    recipe = replace(RECIPE, validation_share=0.4, validate_every_steps=1)
    Trainer(recipe, faces, whole, device).train()
    for _ in range(2):  # killed twice: within each phase
        trainer = Trainer(recipe, faces, cut, device)
        if (cut / "state.pt").exists():
            trainer.restore()
        advance(trainer, 2)
        trainer.save()
        advance(trainer, 1)  # lost by the kill
    last = Trainer(recipe, faces, cut, device)
    last.restore()
    last.train()
    expected = weights(whole)
    assert expected.keys() == weights(cut).keys()
    for name, tensor in weights(cut).items():
        assert torch.equal(tensor, expected[name]), name
    lines = (cut / "log.csv").read_text().splitlines()
    assert lines == (whole / "log.csv").read_text().splitlines()


@needs_face_data
def test_a_run_leaves_curves_and_pictures_of_its_validation_faces(
    tmp_path: Path, faces: list[Face]
) -> None:
    # Slowly, since five fast steps from random weights lead anywhere.
    slow = tuple(replace(phase, peak_learning_rate=1e-5) for phase in RECIPE.phases)
    recipe = replace(RECIPE, phases=slow, validation_share=0.4, validate_every_steps=2)
    trainer = Trainer(recipe, faces, tmp_path, torch.device("cpu"))
    assert trainer.validation
    assert len(trainer.faces) + len(trainer.validation) == len(faces)
    trainer.train()
    rows = (tmp_path / "validation.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["step", "2", "3", "4", "5"]
    assert 0 < float(rows[-1].split(",")[2]) < 2
    assert cv2.imread(str(tmp_path / "validation" / "000005.jpg")) is not None
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    losses = events.Scalars("loss/train")
    assert [event.step for event in losses] == [1, 2, 3, 4, 5]
    logged = (tmp_path / "log.csv").read_text().splitlines()[1:]
    assert [e.value for e in losses] == pytest.approx([float(r.split(",")[2]) for r in logged])
    assert [event.step for event in events.Scalars("nme/validation")] == [2, 3, 4, 5]
    assert len(events.Images("validation")) == 4


@needs_face_data
def test_a_state_of_another_recipe_is_refused(tmp_path: Path, faces: list[Face]) -> None:
    device = torch.device("cpu")
    Trainer(RECIPE, faces, tmp_path, device).save()
    other = Trainer(replace(RECIPE, seed=4), faces, tmp_path, device)
    with pytest.raises(RunError, match="another recipe"):
        other.restore()


@needs_face_data
def test_eight_faces_can_be_learnt_by_heart(tmp_path: Path, faces: list[Face]) -> None:
    phase = replace(PHASE, steps=40, warmup_steps=10)
    recipe = replace(RECIPE, batch_size=8, phases=(phase,))
    trainer = Trainer(recipe, faces, tmp_path, torch.device("cpu"))
    first = advance(trainer, 1)["nme"]
    last = advance(trainer, 39)["nme"]
    assert first > 0.5
    assert last < 0.35
