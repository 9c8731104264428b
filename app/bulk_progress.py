"""What a run by shards shows: one line on a terminal, a line now and then in a log."""

import sys
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from app.bulk_totals import Totals

if TYPE_CHECKING:
    from lwbafa.bulk.worker import Mark

LOG_EVERY_S = 30.0


def sum_up(marks: Iterable["Mark"], shards: int) -> Totals:
    """The sums of all marks, which are shown on standard error as they come."""
    totals = Totals()
    if not sys.stderr.isatty():
        _log(marks, totals, shards)
        return totals
    with click.progressbar(
        length=shards, label="shards", show_pos=True, item_show_func=_text, file=sys.stderr
    ) as bar:
        bar.update(0, totals)
        for mark in marks:
            totals.add(mark)
            bar.update(1, totals)
    return totals


def _log(marks: Iterable["Mark"], totals: Totals, shards: int) -> None:
    said = time.monotonic()
    for mark in marks:
        totals.add(mark)
        if time.monotonic() - said >= LOG_EVERY_S:
            said = time.monotonic()
            left = _left(totals, shards)
            click.echo(f"shards {totals.tried}/{shards}, {left} left, {_text(totals)}", err=True)


def _text(totals: Totals | None) -> str:
    """What the bar does not show by itself; click asks without totals when it is done."""
    if totals is None:
        return ""
    failed = totals.failures.total()
    return f"{totals.rate:.1f} photographs/s, {totals.faces} faces, {failed} failed"


def _left(totals: Totals, shards: int) -> str:
    """The time until all shards are done, at the rate so far."""
    left_s = totals.took_s / max(totals.tried, 1) * (shards - totals.tried)
    return f"{int(left_s // 3600)}:{int(left_s // 60 % 60):02}:{int(left_s % 60):02}"
