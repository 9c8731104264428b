"""What distinguishes the networks that the same blocks make: LW-BAFA, BAFA and lighter ones."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Architecture:
    """The widths and depths of a network.

    `map_stride` is the input's side over the heatmaps': 4 in the paper, or 8, where the stem's
    stride is 4 and the early layers cost a quarter. `feature_width` is that of the landmark
    stage's features on the 16×16 grid. `separable_branches` are the landmark stage's whose first
    convolution, the dearest, goes by channels; `attention_pool` is the side of the squares over
    which SAFeature's attention averages keys and values. Without `delight_blocks` the head is a
    vanilla Transformer.
    """

    name: str
    width: int
    preprocessing_bottleneck: float
    shuffle_decoder: bool
    deep_widths: tuple[int, int]
    shallow_widths: tuple[int, int]
    delight_blocks: int
    boundary_widths: tuple[int, int] = (64, 128)
    feature_width: int = 256
    hourglasses: int = 4
    stem_width: int = 64
    map_stride: int = 4
    separable_branches: bool = False
    attention_pool: int = 1

    @property
    def input_multiple_px(self) -> int:
        """What the input's side is a multiple of: an hourglass halves the maps four times."""
        return 16 * self.map_stride

    @property
    def halvings(self) -> int:
        """How often the heatmaps' side is halved to that of the landmark stage's grid."""
        return 2 if self.map_stride == 4 else 1


LW_BAFA = Architecture("lwbafa", 192, 0.25, True, (256, 256), (128, 192), 3)
BAFA = Architecture("bafa", 256, 0.5, False, (384, 256), (192, 192), 0)
LITE = Architecture(
    "lwbafa-lite",
    width=96,
    preprocessing_bottleneck=0.5,
    shuffle_decoder=True,
    deep_widths=(96, 128),
    shallow_widths=(64, 96),
    delight_blocks=1,
    boundary_widths=(32, 64),
    feature_width=128,
    hourglasses=2,
    stem_width=32,
    map_stride=8,
    separable_branches=True,
    attention_pool=2,
)
"""A twenty-fifth of LW-BAFA's work: half the width, half the hourglasses, maps of half the side."""

ARCHITECTURES = {architecture.name: architecture for architecture in (LW_BAFA, BAFA, LITE)}
