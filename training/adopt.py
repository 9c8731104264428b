"""Begin a run with the weights of another, whose markup or architecture may differ."""

from collections import Counter
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from lwbafa.markups import MARKUP_68, MARKUP_98, MARKUPS, WFLW_AS_68, Markup
from lwbafa.network import BoundaryAwareNetwork
from lwbafa.network.blocks import SeparableConvNorm
from training.errors import RunError

BOUNDARY_HEAD = "boundary_stage.heatmap.bias"
LANDMARK_HEADS = ("landmark_stage.head.embedding", "landmark_stage.head.queries")


class Adoption(NamedTuple):
    """The names of tensors that were taken whole, in part, and not at all, and of those unused."""

    whole: list[str]
    part: list[str]
    new: list[str]
    unused: list[str]

    def report(self) -> str:
        """What people are told, in a line or a few."""
        total = len(self.whole) + len(self.part) + len(self.new)
        lines = [f"adopted {len(self.whole)} of {total} tensors whole"]
        for says, names in (
            ("in part, for what both markups have", self.part),
            ("new", self.new),
            ("not used", self.unused),
        ):
            if names:
                modules = Counter(name.rsplit(".", 1)[0] for name in names)
                listed = ", ".join([*modules][:12]) + (" …" if len(modules) > 12 else "")
                lines.append(f"{says}: {len(names)} ({listed})")
        return "; ".join(lines)


def adopt(network: BoundaryAwareNetwork, markup: Markup, path: Path) -> Adoption:
    """Take from a safetensors file what fits into a network, in place.

    Between markups, the boundaries and landmarks that both have are taken; the network's reading of
    a new boundary starts at zero, so that its answer does not change with it. What is a separable
    convolution only here starts as the nearest to theirs. Raises RunError if the file is not
    readable, or nothing in it fits.
    """
    try:
        given = load_file(path)
    except (SafetensorError, OSError) as error:
        raise RunError(f"{path}: not a readable safetensors file ({error})") from error
    for name, module in network.named_modules():
        if isinstance(module, SeparableConvNorm) and f"{name}.conv.weight" in given:
            _take_apart(given, name)
    own = network.state_dict()
    pairs = _pairs(_markup_of(given), markup)
    adoption = Adoption([], [], [], [name for name in given if name not in own])
    for name, tensor in own.items():
        source = given.get(name)
        if source is not None and source.shape == tensor.shape:
            tensor.copy_(source)
            adoption.whole.append(name)
        elif source is not None and _take_part(tensor, source, pairs):
            adoption.part.append(name)
        else:
            adoption.new.append(name)
    if not adoption.whole:
        raise RunError(f"{path}: none of its tensors fits the network")
    return adoption


def _take_apart(given: dict[str, Tensor], name: str) -> None:
    """Put the nearest separable convolution in a 3×3 one's place: of rank one for every input."""
    whole = given.pop(f"{name}.conv.weight").float()
    outputs, inputs = whole.shape[:2]
    across, strength, along = torch.linalg.svd(
        whole.transpose(0, 1).flatten(2), full_matrices=False
    )
    share = strength[:, 0].sqrt()
    given[f"{name}.0.weight"] = (along[:, 0].T * share).T.reshape(inputs, 1, *whole.shape[2:])
    given[f"{name}.1.conv.weight"] = (across[:, :, 0].T * share).reshape(outputs, inputs, 1, 1)
    for key in [key for key in given if key.startswith(f"{name}.norm.")]:
        given[f"{name}.1{key.removeprefix(name)}"] = given.pop(key)


Pairs = dict[tuple[int, int], tuple[list[int], list[int]]]
"""By the sizes (theirs, ours) of what is counted: places of theirs, and of ours, that are one."""


def _pairs(theirs: Markup | None, ours: Markup) -> Pairs:
    if theirs is None or theirs is ours:
        return {}
    first, second = [*range(MARKUP_68.landmark_count)], [*WFLW_AS_68]
    landmarks = (first, second) if ours is MARKUP_98 else (second, first)
    boundaries = [*range(min(len(theirs.boundaries), len(ours.boundaries)))]
    return {
        (len(theirs.boundaries), len(ours.boundaries)): (boundaries, boundaries),
        (theirs.landmark_count, ours.landmark_count): landmarks,
    }


def _markup_of(given: dict[str, Tensor]) -> Markup | None:
    """The markup that the heads' sizes tell."""
    landmarks = next((len(given[name]) for name in LANDMARK_HEADS if name in given), None)
    boundaries = len(given[BOUNDARY_HEAD]) if BOUNDARY_HEAD in given else None
    return next(
        (
            markup
            for markup in MARKUPS.values()
            if (markup.landmark_count, len(markup.boundaries)) == (landmarks, boundaries)
        ),
        None,
    )


@torch.no_grad()
def _take_part(tensor: Tensor, source: Tensor, pairs: Pairs) -> bool:
    """Take what is common along the one axis in which the shapes differ; False if there is none."""
    if tensor.ndim != source.ndim:
        return False
    differing = [a for a in range(tensor.ndim) if tensor.shape[a] != source.shape[a]]
    if len(differing) != 1:
        return False
    (axis,) = differing
    pair = pairs.get((source.shape[axis], tensor.shape[axis]))
    if pair is None:
        return False
    theirs, ours = (torch.tensor(places, device=tensor.device) for places in pair)
    if axis == 1:  # inputs
        tensor.zero_()
    taken = source.to(tensor).index_select(axis, theirs)
    tensor.index_copy_(axis, ours, taken)
    return True
