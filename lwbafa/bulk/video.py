"""Videos, frame by frame."""

from collections.abc import Container, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2

from lwbafa.errors import UnreadableVideo
from lwbafa.types import Pixels

LISTS = (b"#EXTM3U", b"ffconcat")
"""How lists of other files begin, which FFmpeg would read in a file's place, whatever its name."""


def frames(path: Path, done: Container[int] = ()) -> Iterator[tuple[int, Pixels]]:
    """Number, from 1, and upright RGB pixels H×W×3 of each frame that is not `done`.

    Raises UnreadableVideo, before the first frame.
    """
    with _opened(path) as video:
        number = 0
        while video.grab():
            number += 1
            if number in done:
                continue
            readable, pixels = video.retrieve()
            if not readable:
                number -= 1
                break
            yield number, cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)  # type: ignore[misc]
    if not number:
        raise UnreadableVideo("The video has no frame that can be read.")


def frame_count(path: Path) -> int:
    """How many frames the file says it has; 1 if it does not tell."""
    try:
        with _opened(path) as video:
            return max(1, int(video.get(cv2.CAP_PROP_FRAME_COUNT)))
    except UnreadableVideo:
        return 1


@contextmanager
def _opened(path: Path) -> Iterator[cv2.VideoCapture]:
    name = str(path.absolute())  # relative, `Talk: 1.mp4` would be an address of the protocol Talk
    try:
        name.encode()
    except UnicodeEncodeError as error:  # of which OpenCV dies
        raise UnreadableVideo("The file's name is no UTF-8; rename it.") from error
    if _beginning(path).startswith(LISTS):
        raise UnreadableVideo("The file is a list of other files.")
    video = cv2.VideoCapture(name)
    try:
        if not video.isOpened():
            raise UnreadableVideo("The file cannot be opened as a video.")
        yield video
    finally:
        video.release()


def _beginning(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(max(map(len, LISTS)))
    except OSError as error:
        raise UnreadableVideo(f"The file cannot be opened: {error.strerror}.") from error
