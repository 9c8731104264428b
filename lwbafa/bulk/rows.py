"""One row of a run: what a picture, or a frame of a video, has shown."""

from collections.abc import Callable
from typing import Any, NamedTuple

from lwbafa.errors import LwbafaError, ServiceError
from lwbafa.types import Pixels

Row = dict[str, Any]
"""`file`, `frame` (of videos, from 1), `status` (`ok` or `error`), `error` (`code` and `text`),
`width` and `height` of the upright picture in pixels, and `faces`, as `AlignedFace.as_dict`."""

Key = tuple[str, int | None]
"""What tells a row from all others: the file's name, and the frame of a video."""


class Answer(NamedTuple):
    """A picture's upright size in pixels, its faces as plain values, and how to draw them (PNG)."""

    width: int
    height: int
    faces: list[dict[str, Any]]
    draw: Callable[[], bytes]


Align = Callable[[bytes | Pixels], Answer]
"""Aligns an encoded picture or a frame's RGB pixels; called from several threads at once.

Raises StopRun where no other picture would fare better, any other exception for this one.
"""


def key_of(row: Row) -> Key:
    """Which picture or frame a row is of."""
    return row["file"], row.get("frame")


def aligned(
    file: str, frame: int | None, size: tuple[int, int], faces: list[dict[str, Any]]
) -> Row:
    """The row of a picture that was aligned, with a face or without; `size` is width and height."""
    width, height = size
    return _begun(file, frame, "ok") | {"width": width, "height": height, "faces": faces}


def failed(file: str, frame: int | None, error: Exception) -> Row:
    """The row of a picture that could not be aligned."""
    said = {"code": _code(error), "text": _text(error)}
    return _begun(file, frame, "error") | {
        "error": said,
        "width": None,
        "height": None,
        "faces": [],
    }


def _begun(file: str, frame: int | None, status: str) -> Row:
    return {"file": file} | ({} if frame is None else {"frame": frame}) | {"status": status}


def _code(error: Exception) -> str:
    if isinstance(error, OSError):
        return "unreadable_file"
    return error.code if isinstance(error, LwbafaError) else LwbafaError.code


def _text(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if isinstance(error, ServiceError):
        return error.detail
    return str(error) or type(error).__name__
