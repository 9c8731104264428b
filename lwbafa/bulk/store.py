"""Files of a run by shards: local paths, and whatever fsspec reads and writes by its URL.

Local files need no fsspec. A local file appears under its name once it is whole; an object store
shows an object only then by itself.
"""

import errno
import glob
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, cast

from lwbafa.errors import PackageMissing, StoreError

ASIDE = ".aside"
"""The folder, hidden from those who read all parts, in which files become whole."""

PAUSES_S = (0.5, 2.0)
"""Before a store that failed is asked again."""


def absolute(uri: str) -> str:
    """The URI as any process finds it, wherever it was started."""
    if uri.startswith("file://"):
        uri = uri.removeprefix("file://")
    return uri.rstrip("/") if "://" in uri else os.path.abspath(uri)  # noqa: PTH100 - links stay


def join(folder: str, *names: str) -> str:
    """A file below a folder."""
    return "/".join([folder, *names])


def open_file(uri: str) -> IO[bytes]:
    """A file to read from. Raises OSError."""
    if "://" not in uri:
        return Path(uri).open("rb")
    files, path = _remote(uri)
    return cast(IO[bytes], files.open(path, "rb"))


def read(uri: str) -> bytes:
    """All of a file; a store that fails is asked again before that counts. Raises OSError."""
    for pause_s in PAUSES_S if "://" in uri else ():
        try:
            return _read_once(uri)
        except (FileNotFoundError, PermissionError):
            raise
        except OSError:
            time.sleep(pause_s)
    return _read_once(uri)


def write(uri: str, content: bytes) -> None:
    """Write a file, which replaces what is there, at once and whole. Raises OSError."""
    if "://" in uri:
        files, path = _remote(uri)
        files.pipe_file(path, content)
        return
    local = Path(uri)
    aside = _write_aside(local, content)
    try:
        aside.replace(local)
    except FileNotFoundError:
        # Another process has written the same file meanwhile, and tidied up.
        if not local.exists():
            raise
    _remove_asides(local)


def create(uri: str, content: bytes, alone: bool = False) -> None:
    """Write a file that is not there yet, at once and whole.

    Raises FileExistsError, also if another process was quicker; OSError. Some stores cannot tell
    whether one was: there the file is written if this process is `alone`, else StoreError raised.
    """
    if "://" in uri:
        files, path = _remote(uri)
        try:
            files.pipe_file(path, content, mode="create")
        except (NotImplementedError, OSError) as error:
            if isinstance(error, OSError) and error.errno != errno.ENOSYS:
                raise
            if not alone:
                raise StoreError(
                    f"{uri}: this store cannot create a file only where there is none, as processes"
                    " that begin together need it: make the plan first, with --only-plan"
                ) from error
            files.pipe_file(path, content)
        return
    aside = _write_aside(Path(uri), content)
    try:
        os.link(aside, uri)
    finally:
        aside.unlink()


def remove(uri: str) -> None:
    """Delete a file, if it is there. Raises OSError."""
    if "://" not in uri:
        Path(uri).unlink(missing_ok=True)
        return
    files, path = _remote(uri)
    with suppress(FileNotFoundError):
        files.rm_file(path)


def names_in(folder: str) -> set[str]:
    """The names of what lies in a folder; none if there is no such folder."""
    if "://" not in folder:
        with suppress(FileNotFoundError):
            return {entry.name for entry in os.scandir(folder)}
        return set()
    files, path = _remote(folder)
    with suppress(FileNotFoundError):
        return {name.rsplit("/", 1)[-1] for name in files.ls(path, detail=False)}
    return set()


def find(named: str) -> Iterator[str]:
    """The files of a folder and its folders, of a glob, or the one that is named; hidden ones not.

    Local files come in the order of their names, folder by folder, without all being listed first.
    """
    if "://" in named:
        yield from _find_remote(named)
    elif Path(named).is_dir():
        yield from _walk(named)
    elif Path(named).exists():
        yield named
    else:
        for match in sorted(glob.glob(named, recursive=True)):  # noqa: PTH207
            if Path(match).is_file():
                yield match
            elif "**" not in named:  # which has what is in the folder as matches of its own
                yield from _walk(match)


def _read_once(uri: str) -> bytes:
    with open_file(uri) as file:
        return file.read()


def _walk(folder: str, above: tuple[tuple[int, int], ...] = ()) -> Iterator[str]:
    """Links are followed, but for those that lead back to a folder `above`, by its inode."""
    status = os.stat(folder)  # noqa: PTH116
    here = status.st_dev, status.st_ino
    if here in above:
        return
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.name.startswith("."):
            continue
        if _is_folder(entry):
            yield from _walk(entry.path, (*above, here))
        elif entry.is_symlink() or entry.is_file():  # a link to nothing is to be a row, a pipe not
            yield entry.path


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether it is one, or a link to one; a link to itself is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _find_remote(named: str) -> Iterator[str]:
    files, path = _remote(named)
    found = files.glob(path) if glob.has_magic(path) else files.find(path)
    for each in sorted(found):
        if not any(part.startswith(".") for part in each.split("/")):
            yield str(files.unstrip_protocol(each))


def _write_aside(path: Path, content: bytes) -> Path:
    """The content on the disk, under a name that no other process writes.

    In a folder of its own, which is quick to look through whatever lies beside it.
    """
    aside = path.parent / ASIDE / f"{path.name}.{uuid.uuid4().hex}"
    aside.parent.mkdir(parents=True, exist_ok=True)
    with aside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return aside


def _remove_asides(path: Path) -> None:
    """What killed attempts at a file have left beside it."""
    for aside in (path.parent / ASIDE).glob(f"{glob.escape(path.name)}.*"):
        aside.unlink(missing_ok=True)


def _remote(uri: str) -> tuple[Any, str]:
    try:
        import fsspec
    except ModuleNotFoundError as error:
        raise PackageMissing(f"{uri} needs fsspec: pip install 'lwbafa[ray]'") from error
    try:
        files, path = fsspec.core.url_to_fs(uri)
    except ImportError as error:
        raise PackageMissing(f"{uri}: {error}") from error
    except ValueError as error:
        raise StoreError(f"{uri}: {error}") from error
    return files, path
