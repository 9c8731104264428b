from pathlib import Path
from typing import Any

import click.testing
import cv2
import pytest

from bench import frontier

RESULT: dict[str, Any] = {
    "machine": {"cores_granted": 2, "cpu": "any"},
    "benches": {
        "rivals": {
            "rows": [
                {"library": "ours, int8", "with its detector": {"median": 100.0}},
                {"library": "MediaPipe 0.10.21, mapped", "with its detector": {"median": 178.0}},
            ]
        },
        "accuracy": {
            "rows": [
                {"library": "ours, int8", "faces": "Helen test, 9", "NME %, found by all": 3.2},
                {
                    "library": "MediaPipe 0.10.21, nearest",
                    "faces": "WFLW held back, 8",
                    "NME %, found by all": 6.0,
                },
                {"library": "unmeasured", "faces": "Helen test, 9", "NME %, found by all": 1.0},
            ]
        },
    },
}


def test_each_library_has_its_speed_and_its_errors() -> None:
    assert frontier.points(RESULT) == [
        ("ours, int8", "Helen test", 100.0, 3.2),
        ("MediaPipe 0.10.21, nearest", "WFLW held back", 178.0, 6.0),
    ]


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    frontier.draw(frontier.points(RESULT), "any", tmp_path / "a.png")
    image = cv2.imread(str(tmp_path / "a.png"))
    assert image is not None
    assert image.std() > 10


def test_a_file_without_the_benches_is_told(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text('{"benches": {}}')
    result = click.testing.CliRunner().invoke(
        frontier.main, ["--results", str(path), "--out", str(tmp_path / "a.png")]
    )
    assert result.exit_code == 1
    assert "holds no bench 'rivals'" in result.output


@pytest.mark.parametrize("name", frontier.SETS)
def test_the_sets_are_those_of_the_accuracy_bench(name: str) -> None:
    from bench.rivals import SETS

    assert name in SETS
