"""Train a network by a recipe; killed at any moment, it resumes where it was last saved.

    python -m training train --recipe training/recipes/lwbafa-300w68-cpu.toml \
        --data DIR --run runs/NAME [--init WEIGHTS | --resume]

The run's folder gets `state.pt` (to resume), what `training.monitor` logs and, at the end,
`network.safetensors` (the averaged weights in fp16, what `training export` ships).
"""

import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from lwbafa.markups import MARKUPS
from lwbafa.network import ARCHITECTURES, BoundaryAwareNetwork
from training.adopt import adopt
from training.averages import WeightAverage
from training.errors import RunError
from training.face_store import FaceStore
from training.monitor import Monitor
from training.recipe import Phase, Recipe
from training.sources import Draws, TrainingFace, divided, draw_rates, read_sources
from training.step import TrainingStep

SAVE_EVERY_SECONDS = 60
STATISTICS_CROPS = 256
"""At most this many crops measure the averaged weights' BatchNorm statistics; a face gives one."""

CUDA_STEPS_BETWEEN_READINGS = 20
"""To read the loss, the host waits for the GPU."""


class Trainer:
    """A network in the making, with all that a resumed run needs to go on identically."""

    def __init__(
        self, recipe: Recipe, faces: Sequence[TrainingFace], run: Path, device: torch.device
    ) -> None:
        """Read all images. Raises DatasetError."""
        self.recipe, self.run = recipe, run
        self.markup = MARKUPS[recipe.markup]
        self._training, held_back = divided(faces, recipe.validation_share)
        # Before the images are read: a share of no face is told at once.
        for phase in recipe.phases:
            draw_rates(self._training, phase.shares, self.markup)
        self.faces = FaceStore(
            [face.annotation for face in self._training], recipe.stored_px, device
        )
        self.validation = [annotation.read() for annotation in held_back]
        self.monitor = Monitor(run, self.markup, self.validation)
        torch.manual_seed(recipe.seed)
        network = BoundaryAwareNetwork(ARCHITECTURES[recipe.architecture], self.markup)
        self.network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._steps_between_readings = CUDA_STEPS_BETWEEN_READINGS if device.type == "cuda" else 1
        self.phase_index = self.step_in_phase = self.step = 0
        self._start_phase()

    @property
    def phase(self) -> Phase:
        return self.recipe.phases[self.phase_index]

    def adopt(self, weights: Path) -> None:
        """Begin with the weights of a safetensors file, as far as they fit. Raises RunError."""
        print(f"{weights}: {adopt(self.network, self.markup, weights).report()}")
        self._start_phase()

    def train(self) -> None:
        """Run what is left of the recipe, with a progress bar, and write the averaged weights.

        Raises RunError if the loss ceases to be a number.
        """
        total = sum(phase.steps for phase in self.recipe.phases)
        self.save()
        saved_at = time.monotonic()
        shown: dict[str, float] = {}
        with tqdm(total=total, initial=self.step, unit="step", mininterval=2) as bar:
            for metrics in self.steps():
                bar.update(self.step - bar.n)
                shown |= metrics
                if self.validation and self._time_to_validate():
                    network = self.averaged_network()
                    nme = self.monitor.validate(self.step, self.phase.input_px, network)
                    shown["validation"] = nme
                bar.set_postfix({"px": self.phase.input_px, **shown})
                if time.monotonic() - saved_at > SAVE_EVERY_SECONDS:
                    self.save()
                    saved_at = time.monotonic()
        self.save()
        self.monitor.close()
        weights = self.averaged_network().state_dict()
        halves = {k: v.half() if v.is_floating_point() else v for k, v in weights.items()}
        tensors = {k: v.contiguous().cpu() for k, v in halves.items()}
        save_file(tensors, self.run / "network.safetensors")

    def steps(self) -> Iterator[dict[str, float]]:
        """Train to the recipe's end; the metrics (loss, nme, learning rate) of each reading."""
        while True:
            while self.step_in_phase < self.phase.steps:
                rate = self._take_step()
                if self._time_to_read():
                    yield self._read_metrics(rate)
            if self.phase_index + 1 == len(self.recipe.phases):
                return
            self.network.load_state_dict(self.averaged_network().state_dict())
            self.phase_index, self.step_in_phase = self.phase_index + 1, 0
            self._start_phase()

    def averaged_network(self) -> BoundaryAwareNetwork:
        """The averaged weights with BatchNorm statistics of their own, until the next step."""
        return self.average.with_statistics(self._statistics_crops())

    def save(self) -> None:
        """Write the state in one atomic step, so that a kill leaves the old or the new one."""
        state = {
            "recipe": self.recipe.as_dict(),
            "progress": (self.phase_index, self.step_in_phase, self.step),
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self._train.optimizer.state_dict(),
        }
        torch.save(state, self.run / "state.pt.new")
        (self.run / "state.pt.new").rename(self.run / "state.pt")

    def restore(self) -> None:
        """Take up a saved state. Raises RunError if there is none, or of another recipe."""
        path = self.run / "state.pt"
        if not path.exists():
            raise RunError(f"{self.run} holds no run to resume")
        device = self.faces.images.device
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
        if state["recipe"] != self.recipe.as_dict():
            raise RunError(f"{path} was written under another recipe")
        self.phase_index, self.step_in_phase, self.step = state["progress"]
        self._start_phase()
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self._train.load_optimizer(state["optimizer"])
        self.monitor.forget_after(self.step)

    def _start_phase(self) -> None:
        self.average = WeightAverage(self.network, self.phase.ema_decay)
        self._train = TrainingStep(self.network, self.average, self.faces, self.phase, self.recipe)
        rates = draw_rates(self._training, self.phase.shares, self.markup)
        self._draws = Draws(rates, (self.recipe.seed, self.phase_index))

    def _take_step(self) -> float:
        """Train one step; its learning rate."""
        rate = learning_rate(self.phase, self.step_in_phase)
        size = self.phase.batch_size
        chosen = self._draws.indices(self.step_in_phase * size, size)
        self.step_in_phase += 1
        self.step += 1
        self._train(chosen, rate, self.step_in_phase, (self.recipe.seed, self.step))
        return rate

    def _time_to_read(self) -> bool:
        return (
            self.step % self._steps_between_readings == 0
            or self.step % self.recipe.validate_every_steps == 0
            or self.step_in_phase == self.phase.steps
        )

    def _time_to_validate(self) -> bool:
        return (
            self.step % self.recipe.validate_every_steps == 0
            or self.step_in_phase == self.phase.steps
        )

    def _read_metrics(self, rate: float) -> dict[str, float]:
        loss, nme = self._train.read_metrics()
        if not math.isfinite(loss):
            raise RunError(f"the loss is {loss} at step {self.step}: lower the learning rate")
        metrics = {"loss": round(loss, 4), "nme": round(nme, 4), "learning_rate": round(rate, 8)}
        self.monitor.log(self.step, self.phase.input_px, metrics)
        return metrics

    def _statistics_crops(self) -> Iterator[Tensor]:
        """The same crops at every call in a phase, augmented as those that are trained on."""
        size = self.phase.batch_size
        torch.manual_seed(self.recipe.seed)
        for first in range(0, min(STATISTICS_CROPS, len(self.faces)), size):
            chosen = torch.from_numpy(self._draws.indices(first, size))
            crops, _ = self._train.crops(chosen.to(self.faces.images.device))
            yield crops


def learning_rate(phase: Phase, step: int) -> float:
    """Linear warm-up to the phase's peak, then its schedule."""
    if step < phase.warmup_steps:
        return phase.peak_learning_rate * (step + 1) / phase.warmup_steps
    progress = (step - phase.warmup_steps) / max(1, phase.steps - phase.warmup_steps)
    if phase.schedule == "steps":
        return phase.peak_learning_rate * 0.1 ** ((progress >= 0.6) + (progress >= 0.8))
    fall = (1 + math.cos(math.pi * progress)) / 2
    span = phase.peak_learning_rate - phase.final_learning_rate
    return phase.final_learning_rate + span * fall


def train(
    recipe: Path, data: Path, run: Path, init: Path | None = None, resume: bool = False
) -> None:
    """Train by a recipe file, from nothing, from weights or from where a run was killed.

    Raises RecipeError, DatasetError, and RunError if the run or the weights do not fit.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    wanted = Recipe.read(recipe)
    if (run / "state.pt").exists() and not resume:
        raise RunError(f"{run} holds a run already: --resume it, or name another")
    faces = read_sources(data, wanted)
    run.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(wanted, faces, run, device)
    if resume:
        trainer.restore()
    elif init:
        trainer.adopt(init)
    trainer.train()
