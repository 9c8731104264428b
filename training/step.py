"""One training step, all of it on the device: crops, targets, network, loss, AdamW, average."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lwbafa.markups import MARKUPS
from lwbafa.network import BoundaryAwareNetwork
from training.averages import WeightAverage
from training.device_crops import augmented_crops
from training.face_store import FaceStore
from training.forward import predict
from training.losses import alignment_loss, interocular_error
from training.recipe import Phase, Recipe
from training.targets import BoundaryTargets

EAGER_STEPS = 3
"""On a CUDA device, before the step is captured: libraries set themselves up when first used."""


class Metrics(NamedTuple):
    """Means over the steps since the last reading."""

    loss: float
    nme: float


class TrainingStep:
    """The step of one phase; call it with the faces to train on.

    On a CUDA device the whole step is captured as one graph once it has run eagerly a few times:
    what changes from step to step lies in tensors that the graph reads. Chance is seeded anew for
    each step, so that a step depends on its number alone and not on those before it.
    """

    def __init__(
        self,
        network: BoundaryAwareNetwork,
        average: WeightAverage,
        faces: FaceStore,
        phase: Phase,
        recipe: Recipe,
    ) -> None:
        self._network, self._average, self._faces = network, average, faces
        self._phase, self._recipe = phase, recipe
        self._markup = MARKUPS[recipe.markup]
        device = faces.images.device
        self._targets = BoundaryTargets(self._markup, device)
        self._flip = torch.tensor(self._markup.flip, device=device)
        self._chosen = torch.zeros(phase.batch_size, dtype=torch.long, device=device)
        self._rate = torch.zeros((), device=device)
        self._sums = torch.zeros(2, device=device)
        self._summed = 0
        self._eager_steps_left = EAGER_STEPS
        self._graph: torch.cuda.CUDAGraph | None = None
        self.optimizer = _adamw(network, recipe, self._rate)

    def __call__(
        self, chosen: NDArray[np.int64], rate: float, update: int, seed: tuple[int, ...]
    ) -> None:
        """Train on the chosen faces; `update` counts the phase's steps from 1."""
        torch.manual_seed(int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0]))
        self._chosen.copy_(torch.from_numpy(chosen))
        self._rate.fill_(rate)
        self._average.prepare(update)
        if not self._chosen.is_cuda:
            self._run()
        elif self._eager_steps_left:
            self._run_aside()
            self._eager_steps_left -= 1
        else:
            self._replay()
        self._summed += 1

    def read_metrics(self) -> Metrics:
        """Wait for the device, and read what the steps since the last reading gave."""
        loss, nme = (self._sums / self._summed).tolist()
        self._sums.zero_()
        self._summed = 0
        return Metrics(loss, nme)

    def crops(self, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """Augmented crops of faces, as the network reads them, and their points."""
        pixels, points = augmented_crops(
            self._faces.images[chosen],
            self._faces.points[chosen],
            self._flip,
            self._phase.input_px,
            self._phase.augmentation,
        )
        normalised = pixels / 127.5 - 1
        return normalised.contiguous(memory_format=torch.channels_last), points

    def load_optimizer(self, state: dict[str, object]) -> None:
        """Take up the optimiser of a saved run."""
        self.optimizer.load_state_dict(state)
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate  # a copy was loaded, which would stay as it is

    def _run(self) -> None:
        crops, points = self.crops(self._chosen)
        target = self._targets.heatmaps(
            points, self._phase.input_px // self._network.architecture.map_stride
        )
        self._network.train()
        prediction = predict(self._network, crops)
        loss = alignment_loss(prediction, points, target, self._markup, self._recipe)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(
            self._network.parameters(), self._recipe.gradient_clip_norm, foreach=True
        )
        self.optimizer.step()
        self._average.update()
        nme = interocular_error(prediction.points.detach(), points, self._markup).mean()
        self._sums += torch.stack((loss.detach(), nme))

    def _run_aside(self) -> None:
        """Run eagerly on another stream than the default one, as what is captured must."""
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            self._run()
        torch.cuda.current_stream().wait_stream(stream)

    def _replay(self) -> None:
        if self._graph is None:
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph):
                self._run()
        self._graph.replay()


def _adamw(network: BoundaryAwareNetwork, recipe: Recipe, rate: Tensor) -> torch.optim.AdamW:
    """AdamW whose rate is a tensor; biases and norms do not decay."""
    parameters = list(network.parameters())
    return torch.optim.AdamW(
        [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": recipe.weight_decay},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ],
        lr=rate,
        betas=recipe.adam_betas,
        fused=True,
        capturable=rate.is_cuda,
    )
