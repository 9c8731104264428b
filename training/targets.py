"""Boundary heatmap targets, computed on the device from the landmarks of a whole batch."""

import torch
from torch import Tensor

from lwbafa.markups import Markup

SIGMA_PX = 1.0
SUBDIVISIONS = 4


def boundary_curve(points: Tensor) -> Tensor:
    """Interpolate B×n×2 points by a Catmull-Rom spline: a polyline B×((n−1)·4+1)×2 through them."""
    before = 2 * points[:, :1] - points[:, 1:2]
    after = 2 * points[:, -1:] - points[:, -2:-1]
    p0, p1 = torch.cat((before, points[:, :-2]), 1), points[:, :-1]
    p2, p3 = points[:, 1:], torch.cat((points[:, 2:], after), 1)
    t = torch.arange(SUBDIVISIONS, device=points.device, dtype=points.dtype) / SUBDIVISIONS
    t = t[:, None]
    p0, p1, p2, p3 = (p[:, :, None] for p in (p0, p1, p2, p3))
    curve = 0.5 * (
        2 * p1
        + (p2 - p0) * t
        + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2
        + (3 * p1 - p0 - 3 * p2 + p3) * t**3
    )
    return torch.cat((curve.flatten(1, 2), points[:, -1:]), 1)


class BoundaryTargets:
    """Draws a markup's boundaries as heatmaps; holds its indices where the landmarks are.

    A list of indices would be copied to the device at each use, which a CUDA graph cannot hold.
    """

    def __init__(self, markup: Markup, device: torch.device) -> None:
        self._boundaries = [
            torch.tensor(boundary.landmarks, device=device) for boundary in markup.boundaries
        ]

    def heatmaps(self, landmarks: Tensor, size_px: int) -> Tensor:
        """Targets B×K×size×size for landmarks B×N×2 in [0, 1] of the crop.

        exp(−D²/2σ²) where D < 3σ, else 0; D is the distance in heatmap pixels to the boundary's
        interpolated curve, σ = 1 (Look at Boundary, section 3.1).
        """
        # Pixel centres sit at integers, the crop's edges half a pixel outside them.
        pixels = landmarks * size_px - 0.5
        axis = torch.arange(size_px, device=pixels.device, dtype=pixels.dtype)
        maps = []
        for indices in self._boundaries:
            curve = boundary_curve(pixels[:, indices])
            squared = _squared_distance_to_segments(axis, curve[:, :-1], curve[:, 1:])
            heat = torch.exp(-squared / (2 * SIGMA_PX**2))
            maps.append(torch.where(squared < (3 * SIGMA_PX) ** 2, heat, 0.0))
        return torch.stack(maps, dim=1)


def _squared_distance_to_segments(axis: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """B×S×S squared distances from every grid point to the nearest of B×M segments."""
    step = (end - start)[:, :, None, None]
    length = (step**2).sum(-1).clamp(min=1e-12)
    x = axis[None, None, None, :] - start[:, :, None, None, 0]
    y = axis[None, None, :, None] - start[:, :, None, None, 1]
    along = ((x * step[..., 0] + y * step[..., 1]) / length).clamp(0, 1)
    return ((x - along * step[..., 0]) ** 2 + (y - along * step[..., 1]) ** 2).amin(dim=1)
