"""Faces as the network saw and answered them, and error curves: pictures for looking at.

They show faces of the data, so they are not for publishing.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lwbafa.imaging.crop import Crop
from lwbafa.imaging.draw import annotated
from lwbafa.markups import Markup
from lwbafa.types import Pixels, Points
from training.metrics import FAILURE_NME

TILE_PX = 384
COLUMNS = 5


def face_tile(
    seen: Pixels,
    points: Points,
    heatmap: NDArray[np.uint8],
    markup: Markup,
    nme: float,
) -> Pixels:
    """A crop (S×S RGB) with landmarks (N×2 in [0, 1] of it), merged heatmap and its NME."""
    size = seen.shape[0]
    whole = Crop((size - 1) / 2, (size - 1) / 2, size)
    picture = annotated(seen, [(whole, whole.to_image(points), heatmap, markup.groups)])
    tile = cv2.resize(picture, (TILE_PX, TILE_PX), interpolation=cv2.INTER_AREA)
    cv2.putText(tile, f"{100 * nme:.1f} %", (8, 24), 0, 0.8, (255, 255, 0), 2)
    return tile  # type: ignore[return-value]


def sheet(tiles: Sequence[Pixels]) -> Pixels:
    """Tiles side by side in rows of five, the last row filled up with black."""
    filled = [*tiles, *[np.zeros_like(tiles[0])] * (-len(tiles) % COLUMNS)]
    rows = [np.hstack(filled[start : start + COLUMNS]) for start in range(0, len(filled), COLUMNS)]
    return np.vstack(rows)


def write_picture(path: Path, picture: Pixels) -> None:
    """Write RGB pixels in the format that the path's suffix names. Raises OSError."""
    if not cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)):
        raise OSError(f"{path}: cannot be written")


def draw_curves(curves: Mapping[str, Sequence[float]], path: Path) -> None:
    """Cumulative error distributions, by name, up to the failure threshold, as a picture."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot(
        xlabel="NME, % of the inter-ocular distance",
        ylabel="share of faces, %",
        xlim=(0, 100 * FAILURE_NME),
        ylim=(0, 100),
    )
    for name, errors in curves.items():
        shares = 100 * np.arange(1, len(errors) + 1) / len(errors)
        axes.step(100 * np.sort(errors), shares, where="post", label=name)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=120)
