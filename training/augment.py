"""From an annotated face to a training crop: the paper's six augmentations, plus scale.

Translation, rotation, horizontal flip, illumination, blur, occlusion (paper, section 4.1); how far
each goes is the recipe's.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from lwbafa.imaging.crop import Crop
from lwbafa.markups import Markup
from lwbafa.types import Pixels
from training.datasets import Face
from training.recipe import Augmentation


def training_crop(
    face: Face, size_px: int, markup: Markup, options: Augmentation, rng: np.random.Generator
) -> tuple[Pixels, NDArray[np.float32]]:
    """An augmented crop (size_px² RGB) and its landmarks in [0, 1] of it, unclamped."""
    base = face.crop
    # Triangular, not uniform: all of the range is seen, most often near the faces users have.
    shift_x, shift_y = (_triangular(options.translation, rng) * base.side for _ in range(2))
    crop = Crop(
        base.center_x + shift_x,
        base.center_y + shift_y,
        base.side * np.exp(_triangular(options.scale, rng)),
        _triangular(options.rotation_degrees, rng),
    )
    image = crop.cut(face.image, size_px)
    points = crop.from_image(face.landmarks).astype(np.float32)
    if rng.random() < options.flip_probability:
        image, points = flip(image, points, markup)
    if rng.random() < options.blur_probability:
        image = cv2.GaussianBlur(image, (0, 0), size_px / 256 * rng.uniform(1, 3))  # type: ignore[assignment]
    image = _relight(image, options.illumination, rng)
    if rng.random() < options.occlusion_probability:
        image = _occlude(image, rng)
    return image, points


def flip(
    image: Pixels, points: NDArray[np.float32], markup: Markup
) -> tuple[Pixels, NDArray[np.float32]]:
    """Mirror a crop and its landmarks (in [0, 1]), which take their mirrored names."""
    mirrored = points[list(markup.flip)]
    mirrored[:, 0] = 1 - mirrored[:, 0]
    return np.ascontiguousarray(image[:, ::-1]), mirrored


def _triangular(limit: float, rng: np.random.Generator) -> float:
    return float(rng.triangular(-limit, 0, limit)) if limit else 0.0


def _relight(image: Pixels, spread: float, rng: np.random.Generator) -> Pixels:
    """Scale every channel by a common and a smaller own factor, and shift the brightness."""
    gain = 1 + rng.uniform(-spread, spread) + rng.uniform(-spread, spread, 3) / 4
    offset = 255 * rng.uniform(-spread, spread) / 2
    levels = np.arange(256)[:, None] * gain + offset
    table = np.clip(levels, 0, 255).astype(np.uint8)[None]
    return cv2.LUT(image, table)  # type: ignore[return-value]


def _occlude(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Cover a rectangle of up to 40 % of each side with one colour or with noise."""
    size = image.shape[0]
    height, width = (rng.uniform(0.1, 0.4, 2) * size).astype(int)
    top, left = rng.integers(0, size - height), rng.integers(0, size - width)
    image = image.copy()
    if rng.random() < 0.5:
        image[top : top + height, left : left + width] = rng.integers(0, 256, 3)
    else:
        noise = rng.integers(0, 256, (height, width, 3))
        image[top : top + height, left : left + width] = noise
    return image
