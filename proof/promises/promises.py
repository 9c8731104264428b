"""What was promised, what was measured, and whether it was kept: as a table and as JSON."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from tabulate import DataRow, Line, TableFormat, tabulate

from proof.harness.machine import machine

HEADERS = ("family", "promise", "target", "measured", "verdict")
MARKDOWN = TableFormat(
    lineabove=None,
    linebelowheader=Line("| ", "-", " | ", " |"),
    linebetweenrows=None,
    linebelow=None,
    headerrow=DataRow("| ", " | ", " |"),
    datarow=DataRow("| ", " | ", " |"),
    padding=0,
    with_header_hide=None,
)
"""tabulate's own format for GitHub, its dashes kept off the bars."""

TABLE_BEGIN, TABLE_END = "<!-- chaos -->", "<!-- /chaos -->"


@dataclass(frozen=True)
class Plan:
    """How a run is to go: `short` is for tests, on machines too busy to judge times."""

    short: bool = False
    seed: int = 0
    first_upload: int = 0
    soak_minutes: float = 30.0

    def pick(self, full: float, short: float) -> int:
        """One of two counts."""
        return int(short if self.short else full)


@dataclass(frozen=True)
class Promise:
    """One row. `kept` is None where it was not run; `timed` rows are not judged in a short run."""

    name: str
    target: str
    measured: str
    kept: bool | None
    timed: bool = False
    evidence: dict[str, Any] = field(default_factory=dict)

    def verdict(self, plan: Plan) -> str:
        """One word: kept, MISSED, or why it was not judged."""
        if self.kept is None:
            return "skipped" if plan.short else "MISSED"
        if plan.short and self.timed:
            return "not judged"
        return "kept" if self.kept else "MISSED"


def at_most(
    name: str, value: float, limit: float, unit: str = "", *, timed: bool = False, **evidence: Any
) -> Promise:
    """A promise that a value does not exceed a limit."""
    target, measured = f"≤ {_with_unit(limit, unit)}", _with_unit(value, unit)
    return Promise(
        name, target if limit else "0", measured, value <= limit, timed=timed, evidence=evidence
    )


def at_least(
    name: str, value: float, limit: float, unit: str = "", *, timed: bool = False, **evidence: Any
) -> Promise:
    """A promise that a value reaches a limit."""
    target, measured = f"≥ {_with_unit(limit, unit)}", _with_unit(value, unit)
    return Promise(name, target, measured, value >= limit, timed=timed, evidence=evidence)


def exactly(name: str, value: object, wanted: object, **evidence: Any) -> Promise:
    """A promise of one outcome."""
    return Promise(name, str(wanted), str(value), value == wanted, evidence=evidence)


@dataclass
class Family:
    """A finished family of promises."""

    name: str
    seconds: float
    promises: list[Promise]


def missed(families: Sequence[Family], plan: Plan) -> list[str]:
    """The names of what was not kept."""
    return [
        f"{family.name}: {promise.name}"
        for family in families
        for promise in family.promises
        if promise.verdict(plan) == "MISSED"
    ]


def as_markdown(families: Sequence[Family], plan: Plan) -> str:
    """The table, aligned so that it reads as well in a terminal."""
    rows = [
        (
            "" if index else family.name,
            promise.name,
            promise.target,
            promise.measured,
            promise.verdict(plan),
        )
        for family in families
        for index, promise in enumerate(family.promises)
    ]
    return tabulate(rows, headers=HEADERS, tablefmt=MARKDOWN, disable_numparse=True)


def not_measured(error: Exception) -> list[Promise]:
    """What stands for a family that could not go on."""
    return [Promise("to be measured", "", f"{type(error).__name__}: {error}", False)]


def conclude(families: Sequence[Family], plan: Plan, path: Path) -> NoReturn:
    """Say how much was missed and where all is, and end the process: non-zero if anything was."""
    broken = missed(families, plan)
    print(f"{len(broken)} missed; everything measured is in {path}")
    sys.exit(bool(broken))


def write_json(path: Path, families: Sequence[Family], plan: Plan, before: dict[str, Any]) -> None:
    """Everything measured; `before` is the machine as it was when the run began."""
    result = {
        "machine": before,
        "load_average_at_the_end": machine()["load_average_1_min"],
        "plan": asdict(plan),
        "families": [
            {
                "name": family.name,
                "seconds": round(family.seconds, 1),
                "promises": [
                    {**asdict(promise), "verdict": promise.verdict(plan)}
                    for promise in family.promises
                ],
            }
            for family in families
        ],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")


def write_table(path: Path, table: str) -> None:
    """Put the table between a document's two markers."""
    before, rest = path.read_text().split(TABLE_BEGIN)
    _, after = rest.split(TABLE_END)
    path.write_text(f"{before}{TABLE_BEGIN}\n{table}\n{TABLE_END}{after}")


def _with_unit(value: float, unit: str) -> str:
    number = f"{value:.0f}" if value == round(value) or abs(value) >= 100 else f"{value:.3g}"
    return f"{number} {unit}".strip()
