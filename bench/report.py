"""What every bench has in common: interleaved rounds, spreads, and tables as text and JSON."""

import statistics
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click
from tabulate import tabulate
from tqdm import tqdm

from app.settings import read_settings
from proof.harness.machine import machine

NOTE_WIDTH = 100


class Spread(NamedTuple):
    """A measurement over several rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Median, least and greatest of the values."""
        return cls(statistics.median(values), min(values), max(values))

    @classmethod
    def of_ratios(cls, above: Sequence[float], below: Sequence[float]) -> "Spread":
        """The ratio within each round: what slows a whole round down cancels."""
        return cls.of([a / b for a, b in zip(above, below, strict=True)])

    def __str__(self) -> str:
        return f"{_short(self.median)} ({_short(self.low)}–{_short(self.high)})"


Cell = Spread | float | str


class Report(NamedTuple):
    """A finished bench: one table, every row with the same columns, and how to read it."""

    title: str
    note: str
    rows: list[dict[str, Cell]]

    def as_text(self) -> str:
        """The table, for people."""
        columns = len(self.rows[0])
        table = tabulate(
            [[_text(cell) for cell in row.values()] for row in self.rows],
            headers=list(self.rows[0]),
            tablefmt="plain",
            disable_numparse=True,
            colalign=("left", *["right"] * (columns - 1)),
        )
        note = textwrap.fill(self.note, NOTE_WIDTH)
        return "\n".join(["", self.title, "-" * len(self.title), table, note])

    def as_json(self) -> dict[str, Any]:
        """The table, for machines: a spread becomes an object."""
        rows = [
            {name: c._asdict() if isinstance(c, Spread) else c for name, c in row.items()}
            for row in self.rows
        ]
        return {"title": self.title, "note": self.note, "rows": rows}


def interleaved(
    rounds: int, measurements: Mapping[str, Callable[[], float]], description: str
) -> dict[str, list[float]]:
    """Each measurement once per round, side by side, so that a machine's drift meets them all.

    Every other round runs backwards: none is always measured first.
    """
    values: dict[str, list[float]] = {name: [] for name in measurements}
    with tqdm(total=rounds * len(measurements), desc=description, unit="measurement") as bar:
        for number in range(rounds):
            for name in list(measurements)[:: 1 if number % 2 == 0 else -1]:
                values[name].append(measurements[name]())
                bar.update()
    return values


def print_machine() -> None:
    """One line that every printed table stands under."""
    print(", ".join(f"{name.replace('_', ' ')}: {value}" for name, value in machine().items()))


checkpoint_option = click.option(
    "--checkpoint",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=lambda: read_settings().checkpoint_dirs[0],
    help="Its folder.  [default: the service's]",
)
faces_option = click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    required=True,
    help="Folder that holds 300w/.",
)
rounds_option = click.option("--rounds", default=5, show_default=True, help="Of every measurement.")
"""What the command lines of several benches share."""


def _text(cell: Cell) -> str:
    return (
        cell if isinstance(cell, str) else str(cell) if isinstance(cell, Spread) else _short(cell)
    )


def _short(value: float) -> str:
    """Three significant digits, never fewer than the whole number has."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
