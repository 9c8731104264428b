"""The notebook runs from the first cell to the last, and what it shows is what the code answers."""

import json
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest

from proof.harness import ROOT

NOTEBOOK = ROOT / "docs" / "notebook.ipynb"
MOST_BYTES = 150_000


def code_cells() -> list[dict[str, Any]]:
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


def test_its_cells_run_in_order_and_print_what_is_committed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mpl.use("agg")
    from matplotlib import pyplot as plt

    monkeypatch.chdir(NOTEBOOK.parent)
    monkeypatch.setattr(plt, "show", plt.close)
    names: dict[str, Any] = {}
    for cell in code_cells():
        printed = StringIO()
        with redirect_stdout(printed):
            exec(compile("".join(cell["source"]), NOTEBOOK.name, "exec"), names)  # noqa: S102
        shown = "".join("".join(output.get("text", "")) for output in cell["outputs"])
        # Figures are this machine's; the words around them are not.
        assert words(printed.getvalue()) == words(shown)


def words(text: str) -> list[str]:
    return [word for word in text.split() if word.isidentifier()]


def test_it_is_small_shows_pictures_and_tells_nothing_of_a_machine() -> None:
    assert NOTEBOOK.stat().st_size < MOST_BYTES
    outputs = [output for cell in code_cells() for output in cell["outputs"]]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 2
    assert {output.get("name", "stdout") for output in outputs} == {"stdout"}
    assert str(Path.home()) not in NOTEBOOK.read_text()
