"""Stage 1: boundary heatmaps from stacked hourglasses (paper, section 3.1).

The paper fixes the hourglass with ShuffleNetV2 units on its decoder side and what SDFusion is made
of (two 1×1 convolutions, a residual module, pyramid pooling, attention from predicted heatmaps).
How SDFusion wires them together is our choice: no reference code is public.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lwbafa.network.architectures import Architecture
from lwbafa.network.blocks import ConvNorm, Residual, ShuffleUnit, pointwise

PYRAMID_BINS = (1, 2, 4, 8)
"""Along each side of the pyramid's levels; each is half the next."""


class Hourglass(nn.Module):
    """Encoder-decoder over H×W with skips at every scale (Newell et al., ECCV 2016).

    C×H×W in and out; H and W divisible by 2**depth.
    """

    def __init__(self, width: int, decoder: Callable[[int], nn.Module], depth: int = 4) -> None:
        super().__init__()
        self.skips = nn.ModuleList(Residual(width, width) for _ in range(depth))
        self.downs = nn.ModuleList(Residual(width, width) for _ in range(depth))
        self.neck = Residual(width, width)
        self.ups = nn.ModuleList(decoder(width) for _ in range(depth))

    def forward(self, x: Tensor) -> Tensor:
        skipped = []
        for skip, down in zip(self.skips, self.downs, strict=True):
            skipped.append(skip(x))
            x = down(F.max_pool2d(x, 2))
        x = self.neck(x)
        for up in self.ups:
            # In this order, OpenVINO's int8 enlarges bytes, not floats.
            x = skipped.pop() + F.interpolate(up(x), scale_factor=2.0, mode="nearest")
        return x


class SDFusion(nn.Module):
    """Fuses a hourglass's shallow input with its pyramid-pooled deep output under an attention map.

    Inputs C×H×W twice, H = W; returns the next hourglass's input C×H×W and raw heatmaps K×H×W.
    """

    enlarging: Tensor
    """Once folded, H×15: the matrices that enlarge the levels, side by side."""

    def __init__(self, width: int, boundaries: int) -> None:
        super().__init__()
        self.residual = Residual(width, width)
        self.heatmap = heatmap_head(width, boundaries)
        self.attention = nn.Conv2d(boundaries, width, 1)
        self.pyramid = nn.ModuleList(ConvNorm(width, width // 4) for _ in PYRAMID_BINS)
        self.from_shallow = ConvNorm(width, width, relu=False)
        self.from_pyramid = ConvNorm(2 * width, width, relu=False)
        self.from_deep: nn.Conv2d | None = None
        self.from_levels: nn.ModuleList | None = None

    def forward(self, shallow: Tensor, deep: Tensor) -> tuple[Tensor, Tensor]:
        deep = self.residual(deep)
        heatmaps = self.heatmap(deep)
        attention = torch.sigmoid(self.attention(heatmaps))
        gated = shallow + self.from_shallow(shallow) * attention
        levels = self._pyramid_levels(deep)
        if self.from_deep is None or self.from_levels is None:
            size = deep.shape[-2:]
            enlarged = (F.interpolate(level, size=size, mode="bilinear") for level in levels)
            context = self.from_pyramid(torch.cat((deep, *enlarged), dim=1))
            return F.relu(gated + context), heatmaps
        mixed = [mix(level) for mix, level in zip(self.from_levels, levels, strict=True)]
        # Here too the order decides what OpenVINO's int8 keeps as bytes: `training.quantise` tells.
        return F.relu(gated + self._enlarged_sum(mixed) + self.from_deep(deep)), heatmaps

    def fold(self, size: int) -> None:
        """Let `from_pyramid` mix a level's channels before it is enlarged: half its work vanishes.

        Mixing acts on channels and enlarging on places, so their order does not matter. From then
        on H and W are `size`.
        """
        if self.from_deep is None:
            self.from_pyramid.fold()
            conv = self.from_pyramid.conv
            width = conv.out_channels
            of_deep, *of_levels = torch.split(
                conv.weight.flatten(1), [width, *(width // 4 for _ in PYRAMID_BINS)], dim=1
            )
            del self.from_pyramid
            self.from_deep = pointwise(of_deep, conv.bias)
            self.from_levels = nn.ModuleList(pointwise(weight, None) for weight in of_levels)
            matrices = [_enlarging_matrix(bins, size).to(conv.weight) for bins in PYRAMID_BINS]
            self.register_buffer("enlarging", torch.cat(matrices, dim=1), persistent=False)

    def _pyramid_levels(self, deep: Tensor) -> list[Tensor]:
        """Every level of the pyramid: C/4 channels of its bins along either side."""
        # The side is a multiple of every number of bins; adaptive pooling, which does not know
        # that, takes a tenth of the time of int8 inference.
        means = [F.avg_pool2d(deep, deep.shape[-1] // PYRAMID_BINS[-1])]
        for _ in PYRAMID_BINS[1:]:
            means.insert(0, F.avg_pool2d(means[0], 2))
        return [level(mean) for level, mean in zip(self.pyramid, means, strict=True)]

    def _enlarged_sum(self, mixed: list[Tensor]) -> Tensor:
        """Sum of the mixed levels, each enlarged as `F.interpolate` does ("bilinear").

        B×C×bins×bins for each of `PYRAMID_BINS` to B×C×H×H.
        """
        tall = []
        matrices = torch.split(self.enlarging, list(PYRAMID_BINS), dim=1)
        for level, matrix in zip(mixed, matrices, strict=True):
            channels_last = level.permute(0, 2, 3, 1)
            taller = matrix @ channels_last.flatten(2)
            tall.append(taller.reshape(-1, len(self.enlarging), *channels_last.shape[2:]))
        # One product makes all levels wider and adds them up: no large map is written but the sum.
        return (self.enlarging @ torch.cat(tall, dim=2)).permute(0, 3, 1, 2)


def _enlarging_matrix(bins: int, size: int) -> Tensor:
    """size×bins: enlarges `bins` numbers to `size`, linearly between their middles."""
    hats = torch.eye(bins).unsqueeze(0)
    return F.interpolate(hats, size=size, mode="linear").squeeze(0).T


class BoundaryStage(nn.Module):
    """Image to boundary heatmaps.

    Input 3×S×S, S divisible by 64. Returns the shallow features C×s×s, the final deep features
    C×s×s and the raw heatmaps K×s×s of all hourglasses, last one best; s is S over the
    architecture's `map_stride`.
    """

    def __init__(self, shape: Architecture, boundaries: int) -> None:
        super().__init__()
        width, stem, bottleneck = shape.width, shape.stem_width, shape.preprocessing_bottleneck
        decoder: Callable[[int], nn.Module] = (
            ShuffleUnit if shape.shuffle_decoder else lambda channels: Residual(channels, channels)
        )
        self.stem = ConvNorm(3, stem, 7, shape.map_stride // 2)
        self.pre1 = Residual(stem, 2 * stem, bottleneck)
        self.pre2 = Residual(2 * stem, 2 * stem, bottleneck)
        self.pre3 = Residual(2 * stem, width, bottleneck)
        self.hourglasses = nn.ModuleList(
            Hourglass(width, decoder) for _ in range(shape.hourglasses)
        )
        self.fusions = nn.ModuleList(
            SDFusion(width, boundaries) for _ in range(shape.hourglasses - 1)
        )
        self.final = ConvNorm(width, width)
        self.heatmap = heatmap_head(width, boundaries)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        x = F.max_pool2d(self.pre1(self.stem(image)), 2)
        shallow = x = self.pre3(self.pre2(x))
        heatmaps = []
        for hourglass, fusion in zip(self.hourglasses[:-1], self.fusions, strict=True):
            x, intermediate = fusion(x, hourglass(x))
            heatmaps.append(intermediate)
        deep = self.final(self.hourglasses[-1](x))
        heatmaps.append(self.heatmap(deep))
        return shallow, deep, heatmaps


def heatmap_head(width: int, boundaries: int) -> nn.Conv2d:
    """1×1 convolution C to K that starts near zero, where most of every heatmap is."""
    head = nn.Conv2d(width, boundaries, 1)
    nn.init.normal_(head.weight, std=1e-3)
    nn.init.zeros_(head.bias)  # type: ignore[arg-type]
    return head
