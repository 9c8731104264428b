"""A run goes from faces to weights, and a kill costs no more than the steps since the last save."""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import pytest
import torch
from safetensors.torch import load_file, save_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lwbafa.markups import MARKUP_98
from lwbafa.network import ARCHITECTURES
from tests.training.drawn_faces import drawn_source
from tests.training.narrow import NARROW, narrow_network
from training.errors import DatasetError, RunError
from training.recipe import Augmentation, Phase, Recipe, Source
from training.sources import TrainingFace, read_sources
from training.train import Trainer, learning_rate, train

CPU = torch.device("cpu")
PHASE = Phase(
    input_px=64,
    steps=3,
    batch_size=2,
    peak_learning_rate=1e-3,
    final_learning_rate=1e-4,
    warmup_steps=1,
    ema_decay=0.5,
)
RECIPE = Recipe(
    markup="300w-68",
    sources=(Source("set"),),
    phases=(PHASE, replace(PHASE, steps=2)),
    input_px=64,
    stored_px=96,
    architecture="lwbafa",
    validation_share=0,
)
AS_TOML = """
markup = "300w-68"
sources = ["set"]
input_px = 64
architecture = "narrow"
validation_share = 0
[[phases]]
input_px = 64
steps = 1
batch_size = 2
peak_learning_rate = 1e-4
warmup_steps = 0
ema_decay = 0.5
"""


@pytest.fixture(scope="module", autouse=True)
def recipe() -> Iterator[Recipe]:
    """Both phases at 64 px, of the narrow network."""
    ARCHITECTURES[NARROW.name] = NARROW
    yield replace(RECIPE, architecture=NARROW.name)
    del ARCHITECTURES[NARROW.name]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    drawn_source(root / "set", 8)
    return root


@pytest.fixture(scope="module")
def faces(data: Path, recipe: Recipe) -> list[TrainingFace]:
    return read_sources(data, recipe)


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "network.safetensors")


def advance(trainer: Trainer, steps: int) -> dict[str, float]:
    """Train some steps and return the last one's metrics."""
    return list(itertools.islice(trainer.steps(), steps))[-1]


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


def test_a_killed_and_resumed_run_continues_exactly(
    tmp_path: Path, recipe: Recipe, faces: list[TrainingFace]
) -> None:
    whole, cut, other = (tmp_path / name for name in ("whole", "cut", "other"))
    for run in (whole, cut, other):
        run.mkdir()
    recipe = replace(recipe, validation_share=0.4, validate_every_steps=2)
    Trainer(recipe, faces, whole, CPU).train()
    for _ in range(2):  # killed twice: within each phase
        trainer = Trainer(recipe, faces, cut, CPU)
        if (cut / "state.pt").exists():
            trainer.restore()
        advance(trainer, 2)
        trainer.save()
        advance(trainer, 1)  # lost by the kill
    last = Trainer(recipe, faces, cut, CPU)
    last.restore()
    last.train()
    expected = weights(whole)
    assert expected.keys() == weights(cut).keys()
    for name, tensor in weights(cut).items():
        assert torch.equal(tensor, expected[name]), name
    lines = (cut / "log.csv").read_text().splitlines()
    assert lines == (whole / "log.csv").read_text().splitlines()
    seed_2 = Trainer(replace(recipe, seed=2), faces, other, CPU)
    first_row = (whole / "log.csv").read_text().splitlines()[1]
    assert f"{advance(seed_2, 1)['loss']}" not in first_row


def test_a_run_leaves_curves_and_pictures_of_its_validation_faces(
    tmp_path: Path, recipe: Recipe, faces: list[TrainingFace]
) -> None:
    # Slowly, since five fast steps from random weights lead anywhere.
    slow = tuple(replace(phase, peak_learning_rate=1e-5) for phase in recipe.phases)
    recipe = replace(recipe, phases=slow, validation_share=0.4, validate_every_steps=2)
    trainer = Trainer(recipe, faces, tmp_path, CPU)
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


def test_what_is_shipped_has_statistics_of_its_own_weights(
    tmp_path: Path, recipe: Recipe, faces: list[TrainingFace]
) -> None:
    trainer = Trainer(recipe, faces, tmp_path, CPU)
    trainer.train()
    shipped = narrow_network(trainer.markup)
    shipped.load_state_dict(weights(tmp_path))
    crops = torch.cat(list(trainer._statistics_crops()))
    assert len(crops) == len(faces)
    with torch.no_grad():
        maps = shipped.boundary_stage.stem.conv(crops)
    norm = shipped.boundary_stage.stem.norm
    assert torch.allclose(norm.running_mean, maps.mean(dim=(0, 2, 3)), atol=0.01)  # type: ignore[arg-type]


def test_a_state_of_another_recipe_is_refused(
    tmp_path: Path, recipe: Recipe, faces: list[TrainingFace]
) -> None:
    trainer = Trainer(recipe, faces, tmp_path, CPU)
    with pytest.raises(RunError, match="holds no run to resume"):
        trainer.restore()
    trainer.save()
    with pytest.raises(RunError, match="another recipe"):
        Trainer(replace(recipe, seed=4), faces, tmp_path, CPU).restore()


def test_faces_can_be_learnt_by_heart(
    tmp_path: Path, recipe: Recipe, faces: list[TrainingFace]
) -> None:
    still = Augmentation(0, 0, 0, flip_probability=0, occlusion_probability=0)
    phase = replace(PHASE, steps=20, batch_size=8, warmup_steps=3, augmentation=still)
    trainer = Trainer(replace(recipe, phases=(phase,)), faces, tmp_path, CPU)
    first = advance(trainer, 1)["nme"]
    last = advance(trainer, 19)["nme"]
    assert first > 0.5
    assert last < 0.3


def test_a_loss_that_is_no_number_ends_the_run(
    tmp_path: Path, recipe: Recipe, faces: list[TrainingFace]
) -> None:
    trainer = Trainer(recipe, faces, tmp_path, CPU)
    with torch.no_grad():
        trainer.network.landmark_stage.coordinates.bias.fill_(torch.nan)
    with pytest.raises(RunError, match="the loss is nan at step 1: lower the learning rate"):
        advance(trainer, 1)


def test_the_command_begins_with_given_weights_and_tells_which(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, init, run = (tmp_path / name for name in ("r.toml", "init.safetensors", "run"))
    recipe.write_text(AS_TOML)
    save_file(narrow_network(MARKUP_98).state_dict(), init)
    train(recipe, data, run, init)
    assert "init.safetensors: adopted" in capsys.readouterr().out
    for name, tensor in load_file(init).items():
        if name.endswith("pre1.body.0.conv.weight"):
            assert torch.allclose(weights(run)[name].float(), tensor, atol=1e-3)
    with pytest.raises(RunError, match="holds a run already"):
        train(recipe, data, run)
    train(recipe, data, run, resume=True)  # of a finished run nothing is left to do


def test_a_single_photograph_is_refused_before_anything_is_written(
    tmp_path: Path, recipe: Recipe
) -> None:
    drawn_source(tmp_path / "set", 1)
    (tmp_path / "recipe.toml").write_text(AS_TOML)
    with pytest.raises(DatasetError, match="single photograph"):
        train(tmp_path / "recipe.toml", tmp_path, tmp_path / "run")
    assert not list((tmp_path / "run").glob("*"))
