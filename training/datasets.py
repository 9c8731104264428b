"""Annotated faces from 300-W folders, in the datasets' own layout.

Reading stops with a `DatasetError` that names the file before any training starts.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from app.imaging.crop import Image

TRAIN_300W = ("afw", "helen/trainset", "lfpw/trainset")
TEST_300W = ("helen/testset",)


class DatasetError(Exception):
    """A data file is missing or broken; the message names it."""


class Face(NamedTuple):
    """One annotated face: RGB image and landmarks N×2 (float32, pixel centres at integers)."""

    name: str
    image: Image
    landmarks: NDArray[np.float32]


def read_pts(path: Path) -> NDArray[np.float32]:
    """Landmarks of a `.pts` file as N×2 pixels; the file's own coordinates are 1-based.

    Raises DatasetError.
    """
    try:
        text = path.read_text()
        declared = int(text.split("n_points:")[1].split()[0])
        numbers = text[text.index("{") + 1 : text.index("}")].split()
        points = np.array(numbers, np.float32).reshape(declared, 2)
    except (OSError, ValueError, IndexError) as error:
        raise DatasetError(f"{path}: not a readable .pts file ({error})") from error
    if not np.isfinite(points).all():
        raise DatasetError(f"{path}: a coordinate is not a finite number")
    return points - 1


def read_image(path: Path) -> Image:
    """RGB pixels of an image file. Raises DatasetError."""
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
    if pixels is None:
        raise DatasetError(f"{path}: not a readable image")
    return pixels  # type: ignore[return-value]


def load_300w(root: Path, folders: Iterable[str], landmark_count: int = 68) -> list[Face]:
    """All faces of some folders below a 300-W root, decoded into memory, with a progress bar.

    Raises DatasetError if a folder holds nothing, or a file is broken.
    """
    annotations: list[Path] = []
    for folder in folders:
        found = sorted((root / folder).glob("*.pts"))
        if not found:
            raise DatasetError(f"{root / folder}: no .pts files")
        annotations += found
    faces = []
    for annotation in tqdm(annotations, desc="reading faces", unit="face", mininterval=1):
        landmarks = read_pts(annotation)
        if len(landmarks) != landmark_count:
            raise DatasetError(f"{annotation}: {len(landmarks)} points, not {landmark_count}")
        picture = next(
            (p for s in (".webp", ".jpg", ".png") if (p := annotation.with_suffix(s)).exists()),
            None,
        )
        if picture is None:
            raise DatasetError(f"{annotation}: no image of that name beside it")
        name = annotation.relative_to(root).with_suffix("").as_posix()
        faces.append(Face(name, read_image(picture), landmarks))
    return faces
