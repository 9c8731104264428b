"""The convolutional blocks that both stages are made of.

Everything here is post-activation, so that every BatchNorm folds into the convolution before it.
Shapes are B×C×H×W.
"""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval


class ConvNorm(nn.Module):
    """Convolution without bias, BatchNorm and, by default, ReLU; padding keeps H×W at stride 1."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        relu: bool = True,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False
        )
        self.norm: nn.Module = nn.BatchNorm2d(outputs)
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(x))
        return F.relu(x) if self.relu else x

    def fold(self) -> None:
        """Fold the BatchNorm's running statistics into the convolution (inference only)."""
        if isinstance(self.norm, nn.BatchNorm2d):
            self.conv = fuse_conv_bn_eval(self.conv, self.norm)
            self.norm = nn.Identity()


class SeparableConvNorm(nn.Sequential):
    """A 3×3 convolution of every channel by itself, then a `ConvNorm` across them.

    MobileNets (Howard et al., 2017, section 3.1), without the normalisation between the two.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(
            nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs, bias=False),
            ConvNorm(inputs, outputs),
        )


class Residual(nn.Module):
    """Bottleneck residual unit: 1×1, 3×3, 1×1 with `bottleneck`·outputs filters in the middle."""

    def __init__(self, inputs: int, outputs: int, bottleneck: float = 0.5) -> None:
        super().__init__()
        middle = int(outputs * bottleneck)
        self.body = nn.Sequential(
            ConvNorm(inputs, middle),
            ConvNorm(middle, middle, 3),
            ConvNorm(middle, outputs, relu=False),
        )
        self.skip = nn.Identity() if inputs == outputs else ConvNorm(inputs, outputs, relu=False)
        self.last_and_skip: nn.Conv2d | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.last_and_skip is None:
            return F.relu(self.body(x) + self.skip(x))
        return F.relu(self.last_and_skip(torch.cat((self.body(x), x), dim=1)))

    def fold(self) -> None:
        """Merge the last 1×1 and the skip's 1×1 into one convolution over both inputs.

        This saves writing a map and adding it.
        """
        if isinstance(self.skip, ConvNorm):
            last = cast(ConvNorm, self.body.pop(2))
            last.fold()
            self.skip.fold()
            weight = torch.cat((last.conv.weight, self.skip.conv.weight), dim=1)
            bias = cast(Tensor, last.conv.bias) + cast(Tensor, self.skip.conv.bias)
            self.last_and_skip = pointwise(weight.flatten(1), bias)
            self.skip = nn.Identity()


class ShuffleUnit(nn.Module):
    """ShuffleNetV2 unit at stride 1 (Ma et al., ECCV 2018, fig. 3c): half the channels pass.

    Its input is never negative: it comes out of ReLUs.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.body = nn.Sequential(
            ConvNorm(half, half),
            ConvNorm(half, half, 3, groups=half, relu=False),
            ConvNorm(half, half),
        )
        self.last_and_shuffle: nn.Conv2d | None = None

    def forward(self, x: Tensor) -> Tensor:
        kept, worked = x.chunk(2, dim=1)
        both = torch.cat((kept, self.body(worked)), dim=1)
        if self.last_and_shuffle is None:
            return _shuffled(both)
        return F.relu(self.last_and_shuffle(both))

    def fold(self) -> None:
        """Make the last convolution shuffle as well, which costs less than moving channels."""
        if self.last_and_shuffle is None:
            last = cast(ConvNorm, self.body.pop(2))
            last.fold()
            bias = cast(Tensor, last.conv.bias)
            weight = last.conv.weight.flatten(1)
            kept = torch.cat((torch.eye(len(bias)).to(weight), torch.zeros_like(weight)), dim=1)
            worked = torch.cat((torch.zeros_like(weight), weight), dim=1)
            self.last_and_shuffle = pointwise(
                _alternated(kept, worked), _alternated(torch.zeros_like(bias), bias)
            )


def _shuffled(x: Tensor) -> Tensor:
    """The channels of both halves by turns: `F.channel_shuffle`, which forgets channels-last."""
    batch, channels, height, width = x.shape
    halves = x.permute(0, 2, 3, 1).reshape(batch, height, width, 2, channels // 2)
    return halves.transpose(3, 4).reshape(batch, height, width, channels).permute(0, 3, 1, 2)


def _alternated(even: Tensor, odd: Tensor) -> Tensor:
    """Rows of two tensors by turns, as a shuffle of two groups leaves their channels."""
    return torch.stack((even, odd), dim=1).flatten(0, 1)


def pointwise(weight: Tensor, bias: Tensor | None) -> nn.Conv2d:
    """1×1 convolution with the given outputs×inputs weights."""
    conv = nn.Conv2d(weight.shape[1], weight.shape[0], 1, bias=bias is not None)
    conv.weight = nn.Parameter(weight[:, :, None, None])
    if bias is not None:
        conv.bias = nn.Parameter(bias)
    return conv


class BlurPool(nn.Module):
    """Anti-aliased halving of H and W with a fixed 3×3 binomial filter (Zhang, ICML 2019)."""

    kernel: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        row = torch.tensor([1.0, 2.0, 1.0]) / 4
        kernel = torch.outer(row, row).expand(channels, 1, 3, 3).contiguous()
        self.register_buffer("kernel", kernel, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.kernel, stride=2, padding=1, groups=x.shape[1])
