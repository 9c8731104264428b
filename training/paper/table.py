"""What a table of the paper is, with the rows that the paper prints."""

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

from tabulate import tabulate

PUBLISHED = Path(__file__).with_name("published.toml")
NOT_GIVEN = "–"


class Row(NamedTuple):
    """One method's figures, by column; a column that it lacks was not given or not measured."""

    method: str
    figures: Mapping[str, str]
    source: Literal["printed", "measured"]
    on: str
    """The faces that the figures are of; of a cost, the hardware."""


class Table(NamedTuple):
    """A table of the paper, with more rows than the paper's where some were measured."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    note: str = ""

    def with_rows(self, rows: Iterable[Row]) -> Self:
        """The table with more rows at its end."""
        return self._replace(rows=(*self.rows, *rows))

    def text(self, style: Literal["simple", "github"]) -> str:
        """The table alone, for a terminal or for Markdown."""
        cells = [
            (
                row.method,
                *(row.figures.get(column, NOT_GIVEN) for column in self.columns),
                row.source,
                row.on,
            )
            for row in self.rows
        ]
        return tabulate(
            cells,
            ("method", *self.columns, "figures", "on"),
            tablefmt=style,
            disable_numparse=True,
            colalign=("left", *["right"] * len(self.columns), "left", "left"),
        )


class Tables(NamedTuple):
    """The paper's four."""

    of_300w: Table
    of_wflw: Table
    by_attribute: Table
    of_cost: Table


def published() -> Tables:
    """The four tables with the paper's rows only."""
    return Tables(*map(_table, tomllib.loads(PUBLISHED.read_text())["tables"]))


def _table(printed: dict[str, Any]) -> Table:
    columns = printed["columns"]
    rows = tuple(
        Row(
            method,
            {column: figure for column, figure in zip(columns, figures, strict=True) if figure},
            "printed",
            printed["on"],
        )
        for method, *figures in printed["rows"]
    )
    return Table(printed["title"], tuple(columns), rows, printed.get("note", ""))
