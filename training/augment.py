"""What happens to the pixels of training crops, by chance and on the device.

Everything works on a whole batch, float B×3×S×S in 0 to 255, and draws for each face of its own.
Where an augmentation's probability or spread is 0, nothing is computed.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from training.recipe import Augmentation

WIDEST_BLUR_PX = 3.0
"""Standard deviation in a crop of 256 px; the narrowest is a third of it."""

STRONGEST_MIX = 1 / 3
STRONGEST_NOISE = 16.0
DEEPEST_EDGE = 0.35


def uniform(*shape: int, device: torch.device, low: float = 0.0, high: float = 1.0) -> Tensor:
    """Numbers between `low` and `high`, all alike."""
    return low + (high - low) * torch.rand(*shape, device=device)


def triangular(*shape: int, device: torch.device) -> Tensor:
    """Numbers between −1 and 1, most often near 0."""
    return torch.rand(*shape, device=device) - torch.rand(*shape, device=device)


def distort(crops: Tensor, options: Augmentation) -> Tensor:
    """All that a recipe asks for, in the order in which a camera and the world would do it."""
    for probability, change in (
        (options.mix_probability, _mix),
        (options.fewer_pixels_probability, _fewer_pixels),
        (options.blur_probability, _blur),
    ):
        crops = _sometimes(crops, probability, change)
    if options.illumination:
        crops = _relight(crops, options.illumination)
    if options.gamma:
        crops = _bend(crops, options.gamma)
    for probability, change in (
        (options.grey_probability, _grey),
        (options.noise_probability, _noise),
        (options.occlusion_probability, lambda x: _occlude(x, options.occluder_sides)),
        (options.edge_probability, _edge),
    ):
        crops = _sometimes(crops, probability, change)
    return crops


def _sometimes(crops: Tensor, probability: float, change: Callable[[Tensor], Tensor]) -> Tensor:
    if not probability:
        return crops
    happens = uniform(len(crops), 1, 1, 1, device=crops.device) < probability
    return torch.where(happens, change(crops), crops)


def _mix(crops: Tensor) -> Tensor:
    share = uniform(len(crops), 1, 1, 1, device=crops.device, high=STRONGEST_MIX)
    return torch.lerp(crops, crops.roll(1, dims=0), share)


def _fewer_pixels(crops: Tensor) -> Tensor:
    size = crops.shape[-1]
    half, quarter = (
        F.interpolate(F.avg_pool2d(crops, factor), size=size, mode="bilinear", align_corners=False)
        for factor in (2, 4)
    )
    return torch.where(uniform(len(crops), 1, 1, 1, device=crops.device) < 0.6, half, quarter)


def _blur(crops: Tensor) -> Tensor:
    """Blur by a Gaussian of each face's own width: a convolution along x, and one along y."""
    count, channels, size, _ = crops.shape
    widest = WIDEST_BLUR_PX * size / 256
    sigma = uniform(count, 1, device=crops.device, low=widest / 3, high=widest)
    reach = math.ceil(3 * widest)
    distance = torch.arange(-reach, reach + 1, device=crops.device)
    weights = torch.softmax(-(distance**2) / (2 * sigma**2), dim=1)
    kernels = weights.repeat_interleave(channels, dim=0)[:, None, None]
    flat = F.pad(crops.reshape(1, -1, size, size), [reach] * 4, mode="replicate")
    across = F.conv2d(flat, kernels, groups=count * channels)
    down = F.conv2d(across, kernels.transpose(2, 3), groups=count * channels)
    return down.reshape(crops.shape)


def _relight(crops: Tensor, spread: float) -> Tensor:
    """Scale around the middle grey, then by a common and each channel's own factor, then shift."""
    shape, device = (len(crops), 1, 1, 1), crops.device
    contrast = 1 + spread * triangular(*shape, device=device)
    gain = 1 + spread * triangular(*shape, device=device)
    gain = gain + spread / 4 * triangular(len(crops), 3, 1, 1, device=device)
    offset = 128 * spread * triangular(*shape, device=device)
    return (crops * (contrast * gain) + (128 * (1 - contrast) * gain + offset)).clamp(0, 255)


def _bend(crops: Tensor, spread: float) -> Tensor:
    exponent = torch.exp(spread * triangular(len(crops), 1, 1, 1, device=crops.device))
    return 255 * (crops / 255).clamp(0, 1) ** exponent


def _grey(crops: Tensor) -> Tensor:
    return crops.mean(dim=1, keepdim=True).expand_as(crops)


def _noise(crops: Tensor) -> Tensor:
    strength = uniform(len(crops), 1, 1, 1, device=crops.device, high=STRONGEST_NOISE)
    return (crops + strength * torch.randn_like(crops)).clamp(0, 255)


def _occlude(crops: Tensor, sides: tuple[float, float]) -> Tensor:
    """Cover a rectangle with one colour, with noise or with a part of another picture."""
    count, device = len(crops), crops.device
    side = uniform(count, 2, 1, device=device, low=sides[0], high=sides[1])
    start = (1 - side) * uniform(count, 2, 1, device=device)
    place = (torch.arange(crops.shape[-1], device=device) + 0.5) / crops.shape[-1]
    inside = (place >= start) & (place < start + side)
    covered = inside[:, 0, None, None, :] & inside[:, 1, None, :, None]
    colour = uniform(count, 3, 1, 1, device=device, high=255)
    which = uniform(count, 1, 1, 1, device=device)
    cover = torch.where(which < 0.4, 255 * torch.rand_like(crops), crops.roll(1, dims=0))
    return torch.where(covered, torch.where(which < 0.7, cover, colour), crops)


def _edge(crops: Tensor) -> Tensor:
    """Black from one of the four sides on, which is what lies outside a photograph."""
    count, size, device = len(crops), crops.shape[-1], crops.device
    depth = uniform(count, 1, 1, 1, device=device, high=DEEPEST_EDGE)
    place = ((torch.arange(size, device=device) + 0.5) / size).expand(1, 1, size, size)
    vertical = uniform(count, 1, 1, 1, device=device) < 0.5
    opposite = uniform(count, 1, 1, 1, device=device) < 0.5
    along = torch.where(vertical, place.transpose(2, 3), place)
    return crops.masked_fill(torch.where(opposite, 1 - along, along) < depth, 0.0)
