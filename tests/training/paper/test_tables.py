import re

import numpy as np
import pytest

from tests.training.test_evaluate import measured
from training.evaluate import BoxResult
from training.paper.tables import TABLE_4, accuracy_tables, cost_table, table


def test_what_a_row_does_not_hold_is_a_dash() -> None:
    lines = table("title", ("a", "b"), {"one": {"a": 1.5}, "two": {"b": 0.0}}).splitlines()
    assert [line.split() for line in lines if "---" not in line] == [
        ["title"],
        ["a", "b"],
        ["one", "1.50", "–"],
        ["two", "–", "0.00"],
    ]


def test_68_points_stand_in_table_1_only() -> None:
    result = BoxResult("landmarks", [measured(0.02), measured(0.04)], 0)
    first, second, third = accuracy_tables(result, "300w-68").split("\n\n")
    assert first.splitlines()[-1].split() == [
        "ours,",
        "Helen's",
        "2",
        "test",
        "faces",
        "3.00",
        "–",
        "–",
    ]
    assert "ours" not in second + third


def test_98_points_stand_in_tables_2_and_3_with_the_flags_that_exist() -> None:
    faces = [measured(0.02), measured(0.14, "pose")]
    first, second, third = accuracy_tables(BoxResult("landmarks", faces, 0), "wflw-98").split(
        "\n\n"
    )
    assert "ours" not in first
    assert second.splitlines()[-1].split()[-3:] == ["8.00", "50.00", "40.00"]
    assert third.splitlines()[-1].split()[-7:] == ["8.00", "14.00", *["–"] * 5]


def test_the_cost_of_ours_is_measured_beside_the_papers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.paper.tables.FPS_ROUNDS", 1)
    cells = [re.split(r"\s{2,}", line.strip()) for line in cost_table().splitlines()]
    rows = {name: values for name, *values in cells}
    for name in ("BAFA", "LW-BAFA"):
        parameters, macs, fps = map(float, rows[f"ours, {name}"])
        assert parameters == pytest.approx(float(TABLE_4[name]["parameters, M"]), rel=0.01)
        assert macs == pytest.approx(float(TABLE_4[name]["GMACs"]), rel=0.01)
        assert fps > 0
    assert np.float64(rows["PIPNet"][2]) == 51.2
