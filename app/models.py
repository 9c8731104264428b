"""The models of one process: each checkpoint with its engine and its batcher, by name."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from app.batching import Batcher
from app.errors import InvalidParameter, StartupError
from lwbafa.aligner import FaceAligner
from lwbafa.checkpoint import Checkpoint
from lwbafa.engine import Alignment
from lwbafa.types import Pixels


@dataclass(frozen=True)
class LoadedModel:
    """A checkpoint that is served: what aligns faces with it, and the queue before its network."""

    aligner: FaceAligner
    batcher: Batcher[Pixels, Alignment]

    @property
    def checkpoint(self) -> Checkpoint:
        """What was loaded."""
        return self.aligner.checkpoint

    @property
    def name(self) -> str:
        """What callers and metrics call it."""
        return self.checkpoint.name


class Models:
    """The loaded models in the order of the settings; the first is the default."""

    def __init__(self, models: Sequence[LoadedModel]) -> None:
        """Raises StartupError if two have the same name."""
        self._by_name = {model.name: model for model in models}
        if len(self._by_name) < len(models):
            names = sorted(model.name for model in models)
            twice = next(a for a, b in pairwise(names) if a == b)
            raise StartupError(f"setting LWBAFA_CHECKPOINT_DIRS: two checkpoints are named {twice}")
        self.default = models[0]

    def __iter__(self) -> Iterator[LoadedModel]:
        return iter(self._by_name.values())

    def get(self, name: str | None) -> LoadedModel:
        """The model of a name, the default for None. Raises InvalidParameter."""
        if name is None:
            return self.default
        if name not in self._by_name:
            there = ", ".join(self._by_name)
            raise InvalidParameter(f"model: there is no such model; there are: {there}.")
        return self._by_name[name]
