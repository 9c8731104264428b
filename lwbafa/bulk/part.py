"""What a run has done so far: a file that only grows, by whole lines.

The first line tells how the run was begun, each other one is a row. A run that is killed leaves at
most half a line behind, which is cut off when the run goes on. Nothing else tells what is done.
"""

import fcntl
import json
from collections.abc import Iterable, Iterator, Mapping, Set
from pathlib import Path
from types import TracebackType
from typing import Self

from lwbafa.bulk.rows import Key, Row, key_of
from lwbafa.errors import PartMismatch

Settings = Mapping[str, str | int]


class PartFile:
    """The rows of a run, those of earlier attempts among them. For one thread."""

    def __init__(self, path: Path, settings: Settings) -> None:
        """Open or begin it.

        Raises PartMismatch if another process writes it, or it was begun with other settings;
        OSError.
        """
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a+b")
        self._offsets: dict[Key, int] = {}
        self._frames: dict[str, set[int]] = {}
        self.failed = 0
        try:
            self._lock()
            self._read(settings)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def __contains__(self, key: Key) -> bool:
        return key in self._offsets

    def __len__(self) -> int:
        return len(self._offsets)

    def frames_of(self, name: str) -> Set[int]:
        """The frames of a video that have their rows."""
        return self._frames.get(name, frozenset())

    def append(self, row: Row) -> None:
        """Add a row, and hand it to the system before anything else is done."""
        self._note(row, self._file.seek(0, 2))
        self._write(row)

    def row(self, key: Key) -> Row:
        """A row that is there. Raises KeyError."""
        self._file.seek(self._offsets[key])
        row: Row = json.loads(self._file.readline())
        return row

    def rows(self, names: Iterable[str]) -> Iterator[Row]:
        """All rows of some files: in the files' order, and a video's in that of its frames."""
        for name in names:
            if (name, None) in self:
                yield self.row((name, None))
            for frame in sorted(self.frames_of(name)):
                yield self.row((name, frame))

    def remove(self) -> None:
        """Delete it: what it says is in the run's result."""
        self.path.unlink()

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise PartMismatch(f"another run writes {self.path}") from error

    def _read(self, settings: Settings) -> None:
        self._file.seek(0)
        whole = 0
        try:
            for line in self._file:
                if not line.endswith(b"\n"):
                    break
                if whole:
                    self._note(json.loads(line), whole)
                else:
                    self._compare(json.loads(line), settings)
                whole += len(line)
        except (ValueError, LookupError, TypeError) as error:
            raise PartMismatch(f"{self.path} is no part file of a run") from error
        self._file.truncate(whole)
        if not whole:
            self._write(dict(settings))

    def _compare(self, begun: Settings, settings: Settings) -> None:
        if begun != settings:
            raise PartMismatch(
                f"{self.path} was begun with other settings, {json.dumps(begun)}: "
                "go on with those, or delete it"
            )

    def _note(self, row: Row, offset: int) -> None:
        name, frame = key = key_of(row)
        self._offsets[key] = offset
        if frame is not None:
            self._frames.setdefault(name, set()).add(frame)
        self.failed += row["status"] != "ok"

    def _write(self, line: Row) -> None:
        self._file.write(json.dumps(line, allow_nan=False, ensure_ascii=False).encode() + b"\n")
        self._file.flush()
