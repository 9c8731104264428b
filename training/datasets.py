"""Annotated faces from 300-W folders and WFLW lists, in the datasets' own layouts.

A *source* is a path below the data's root: a folder of `.pts` files with an image beside each
(`300w/helen/trainset`), or a WFLW list (`wflw/WFLW_annotations/list_98pt_rect_attr_val.txt`).
Reading stops with a `DatasetError` that names the file before any training starts.
"""

import re
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from lwbafa.imaging.crop import Crop
from lwbafa.types import FaceBox, Pixels
from training.errors import DatasetError

IMAGE_SUFFIXES = (".webp", ".jpg", ".png")
WFLW_ATTRIBUTES = ("pose", "expression", "illumination", "make-up", "occlusion", "blur")
RECTANGLE_FIELDS = 4


class Face(NamedTuple):
    """One annotated face: RGB image and landmarks N×2 (float32, pixel centres at integers).

    `attributes` are the names of the WFLW attributes whose flag is set.
    """

    name: str
    image: Pixels
    landmarks: NDArray[np.float32]
    attributes: frozenset[str] = frozenset()

    @property
    def box(self) -> FaceBox:
        """The box around the landmarks."""
        return FaceBox.around(self.landmarks)

    @property
    def crop(self) -> Crop:
        """What the network reads of the face, from the landmarks' own box."""
        return Crop.around(self.box)

    @property
    def photograph(self) -> str:
        """The photograph that the face was cut from: its name without the face's number."""
        stem = Path(self.name.split("#")[0]).stem
        return re.sub(r"(?<=\d)_{1,2}\d+$", "", stem)


class _Annotation(NamedTuple):
    """What a face's annotation says, before its image is read."""

    name: str
    picture: Path
    landmarks: NDArray[np.float32]
    attributes: frozenset[str]


def load_faces(root: Path, sources: Iterable[str], landmark_count: int) -> list[Face]:
    """All faces of some sources below the data's root, decoded into memory, with a progress bar.

    Raises DatasetError if a source is empty, or a file is missing, broken or of another markup.
    """
    annotations = [
        annotation
        for source in sources
        for annotation in _read_source(root, root / source, landmark_count)
    ]
    return [
        Face(a.name, read_image(a.picture), a.landmarks, a.attributes)
        for a in tqdm(annotations, desc="reading faces", unit="face", mininterval=1)
    ]


def hold_back(faces: Sequence[Face], share: float) -> tuple[list[Face], list[Face]]:
    """Training and validation faces: about `share` of the photographs, chosen by their names.

    All faces of one photograph go the same way, in every run and whatever the other sources.
    """
    parts: tuple[list[Face], list[Face]] = ([], [])
    for face in faces:
        parts[zlib.crc32(face.photograph.encode()) < share * 2**32].append(face)
    return parts


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


def read_image(path: Path) -> Pixels:
    """RGB pixels of an image file. Raises DatasetError."""
    # The landmarks lie on the file's own grid, so no EXIF rotation may turn it.
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    if pixels is None:
        raise DatasetError(f"{path}: not a readable image")
    return pixels  # type: ignore[return-value]


def _read_source(root: Path, source: Path, landmark_count: int) -> list[_Annotation]:
    if source.is_dir():
        return _read_pts_folder(root, source, landmark_count)
    if source.is_file():
        return _read_wflw_list(source, landmark_count)
    raise DatasetError(f"{source}: no such folder of .pts files and no such list")


def _read_pts_folder(root: Path, folder: Path, landmark_count: int) -> list[_Annotation]:
    annotations = []
    for path in sorted(folder.glob("*.pts")):
        landmarks = read_pts(path)
        if len(landmarks) != landmark_count:
            raise DatasetError(f"{path}: {len(landmarks)} points, not {landmark_count}")
        beside = (path.with_suffix(suffix) for suffix in IMAGE_SUFFIXES)
        picture = next((p for p in beside if p.exists()), None)
        if picture is None:
            raise DatasetError(f"{path}: no image of that name beside it")
        name = path.relative_to(root).with_suffix("").as_posix()
        annotations.append(_Annotation(name, picture, landmarks, frozenset()))
    if not annotations:
        raise DatasetError(f"{folder}: no .pts files")
    return annotations


def _read_wflw_list(path: Path, landmark_count: int) -> list[_Annotation]:
    """Each line: 2·N coordinates (0-based), rectangle, six flags, image path."""
    lines = [line for line in path.read_text().splitlines() if line.strip()]
    if not lines:
        raise DatasetError(f"{path}: the list is empty")
    images = _image_root(path, lines[0].split()[-1])
    annotations = []
    for number, line in enumerate(lines, 1):
        *fields, picture = line.split()
        expected = 2 * landmark_count + RECTANGLE_FIELDS + len(WFLW_ATTRIBUTES)
        try:
            numbers = np.array(fields, np.float32)
        except ValueError as error:
            raise DatasetError(f"{path}:{number}: {error}") from error
        if len(numbers) != expected or not np.isfinite(numbers).all():
            raise DatasetError(f"{path}:{number}: not {expected} finite numbers and a path")
        if not (images / picture).exists():
            raise DatasetError(f"{path}:{number}: no image {images / picture}")
        flags = numbers[-len(WFLW_ATTRIBUTES) :]
        annotations.append(
            _Annotation(
                f"{picture}#{number}",
                images / picture,
                numbers[: 2 * landmark_count].reshape(landmark_count, 2),
                frozenset(n for n, flag in zip(WFLW_ATTRIBUTES, flags, strict=True) if flag),
            )
        )
    return annotations


def _image_root(path: Path, first_picture: str) -> Path:
    """The folder that a list's image paths start from: `WFLW_images`, or one above the list."""
    for above in path.parents:
        for root in (above / "WFLW_images", above):
            if (root / first_picture).exists():
                return root
    raise DatasetError(f"{path}:1: no folder above it holds {first_picture}")
