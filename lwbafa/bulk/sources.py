"""Which pictures and videos a run is of: files, folders and globs as a list of files."""

import glob
import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from lwbafa.errors import NoSources

PICTURES = frozenset({".jpg", ".jpeg", ".png", ".webp"})
"""What is taken from folders; a file that is named itself may be called anything."""

VIDEOS = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm"})
"""What is read frame by frame."""

UNREAD = frozenset({".avif", ".bmp", ".dng", ".gif", ".heic", ".heif", ".jxl", ".tif", ".tiff"})
"""Pictures that are left out of folders, which whoever has some should know."""

FURTHER_FACE, FRAME = re.compile(r"\.face\d+$"), re.compile(r"\.frame\d+$")
"""What `place_of` puts behind a name."""


class Source(NamedTuple):
    """One file of a run.

    `name` is the path as the rows give it; `place` is where it lies below the common folder of
    all that was named, without a suffix where that tells it from all others.
    """

    path: Path
    name: str
    place: Path

    @property
    def is_video(self) -> bool:
        """Whether it is read frame by frame."""
        return self.path.suffix.lower() in VIDEOS


def find_sources(named: Sequence[str], without: Path | None = None) -> list[Source]:
    """The files that are named, in folders and by globs, each once, in the order of their names.

    Files below the folder `without` are left out: a run does not read what it has drawn. Raises
    NoSources for a name that leads nowhere, or if there is nothing to read.
    """
    roots: set[str] = set()
    found: dict[str, Path] = {}
    for name in named:
        paths = _paths_of(name)
        if not paths:
            raise NoSources(f"there is no file, no folder and no match of {name or repr(name)}")
        for text in paths:
            path = Path(text)
            roots.add(str(_root(name, path)))
            for file in sorted(_files_in(path, PICTURES | VIDEOS)) if path.is_dir() else [path]:
                absolute = Path(os.path.abspath(file))  # noqa: PTH100 - links stay as they are
                if without is None or not absolute.is_relative_to(without.absolute()):
                    found.setdefault(str(absolute), file)
    if not found:
        nothing = "there are no pictures and no videos in what was named"
        drawn = f"what lies in {without} is no source: pictures are drawn there" if without else ""
        raise NoSources("; ".join(filter(None, (nothing, drawn, left_out_of(named)))))
    common = os.path.commonpath([os.path.abspath(root) for root in roots])  # noqa: PTH100
    places = {key: Path(os.path.relpath(key, common)) for key in found}
    # A file's place is one of these two; that of some other file is not to be mistaken for it.
    taken = Counter(name for place in places.values() for name in {place, place.with_suffix("")})
    return [
        Source(found[key], as_text(found[key].as_posix()), _shortest(places[key], taken))
        for key in sorted(found, key=lambda key: found[key].as_posix())
    ]


def left_out_of(named: Sequence[str]) -> str:
    """Which pictures and folders `find_sources` leaves out, for people; often nothing."""
    folders = {Path(path) for name in named for path in _paths_of(name) if Path(path).is_dir()}
    closed: list[OSError] = []
    files = {file for folder in folders for file in _files_in(folder, UNREAD, closed.append)}
    counts = Counter(file.suffix.lower() for file in files)
    told = ", ".join(f"{count} {suffix}" for suffix, count in sorted(counts.items()))
    names = ", ".join(sorted({str(error.filename) for error in closed}))
    texts = (
        f"left out: {told}; convert them to JPEG, PNG or WebP" if told else "",
        f"left out: {names}, which cannot be opened" if names else "",
    )
    return "; ".join(filter(None, texts))


def as_text(name: str) -> str:
    """A file's name that every format can hold: names are bytes, of any encoding."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def place_of(source: Source, frame: int | None, face: int = 0) -> Path:
    """Where a picture's, a frame's or a further face's own file lies, without its suffix."""
    name = source.place.name
    name += "" if frame is None else f".frame{frame:06d}"
    name += f".face{face + 1}" if face else ""
    return source.place.with_name(name)


def place_it_seems_of(place: Path) -> Iterator[Path]:
    """Of which other places this could be a frame's or a further face's own."""
    name = place.name
    for end in FURTHER_FACE, FRAME:
        shorter = end.sub("", name)
        if shorter != name:
            yield place.with_name(shorter)
        name = shorter


def _paths_of(name: str) -> list[str]:
    """The path named, or all that match a glob."""
    return [name] if name and Path(name).exists() else sorted(glob.glob(name, recursive=True))  # noqa: PTH207


def _root(name: str, path: Path) -> Path:
    """The folder below which the files of an argument keep their places."""
    if glob.has_magic(name) and not Path(name).exists():
        parts = Path(name).parts
        fixed = next(i for i, part in enumerate(parts) if glob.has_magic(part))
        return Path(*parts[:fixed])
    return path if path.is_dir() else path.parent


def _files_in(
    folder: Path, suffixes: Collection[str], on_closed: Callable[[OSError], None] | None = None
) -> Iterator[Path]:
    """Files of some suffixes of a folder and its folders, hidden ones and linked folders left out.

    `on_closed` is told of folders that cannot be opened.
    """
    for at, folders, files in os.walk(folder, onerror=on_closed):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for path in (Path(at, name) for name in files if not name.startswith(".")):
            if path.suffix.lower() in suffixes and _is_file(path):
                yield path


def _is_file(path: Path) -> bool:
    """Whether it is one, or was to be: what cannot be looked at is to be a row with its error.

    So is a link to nothing, as data that was not fetched leaves them.
    """
    try:
        return path.is_file() or not path.exists()
    except PermissionError:
        return True


def _shortest(place: Path, taken: Counter[Path]) -> Path:
    """Without suffix, unless `a.png`, or the `a.jpg` of an `a.face2.jpg`, lies beside it."""
    stem = place.with_suffix("")
    meets = taken[stem] > 1 or any(other in taken for other in place_it_seems_of(stem))
    return place if meets else stem
