"""The average of a phase's weights, and the BatchNorm statistics that belong to it."""

import copy
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from lwbafa.network import BoundaryAwareNetwork
from training.forward import predict


class WeightAverage:
    """An exponential average of a network's weights, without the bias of its beginning.

    After t updates it is Σ decay^(t−i)·w_i over Σ decay^(t−i): the first weights do not linger,
    however short a phase is. BatchNorm's running statistics are not averaged, since those of
    averaged weights are others: `with_statistics` measures them.
    """

    def __init__(self, network: BoundaryAwareNetwork, decay: float) -> None:
        self._network = copy.deepcopy(network)
        self._sources: list[Tensor] = list(network.parameters())
        self._averages: list[Tensor] = list(self._network.parameters())
        self._decay = decay
        self._share = torch.zeros((), device=self._sources[0].device)

    def prepare(self, update: int) -> None:
        """Before update number `update`, counted from 1: how much of it is taken."""
        self._share.fill_((1 - self._decay) / (1 - self._decay**update))

    @torch.no_grad()
    def update(self) -> None:
        """Take the network's weights in. Makes no decisions, so a CUDA graph may hold it."""
        steps = torch._foreach_sub(self._sources, self._averages)
        torch._foreach_mul_(list(steps), self._share)
        torch._foreach_add_(self._averages, list(steps))

    def with_statistics(self, crops: Iterable[Tensor]) -> BoundaryAwareNetwork:
        """The averaged network in evaluation mode, with the statistics of batches of crops.

        It is the average's own, not a copy: valid until the next update.
        """
        estimate_statistics(self._network, crops)
        return self._network

    def state_dict(self) -> dict[str, Tensor]:
        """What a resumed run needs."""
        return self._network.state_dict()

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take up a saved state."""
        self._network.load_state_dict(state)


@torch.no_grad()
def estimate_statistics(network: BoundaryAwareNetwork, crops: Iterable[Tensor]) -> None:
    """Measure BatchNorm's statistics anew: the mean over batches of normalised crops B×3×S×S.

    Leaves the network in evaluation mode.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    momentums = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # all batches count alike
    network.train()
    for batch in crops:
        predict(network, batch, half=False)  # what is shipped computes in single precision
    for norm, momentum in zip(norms, momentums, strict=True):
        norm.momentum = momentum
    network.eval()
