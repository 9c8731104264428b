import json
import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.rivals import SETS
from lwbafa.checkpoint import Checkpoint
from proof.harness.checkpoints import FULL
from tests.training.test_evaluate import measured
from training.__main__ import main
from training.errors import DatasetError
from training.evaluate import BoxResult
from training.paper.rivals import HELEN, WFLW, read_rivals
from training.paper.table import NOT_GIVEN, Row, Table, published
from training.paper.tables import as_markdown, with_accuracy

BENCHES = {
    "machine": {"cores_granted": 2, "gpu": "none"},
    "benches": {
        "rivals": {
            "note": "Of speed.",
            "rows": [{"library": "dlib 20", "landmarks alone": {"median": 1234.56}}],
        },
        "accuracy": {
            "note": "Of accuracy.",
            "rows": [
                {"faces": "Helen test, 330", "library": "dlib 20", "missed": "4", "NME %": 2.7416},
                {"faces": "Helen test, 330", "library": "other", "missed": "0", "NME %": 3.3},
                {"faces": "WFLW held back, 87", "library": "other", "missed": "0", "NME %": 4.1},
            ],
        },
    },
}


@pytest.fixture
def benches(tmp_path: Path) -> Path:
    path = tmp_path / "benches.json"
    path.write_text(json.dumps(BENCHES))
    return path


def printed(table: Table, method: str) -> list[str]:
    (row,) = [row for row in table.rows if row.method == method]
    return [row.figures.get(column, NOT_GIVEN) for column in table.columns]


def ours(table: Table) -> list[Row]:
    return [row for row in table.rows if row.source == "measured"]


def test_every_row_of_the_paper_is_there_as_printed() -> None:
    tables = published()
    assert [len(table.rows) for table in tables] == [10, 10, 9, 7]
    for table in tables:
        assert {row.source for row in table.rows} == {"printed"}
        assert len({row.method for row in table.rows}) == len(table.rows)
        for row in table.rows:
            assert all(float(figure) > 0 for figure in row.figures.values())
    assert printed(tables.of_300w, "ACHR") == ["2.83", "7.04", "4.23"]
    assert printed(tables.of_wflw, "LW-BAFA") == ["4.31", "2.68", "0.5817"]
    assert printed(tables.of_wflw, "PIPNet") == ["4.31", "–", "–"]
    assert printed(tables.by_attribute, "LUVLi") == [*["–"] * 5, "4.79"]
    assert printed(tables.of_cost, "MMDN") == ["16.2", "86.46", "15.7"]


def test_no_figure_is_out_of_line_but_for_what_the_paper_misprints() -> None:
    """A typing error among the figures would stand out."""
    tables = published()
    off = []
    for row in tables.of_300w.rows:
        common, challenging, full = (float(row.figures[c]) for c in tables.of_300w.columns)
        if abs((554 * common + 135 * challenging) / 689 - full) > 0.1:
            off.append(row.method)
    assert off == ["ACHR"]
    off = [
        row.method
        for row in tables.by_attribute.rows
        if not all(3.5 < float(figure) < 11 for figure in row.figures.values())
    ]
    assert off == ["LAB"]
    assert "misprint" in tables.by_attribute.note


def test_a_row_says_where_its_figures_are_from() -> None:
    rows = (Row("one", {"a": "1.50"}, "printed", "x"), Row("two", {"b": "0.00"}, "measured", "y z"))
    lines = Table("title", ("a", "b"), rows).text("simple").splitlines()
    assert [line.split() for line in lines if "---" not in line] == [
        ["method", "a", "b", "figures", "on"],
        ["one", "1.50", "–", "printed", "x"],
        ["two", "–", "0.00", "measured", "y", "z"],
    ]


def test_68_points_stand_in_table_1_only_and_only_as_part_of_the_common_set() -> None:
    results = [
        BoxResult("landmarks", [measured(0.02), measured(0.04)], 0),
        BoxResult("detector", [measured(0.05)], 1),
    ]
    tables = with_accuracy(published(), "mine 1.0.0", "300w-68", results)
    assert ours(tables.of_300w) == [
        Row("mine 1.0.0", {"common": "3.00"}, "measured", "2 Helen test faces, landmarks box"),
        Row(
            "mine 1.0.0",
            {"common": "5.00"},
            "measured",
            "1 Helen test faces, 1 not found, detector box",
        ),
    ]
    assert not ours(tables.of_wflw) + ours(tables.by_attribute)


def test_98_points_stand_in_tables_2_and_3_with_the_attributes_that_exist() -> None:
    faces = [measured(0.02), measured(0.14, "pose")]
    results = [BoxResult("landmarks", faces, 0)]
    tables = with_accuracy(published(), "mine", "wflw-98", results)
    assert not ours(tables.of_300w)
    (whole,), (attributes,) = ours(tables.of_wflw), ours(tables.by_attribute)
    assert whole.figures == {"NME %": "8.00", "FR %": "50.00", "AUC": "0.4000"}
    assert attributes.figures == {"pose": "14.00"}
    assert "test" not in whole.on + attributes.on
    plain = with_accuracy(published(), "mine", "wflw-98", [BoxResult("landmarks", faces[:1], 0)])
    assert not ours(plain.by_attribute)


def test_rivals_stand_beside_on_the_faces_that_they_found(benches: Path) -> None:
    rivals = read_rivals(benches)
    assert [(row.figures, row.on) for row in rivals.of_300w] == [
        ({"common": "2.74"}, "Helen test, 330 faces, 4 not found, own detector's box"),
        ({"common": "3.30"}, "Helen test, 330 faces, own detector's box"),
    ]
    (of_wflw,) = rivals.of_wflw
    assert of_wflw.figures == {"NME %": "4.10"}
    assert "68 of the 98 points" in of_wflw.on
    assert [row.figures for row in rivals.of_cost] == [{"FPS": "1234.6"}]
    assert rivals.notes == ["Of accuracy.", "Of speed."]
    assert list(SETS) == [HELEN, WFLW]


@pytest.mark.parametrize("text", ["no JSON", "[]", '{"benches": {"idle": {}}, "machine": {}}'])
def test_a_file_of_no_rivals_is_refused_by_its_name(text: str, tmp_path: Path) -> None:
    (tmp_path / "any.json").write_text(text)
    with pytest.raises(DatasetError, match=r"any\.json"):
        read_rivals(tmp_path / "any.json")


def test_markdown_has_every_table_and_the_notes() -> None:
    page = as_markdown(published(), ["Of accuracy."])
    assert re.findall(r"^## (Table \d)", page, re.MULTILINE) == [f"Table {n}" for n in range(1, 5)]
    assert len(re.findall(r"^\| .* \| printed +\|", page, re.MULTILINE)) == 36
    assert "LAB's 62.3 is a misprint" in page
    assert page.endswith("Of accuracy.\n")


@pytest.fixture(scope="module")
def root(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder whose Helen test faces are one, in the public domain."""
    root = tmp_path_factory.mktemp("root")
    shutil.copytree(data / "set", root / "300w" / "helen" / "testset")
    return root


def test_one_command_measures_and_writes_all_four(
    root: Path, benches: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.paper.cost.FPS_ROUNDS", 1)
    manifest = Checkpoint.load(FULL).manifest
    shipped = f"{manifest.name} {manifest.version}"
    page = tmp_path / "tables.md"
    what = ["--checkpoint", str(FULL), "--data", str(root), "--rivals", str(benches)]
    ended = CliRunner().invoke(main, ["tables", *what, "--markdown", str(page)])
    assert ended.exit_code == 0, ended.output
    lines = [re.split(r"\s*\|\s*", line.strip("| ")) for line in page.read_text().splitlines()]
    rows = {cells[0]: cells[1:] for cells in lines}
    for method in ("AnchorFace", "HIH_C", "SLPT", shipped, "lwbafa, ours", "dlib 20"):
        assert method in ended.output
        assert method in rows
    assert rows[shipped][1:3] == [NOT_GIVEN, NOT_GIVEN]
    for method, name in (("BAFA", "bafa, ours"), ("LW-BAFA", "lwbafa, ours")):
        parameters, macs, _ = map(float, printed(published().of_cost, method))
        assert float(rows[name][0]) == pytest.approx(parameters, rel=0.01)
        assert float(rows[name][1]) == pytest.approx(macs, rel=0.01)
        assert float(rows[name][2]) > 0


def test_a_wrong_file_of_rivals_ends_the_command_with_one_line_before_anything_is_measured(
    root: Path, tmp_path: Path
) -> None:
    (tmp_path / "any.md").write_text("# no JSON")
    what = ["--checkpoint", str(FULL), "--data", str(root), "--rivals", str(tmp_path / "any.md")]
    ended = CliRunner().invoke(main, ["tables", *what])
    assert ended.exit_code == 1
    assert re.fullmatch(r"Error: .*any\.md: not a file of the benches.*\n", ended.output)
