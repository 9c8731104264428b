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
PTS_FILE = re.compile(r"n_points:\s*(\d+)\s*\{([^}]*)\}")


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
        """The photograph that the face was cut from."""
        return photograph_of(self.name)


class Annotation(NamedTuple):
    """What a face's annotation says, before its image is read."""

    name: str
    picture: Path
    landmarks: NDArray[np.float32]
    attributes: frozenset[str] = frozenset()

    @property
    def photograph(self) -> str:
        """The photograph that the face was cut from."""
        return photograph_of(self.name)

    def read(self) -> Face:
        """The face with its image. Raises DatasetError."""
        return Face(self.name, read_image(self.picture), self.landmarks, self.attributes)


def photograph_of(name: str) -> str:
    """The photograph that a face was cut from: the face's name without its number."""
    stem = Path(name.split("#")[0]).stem
    return re.sub(r"(?<=\d)_{1,2}\d+$", "", stem)


def load_faces(root: Path, sources: Iterable[str], landmark_count: int) -> list[Face]:
    """All faces of some sources below the data's root, decoded into memory, with a progress bar.

    Raises DatasetError if a source is empty, or a file is missing, broken or of another markup.
    """
    annotations = [
        annotation
        for source in sources
        for annotation in read_annotations(root, source, landmark_count)
    ]
    return [a.read() for a in tqdm(annotations, desc="reading faces", unit="face", mininterval=1)]


def read_annotations(root: Path, source: str, landmark_count: int) -> list[Annotation]:
    """What a source below the data's root says of its faces, without their images.

    Raises DatasetError if the source is empty, or a file is missing, broken or of another markup.
    """
    path = root / source
    if path.is_dir():
        return _read_pts_folder(root, path, landmark_count)
    if path.is_file():
        return _read_wflw_list(path, landmark_count)
    raise DatasetError(f"{path}: no such folder of .pts files and no such list")


def landmark_count_of(root: Path, source: str) -> int:
    """How many landmarks the faces of a source have. Raises DatasetError."""
    path = root / source
    if path.is_file():
        fields = _text(path).splitlines()[:1]
        numbers = len(fields[0].split()) - 1 if fields else 0
        return max(0, numbers - RECTANGLE_FIELDS - len(WFLW_ATTRIBUTES)) // 2
    first = next(iter(sorted(path.glob("*.pts"))), None)
    if first is None:
        raise DatasetError(f"{path}: no such list, and no folder of .pts files")
    return len(read_pts(first))


def is_held_back(photograph: str, share: float) -> bool:
    """Whether a photograph is among the `share` that is held back, by its name alone.

    It is in every run, whatever the other sources, and so are all of its faces.
    """
    return zlib.crc32(photograph.encode()) < share * 2**32


def read_pts(path: Path) -> NDArray[np.float32]:
    """Landmarks of a `.pts` file as N×2 pixels; the file's own coordinates are 1-based.

    Raises DatasetError, which says what is wrong with the file.
    """
    found = PTS_FILE.search(_text(path))
    if found is None:
        raise DatasetError(f"{path}: not a .pts file: no line 'n_points: N' and points in {{ }}")
    declared, numbers = int(found[1]), found[2].split()
    if len(numbers) != 2 * declared:
        raise DatasetError(
            f"{path}: {len(numbers)} numbers between {{ and }}, not the two of each of {declared} "
            "points"
        )
    return _numbers(numbers, str(path)).reshape(declared, 2) - 1


def read_image(path: Path) -> Pixels:
    """RGB pixels of an image file. Raises DatasetError."""
    # The landmarks lie on the file's own grid, so no EXIF rotation may turn it.
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    if pixels is None:
        raise DatasetError(f"{path}: not a readable image")
    return pixels  # type: ignore[return-value]


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path}: not a text file") from error
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read: {error.strerror}") from error


def _numbers(fields: Sequence[str], where: str) -> NDArray[np.float32]:
    try:
        numbers = np.array(fields, np.float32)
    except ValueError as error:
        raise DatasetError(f"{where}: {error}") from error
    if not np.isfinite(numbers).all():
        raise DatasetError(f"{where}: a coordinate is not a finite number")
    return numbers


def _read_pts_folder(root: Path, folder: Path, landmark_count: int) -> list[Annotation]:
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
        annotations.append(Annotation(name, picture, landmarks))
    if not annotations:
        raise DatasetError(f"{folder}: no .pts files")
    return annotations


def _read_wflw_list(path: Path, landmark_count: int) -> list[Annotation]:
    """Each line: 2·N coordinates (0-based), rectangle, six flags, image path."""
    lines = [line for line in _text(path).splitlines() if line.strip()]
    if not lines:
        raise DatasetError(f"{path}: the list is empty")
    images = _image_root(path, lines[0].split()[-1])
    annotations = []
    for number, line in enumerate(lines, 1):
        *fields, picture = line.split()
        expected = 2 * landmark_count + RECTANGLE_FIELDS + len(WFLW_ATTRIBUTES)
        if len(fields) != expected:
            raise DatasetError(f"{path}:{number}: not {expected} numbers and a path")
        numbers = _numbers(fields, f"{path}:{number}")
        if not (images / picture).exists():
            raise DatasetError(f"{path}:{number}: no image {images / picture}")
        flags = numbers[-len(WFLW_ATTRIBUTES) :]
        annotations.append(
            Annotation(
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
