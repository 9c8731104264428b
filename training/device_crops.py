"""Training crops, cut out of stored faces on the device: a whole batch by one affine sampling.

The convention is that of `lwbafa.imaging.crop`. The same code runs on a CPU and within a CUDA
graph: nothing here waits for a number or copies a list of indices.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from lwbafa.imaging.crop import CROP_SCALE
from training.augment import distort, triangular, uniform
from training.recipe import Augmentation

SAMPLED_AT_LEAST_PX = 128
"""Smaller crops are sampled at a multiple of their size and averaged down, so nothing aliases."""


class Squares(NamedTuple):
    """A crop for each of B faces: centre B×2 and side B in stored pixels, angle B, mirrored B.

    The angle, in radians, turns the square clockwise on the screen, as `Crop.degrees` does.
    """

    center: Tensor
    side: Tensor
    angle: Tensor
    mirrored: Tensor


def augmented_crops(
    images: Tensor, points: Tensor, flip: Tensor, size_px: int, options: Augmentation
) -> tuple[Tensor, Tensor]:
    """Crops of stored images uint8 B×S×S×3 and their points B×N×2, augmented by chance.

    Returns crops float B×3×size_px×size_px in 0 to 255, and points in [0, 1] of them, unclamped.
    `flip` says which landmark each becomes in a mirror.
    """
    squares = moved(squares_around(points), options)
    crops = cut(images, squares, size_px)
    return distort(crops, options), in_crops(points, squares, flip)


def squares_around(points: Tensor) -> Squares:
    """The crops that the service would cut from the landmarks' boxes."""
    low, high = points.amin(dim=1), points.amax(dim=1)
    side = CROP_SCALE * (high - low).amax(dim=1)
    return Squares((low + high) / 2, side, torch.zeros_like(side), side < 0)


def moved(squares: Squares, options: Augmentation) -> Squares:
    """Shift, scale, turn and mirror each square by chance.

    Triangular, not uniform: all of the range is seen, most often near the faces users have.
    """
    center, side, angle, mirrored = squares
    count, device = len(side), side.device
    if options.translation:
        shift = options.translation * triangular(count, 2, device=device)
        center = center + shift * side[:, None]
    if options.rotation_degrees:
        angle = angle + math.radians(options.rotation_degrees) * triangular(count, device=device)
    if options.scale:
        side = side * torch.exp(options.scale * triangular(count, device=device))
    if options.flip_probability:
        mirrored = mirrored ^ (uniform(count, device=device) < options.flip_probability)
    return Squares(center, side, angle, mirrored)


def cut(images: Tensor, squares: Squares, size_px: int) -> Tensor:
    """Sample stored images uint8 B×S×S×3: float B×3×size_px×size_px, black outside the image."""
    stored_px = images.shape[1]
    cos, sin = torch.cos(squares.angle), torch.sin(squares.angle)
    across = torch.where(squares.mirrored, -1.0, 1.0)
    # From places of the crop to those of the image, both between −1 and 1 at the outer edges.
    turn = torch.stack((across * cos, -sin, across * sin, cos), dim=1).reshape(-1, 2, 2)
    scaled = turn * (squares.side / stored_px)[:, None, None]
    center = (squares.center + 0.5) * 2 / stored_px - 1
    affine = torch.cat((scaled, center[:, :, None]), dim=2)
    finer = max(1, SAMPLED_AT_LEAST_PX // size_px)
    shape = [len(images), 3, finer * size_px, finer * size_px]
    grid = F.affine_grid(affine, shape, align_corners=False)
    pixels = images.permute(0, 3, 1, 2).float()
    crops = F.grid_sample(pixels, grid, align_corners=False)
    return F.avg_pool2d(crops, finer) if finer > 1 else crops


def in_crops(points: Tensor, squares: Squares, flip: Tensor) -> Tensor:
    """Points B×N×2 of stored images in [0, 1] of the crops, under their mirrored names."""
    x, y = (points - squares.center[:, None]).unbind(dim=2)
    cos, sin = torch.cos(squares.angle)[:, None], torch.sin(squares.angle)[:, None]
    turned = torch.stack((x * cos + y * sin, y * cos - x * sin), dim=2)
    upright = turned / squares.side[:, None, None]
    mirror = torch.stack((-upright[:, flip, 0], upright[:, flip, 1]), dim=2)
    return torch.where(squares.mirrored[:, None, None], mirror, upright) + 0.5
