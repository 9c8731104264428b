"""What a run by shards shows: one line on a terminal, a line now and then in a log."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from lwbafa.bulk.worker import Mark

LOG_EVERY_S = 30.0


def shown(marks: Iterable["Mark"], shards: int) -> Iterator["Mark"]:
    """The marks as they come, with the progress on standard error."""
    progress = _Progress(shards)
    if not sys.stderr.isatty():
        yield from _logged(marks, progress)
        return
    with click.progressbar(
        length=shards, label="shards", show_pos=True, item_show_func=str, file=sys.stderr
    ) as bar:
        bar.update(0, progress)
        for mark in marks:
            progress.add(mark)
            bar.update(1, progress)
            yield mark


class _Progress:
    """The sums so far; as a text, what the bar does not show by itself."""

    def __init__(self, shards: int) -> None:
        self._shards, self._done = shards, 0
        self._photographs = self._faces = self._failed = 0
        self._begun = time.monotonic()

    def add(self, mark: "Mark") -> None:
        self._done += 1
        self._photographs += mark.photographs
        self._faces += mark.faces
        self._failed += sum(mark.failures.values())

    def __str__(self) -> str:
        rate = self._photographs / max(time.monotonic() - self._begun, 1e-3)
        return f"{rate:.1f} photographs/s, {self._faces} faces, {self._failed} failed"

    @property
    def line(self) -> str:
        """All of it, for a log."""
        left = "?"
        if self._done:
            left_s = (time.monotonic() - self._begun) / self._done * (self._shards - self._done)
            left = f"{int(left_s // 3600)}:{int(left_s // 60 % 60):02}:{int(left_s % 60):02}"
        return f"shards {self._done}/{self._shards}, {left} left, {self}"


def _logged(marks: Iterable["Mark"], progress: _Progress) -> Iterator["Mark"]:
    said = time.monotonic()
    for mark in marks:
        progress.add(mark)
        if time.monotonic() - said >= LOG_EVERY_S:
            said = time.monotonic()
            click.echo(progress.line, err=True)
        yield mark
