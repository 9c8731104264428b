"""A network as LW-BAFA's but narrow, so that a test's step takes a fraction of a second."""

from dataclasses import replace

import torch

from lwbafa.markups import Markup
from lwbafa.network import LW_BAFA, BoundaryAwareNetwork

NARROW = replace(LW_BAFA, name="narrow", width=16, deep_widths=(16, 16), shallow_widths=(16, 16))


def narrow_network(markup: Markup, seed: int = 0, separable: bool = False) -> BoundaryAwareNetwork:
    torch.manual_seed(seed)
    return BoundaryAwareNetwork(replace(NARROW, separable_branches=separable), markup)
