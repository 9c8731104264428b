"""Train a network by a recipe; killed at any moment, it resumes exactly where it was.

    python -m training train --recipe training/recipes/lwbafa-300w68-cpu.toml \
        --data DIR --run runs/NAME [--init WEIGHTS | --resume]

The run's folder gets `state.pt` (to resume), what `training.monitor` logs and, at the end,
`network.safetensors` (the averaged weights in fp16, what `training export` ships).
"""

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from lwbafa.markups import MARKUPS
from lwbafa.network import ARCHITECTURES, BoundaryAwareNetwork, Prediction, normalise
from lwbafa.types import Pixels
from training.augment import training_crop
from training.datasets import Face, hold_back, load_faces
from training.errors import RunError
from training.losses import alignment_loss, interocular_error
from training.monitor import Monitor
from training.recipe import Phase, Recipe
from training.targets import boundary_heatmaps

SAVE_EVERY_SECONDS = 120


class TrainingCrops(Dataset[tuple[Pixels, NDArray[np.float32]]]):
    """The endless stream of augmented crops, by number: number n is always the same crop."""

    def __init__(self, faces: list[Face], recipe: Recipe, size_px: int) -> None:
        self.faces, self.recipe, self.size_px = faces, recipe, size_px
        self.markup = MARKUPS[recipe.markup]

    def __getitem__(self, number: int) -> tuple[Pixels, NDArray[np.float32]]:
        rng = np.random.default_rng((self.recipe.seed, 1, number))
        options = self.recipe.augmentation
        return training_crop(self.face(number), self.size_px, self.markup, options, rng)

    def face(self, number: int) -> Face:
        """The face of crop `number`: each epoch shows every face once, in an order of its own."""
        epoch, position = divmod(number, len(self.faces))
        order = np.random.default_rng((self.recipe.seed, 0, epoch)).permutation(len(self.faces))
        return self.faces[int(order[position])]


class Trainer:
    """A network in the making, with all that a resumed run needs to go on identically."""

    def __init__(self, recipe: Recipe, faces: list[Face], run: Path, device: torch.device) -> None:
        self.recipe, self.run, self.device = recipe, run, device
        self.markup = MARKUPS[recipe.markup]
        self.faces, self.validation = hold_back(faces, recipe.validation_share)
        self.monitor = Monitor(run, self.markup, self.validation)
        torch.manual_seed(recipe.seed)
        network = BoundaryAwareNetwork(ARCHITECTURES[recipe.architecture], self.markup)
        self.network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.phase_index = self.step_in_phase = self.step = 0
        self._start_phase()

    @property
    def phase(self) -> Phase:
        return self.recipe.phases[self.phase_index]

    def train(self) -> None:
        """Run what is left of the recipe, with a progress bar, and write the averaged weights."""
        total = sum(phase.steps for phase in self.recipe.phases)
        self.save()
        saved_at = time.monotonic()
        validated: dict[str, float] = {}
        with tqdm(total=total, initial=self.step, unit="step", mininterval=2) as bar:
            for metrics in self.steps():
                bar.update()
                bar.set_postfix({"px": self.phase.input_px, **metrics, **validated})
                if self.validation and self._time_to_validate():
                    nme = self.monitor.validate(self.step, self.phase.input_px, self.average.module)
                    validated = {"validation": nme}
                if time.monotonic() - saved_at > SAVE_EVERY_SECONDS:
                    self.save()
                    saved_at = time.monotonic()
        self.save()
        self.monitor.close()
        weights = self.average.module.state_dict()
        halves = {k: v.half() if v.is_floating_point() else v for k, v in weights.items()}
        tensors = {k: v.contiguous().cpu() for k, v in halves.items()}
        save_file(tensors, self.run / "network.safetensors")

    def steps(self) -> Iterator[dict[str, float]]:
        """Train to the recipe's end, one step and its metrics (loss, nme) at a time."""
        while True:
            for crops, points in self._batches():
                metrics = self._train_step(crops, points)
                self.monitor.log(self.step, self.phase.input_px, metrics)
                yield metrics
            if self.phase_index + 1 == len(self.recipe.phases):
                return
            self.phase_index, self.step_in_phase = self.phase_index + 1, 0
            self.network.load_state_dict(self.average.module.state_dict())
            self._start_phase()

    def save(self) -> None:
        """Write the state in one atomic step, so that a kill leaves the old or the new one."""
        state = {
            "recipe": self.recipe.as_dict(),
            "progress": (self.phase_index, self.step_in_phase, self.step),
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        torch.save(state, self.run / "state.pt.new")
        (self.run / "state.pt.new").rename(self.run / "state.pt")

    def restore(self) -> None:
        """Take up a saved state. Raises RunError if it belongs to another recipe."""
        path = self.run / "state.pt"
        state: dict[str, Any] = torch.load(path, map_location=self.device, weights_only=True)
        if state["recipe"] != self.recipe.as_dict():
            raise RunError(f"{self.run / 'state.pt'} was written under another recipe")
        self.phase_index, self.step_in_phase, self.step = state["progress"]
        self._start_phase()
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.monitor.forget_after(self.step)

    def _time_to_validate(self) -> bool:
        return (
            self.step % self.recipe.validate_every_steps == 0
            or self.step_in_phase == self.phase.steps
        )

    def _start_phase(self) -> None:
        self.optimizer = torch.optim.Adam(self.network.parameters(), betas=self.recipe.adam_betas)
        average = get_ema_multi_avg_fn(self.phase.ema_decay)  # type: ignore[no-untyped-call]
        self.average = AveragedModel(self.network, multi_avg_fn=average, use_buffers=True)

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """What is left of this phase, as uint8 crops B×S×S×3 and points B×N×2 on the device."""
        batch = self.recipe.batch_size * self.recipe.accumulated_batches
        first = self.step * batch
        left = (self.phase.steps - self.step_in_phase) * batch
        dataset = TrainingCrops(self.faces, self.recipe, self.phase.input_px)
        # A CPU is busy with the network; a GPU waits for crops unless a dozen cores make them.
        workers = 12 if self.device.type == "cuda" else 0
        loader = DataLoader(
            dataset,
            batch,
            sampler=range(first, first + left),
            num_workers=workers,
            pin_memory=workers > 0,
        )
        for crops, points in loader:
            yield (
                crops.to(self.device, non_blocking=True),
                points.to(self.device, non_blocking=True),
            )

    def _train_step(self, crops: Tensor, points: Tensor) -> dict[str, float]:
        rate = learning_rate(self.phase, self.step_in_phase)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.network.train()
        self.optimizer.zero_grad()
        parts = self.recipe.accumulated_batches
        loss = nme = 0.0
        for few_crops, few_points in zip(crops.chunk(parts), points.chunk(parts), strict=True):
            part_loss, part_nme = self._backward(few_crops, few_points)
            loss, nme = loss + part_loss / parts, nme + part_nme / parts
        if not math.isfinite(loss):
            raise FloatingPointError(f"the loss is {loss} at step {self.step}")
        clip = self.recipe.gradient_clip_norm
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), clip)
        self.optimizer.step()
        self.average.update_parameters(self.network)
        self.step_in_phase += 1
        self.step += 1
        return {"loss": round(loss, 4), "nme": round(nme, 4), "learning_rate": round(rate, 8)}

    def _backward(self, crops: Tensor, points: Tensor) -> tuple[float, float]:
        """Add one batch's share to the gradients; its loss and NME."""
        target = boundary_heatmaps(points, self.markup, crops.shape[1] // 4)
        # bfloat16 where the GPU has it: half the time, and no loss scaling to go wrong.
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            raw = self.network(normalise(crops))
        prediction = Prediction(raw.points.float(), [h.float() for h in raw.heatmaps])
        loss = alignment_loss(prediction, points, target, self.markup, self.recipe)
        (loss / self.recipe.accumulated_batches).backward()  # type: ignore[no-untyped-call]
        nme = interocular_error(prediction.points.detach(), points, self.markup).mean()
        return loss.item(), nme.item()


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
    faces = load_faces(data, wanted.sources, MARKUPS[wanted.markup].landmark_count)
    run.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(wanted, faces, run, device)
    if resume:
        trainer.restore()
    elif init:
        try:
            trainer.network.load_state_dict(load_file(init))
        except (SafetensorError, RuntimeError) as error:
            raise RunError(f"{init}: {str(error).splitlines()[0]}") from error
    trainer.train()
