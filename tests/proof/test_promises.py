"""A short version of `make chaos`: what holds however busy the machine is; times are not judged."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
import uvloop
from click.testing import CliRunner

from proof.harness.open_loop import Sample, poisson
from proof.harness.wire import Answer
from proof.promises.__main__ import FAMILIES, main
from proof.promises.fuzz_requests import upload
from proof.promises.overload import Phase
from proof.promises.promises import (
    Family,
    Plan,
    Promise,
    as_markdown,
    at_least,
    at_most,
    exactly,
    missed,
    write_table,
)

SHORT = Plan(short=True)


@pytest.mark.parametrize("name", FAMILIES)
def test_promises_are_kept_in(name: str) -> None:
    promises = uvloop.run(FAMILIES[name](SHORT))
    family = Family(name, 0.0, promises)
    assert not missed([family], SHORT), f"\n{as_markdown([family], SHORT)}\n{promises}"
    if all(promise.kept is None for promise in promises):
        pytest.skip(promises[0].measured)


def test_an_upload_can_be_sent_again_by_its_number() -> None:
    kinds = set()
    for number in range(300):
        first = upload(7, number)
        assert first == upload(7, number)
        kinds.add(first.kind)
    assert len(kinds) >= 9
    assert upload(7, 1) != upload(8, 1)


def test_arrivals_are_as_many_as_asked_for_and_bunched() -> None:
    due = poisson(50, 20, 1)
    assert len(due) == 1000
    assert due == sorted(due)
    gaps = [after - before for before, after in pairwise(due)]
    assert sum(gap < 0.01 for gap in gaps) > 300  # 39 % of a Poisson process, none of a clock's


def goodput(*batches_s: float) -> float:
    """Of ten seconds' load with eight answers at each of these moments."""
    answer = Answer(200, {}, b"")
    samples = [
        Sample(0.0, 0.0, moment + 0.001 * i, answer) for moment in batches_s for i in range(8)
    ]
    return Phase(10.0, samples, 0.0).goodput


def test_goodput_counts_batches_and_silence() -> None:
    every_half = [0.5 * number for number in range(1, 24)]
    assert goodput(*every_half) == pytest.approx(16)
    assert goodput(*[moment + 0.3 for moment in every_half]) == pytest.approx(16)
    assert goodput(*every_half[:10]) == pytest.approx(16 * 9 / 19)  # it stops halfway
    assert goodput(*every_half[10:]) == pytest.approx(16 / 2, rel=0.15)  # it begins halfway
    assert goodput() == 0


KEPT, BROKEN = at_most("growth", 63.9, 64, "MiB"), at_most("growth", 64.1, 64, "MiB")
LATE = at_most("p99", 26, 25, "ms", timed=True)
NOT_RUN = Promise("restarts", "0", "not run: no nginx", None)


def test_verdicts() -> None:
    full = Plan()
    assert KEPT.verdict(full) == "kept"
    assert BROKEN.verdict(full) == BROKEN.verdict(SHORT) == "MISSED"
    assert (LATE.verdict(full), LATE.verdict(SHORT)) == ("MISSED", "not judged")
    assert (NOT_RUN.verdict(full), NOT_RUN.verdict(SHORT)) == ("MISSED", "skipped")
    assert at_least("refusals", 1, 1).kept
    assert not at_least("refusals", 0, 1).kept
    assert not exactly("last against first", "different", "bit-equal").kept
    family = Family("fuzz", 1.0, [KEPT, BROKEN, LATE, NOT_RUN])
    assert missed([family], full) == ["fuzz: growth", "fuzz: p99", "fuzz: restarts"]
    assert missed([family], SHORT) == ["fuzz: growth"]


def test_the_document_gets_the_last_table(tmp_path: Path) -> None:
    document = tmp_path / "promises.md"
    document.write_text("before\n<!-- chaos -->\nan older table\n<!-- /chaos -->\nafter\n")
    write_table(document, as_markdown([Family("fuzz", 1.0, [KEPT])], Plan()))
    text = document.read_text()
    assert text.startswith("before\n<!-- chaos -->\n| family ")
    assert text.endswith("|\n<!-- /chaos -->\nafter\n")
    assert "older" not in text


def test_a_family_that_cannot_go_on_is_missed_and_the_next_is_measured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def broken(plan: Plan) -> list[Promise]:
        raise ConnectionRefusedError("the service is gone")

    async def whole(plan: Plan) -> list[Promise]:
        return [exactly("something", 1, 1)]

    monkeypatch.setitem(FAMILIES, "fuzz", broken)
    monkeypatch.setitem(FAMILIES, "faults", whole)
    out = tmp_path / "chaos.json"
    ran = CliRunner().invoke(main, ["--only", "fuzz", "--only", "faults", "--json", str(out)])
    assert ran.exit_code == 1, ran.output
    fuzz, faults = json.loads(out.read_text())["families"]
    assert fuzz["promises"][0]["verdict"] == "MISSED"
    assert fuzz["promises"][0]["measured"] == "ConnectionRefusedError: the service is gone"
    assert faults["promises"][0]["verdict"] == "kept"
