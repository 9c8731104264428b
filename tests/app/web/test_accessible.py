"""The page for people who use a keyboard, a screen reader, high contrast or less motion."""

import gzip
from pathlib import Path
from typing import Any

import pytest

from app.web import FOLDER
from tests.app.web.browser import Tab

AXE = gzip.decompress((Path(__file__).parent / "axe" / "axe.min.js.gz").read_bytes()).decode()
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
FOCUSED = """
(() => {
  const { id, name, tagName, className } = document.activeElement;
  return id || name || className || tagName.toLowerCase();
})()"""
OUTLINED = """
(() => {
  const focused = document.activeElement;
  return getComputedStyle(focused.closest('.file') ?? focused).outlineStyle;
})()"""
SMALL = """
[...document.querySelectorAll('button, select, summary, input, a')].filter((control) => {
  const { width, height } = (control.closest('label') ?? control).getBoundingClientRect();
  return width && (width < 24 || height < 24);
}).map((control) => control.outerHTML)"""
POINTS = "document.querySelectorAll('.point').length === 68"


def violations(tab: Tab) -> list[Any]:
    """What axe finds, and where."""
    tab.run(AXE)
    found = tab.run(
        f"axe.run({{runOnly: {RULES}}}).then(({{violations}}) => violations.map("
        "({id, nodes}) => [id, nodes.map((node) => node.html.slice(0, 200))]))"
    )
    assert isinstance(found, list)
    return found


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1280])
def test_axe_finds_nothing(tab: Tab, scheme: str, width: int, tmp_path: Path) -> None:
    tab.prefer(scheme)
    tab.resize(width, 900)
    assert violations(tab) == []
    tab.run("sample.click()")
    tab.wait(POINTS)
    tab.run("document.querySelectorAll('details').forEach((part) => (part.open = true))")
    tab.wait("faces.querySelector('tbody tr') !== null")
    assert violations(tab) == []
    (tmp_path / "letter.txt").write_text("Dear service")
    tab.choose("#file", tmp_path / "letter.txt")
    tab.wait("!problem.hidden")
    assert violations(tab) == []


def test_axe_would_find_something(tab: Tab) -> None:
    tab.run("document.body.insertAdjacentHTML('beforeend', '<main><button></button></main>')")
    assert {rule for rule, _ in violations(tab)} >= {"button-name", "landmark-no-duplicate-main"}


def tabbed(tab: Tab, stop: str) -> list[str]:
    """What Tab reaches, until `stop`; the focus is seen at each."""
    reached: list[str] = []
    while stop not in reached:
        tab.press("Tab")
        reached.append(tab.run(FOCUSED))
        assert tab.run(OUTLINED) not in ("none", ""), reached[-1]
        assert len(reached) < 40, reached
    return reached


def test_all_of_it_is_reached_and_worked_by_keyboard(tab: Tab) -> None:
    tab.ask("Page.bringToFront")
    assert tabbed(tab, "sample") == ["file", "sample"]
    tab.press("Enter")
    tab.wait(POINTS)
    reached = tabbed(tab, "numbers")
    assert reached == ["camera", "summary", "stage", "points", "numbers"]
    tab.press(" ")
    assert tab.run("document.querySelectorAll('.number').length") == 68
    assert tabbed(tab, "zoom") == ["boundaries", "heatmap", "boxes", "zoom"]
    tab.press("ArrowRight")
    assert tab.run("zoomed.value") == "1.5×"
    assert tabbed(tab, "summary") == ["summary"]
    tab.press("Enter")
    assert tab.wait("faces.querySelectorAll('tbody tr').length") == 68
    rest = ["scroll", "copy-json", "save-svg", "save-csv", "curl", "copy-curl"]
    assert tabbed(tab, "copy-curl") == rest


def test_answers_and_problems_are_announced(tab: Tab, tmp_path: Path) -> None:
    assert tab.run("document.getElementById('status').role") == "status"
    assert tab.run("problem.role") == "alert"
    tab.run("sample.click()")
    tab.wait(POINTS)
    assert tab.wait("document.querySelector('[role=status]').textContent").startswith("1 face, in ")
    label = tab.run("document.querySelector('#overlay svg').getAttribute('aria-label')")
    assert label == "68 points on 1 face"


def test_targets_are_large_enough_for_a_finger(tab: Tab) -> None:
    tab.run("sample.click()")
    tab.wait(POINTS)
    assert tab.run(SMALL) == []


def test_nothing_moves_by_itself() -> None:
    style = (FOLDER / "page.css").read_text()
    for word in ("animation:", "transition:", "@keyframes", "scroll-behavior"):
        assert word not in style
