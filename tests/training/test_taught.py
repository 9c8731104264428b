"""What a teaching run leaves can be gone on from after any end, and trained on."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lwbafa.markups import MARKUP_68
from tests.training.drawn_faces import mean_face
from training.datasets import landmark_count_of, read_annotations
from training.errors import RunError
from training.pictures import write_picture
from training.taught import DISAGREE, KEPT, LEAK, Records

SETTINGS = {"photographs": "photographs", "most_disagreement": 6.0}
POINTS = (mean_face(68) * 90).astype(float)


def kept(number: int, disagreement: float = 0.01) -> dict[str, Any]:
    return {
        "verdict": KEPT,
        "disagreement": disagreement,
        "picture": f"taught/{number:016}_0.webp",
        "points": (POINTS + number).round(2).tolist(),
    }


def begun(out: Path) -> Records:
    records = Records(out, SETTINGS)
    records.begin()
    return records


def write_pictures(out: Path, count: int) -> None:
    for number in range(count):
        path = out / "WFLW_images" / "taught" / f"{number:016}_0.webp"
        write_picture(path, np.full((96, 96, 3), 40, np.uint8))


@pytest.mark.parametrize("cut", [1, 30, 200])
def test_a_line_that_a_kill_cut_short_is_made_again(cut: int, tmp_path: Path) -> None:
    records = begun(tmp_path)
    records.add("a.jpg", {"faces": [kept(0)]})
    records.add("b.jpg", {"error": "broken"})
    records.add("c.jpg", {"faces": [kept(1)]})
    lines = tmp_path / "faces.jsonl"
    whole = lines.read_bytes()
    lines.write_bytes(whole[:-cut])

    again = begun(tmp_path)
    assert again.done == {"a.jpg", "b.jpg"}
    assert again.counts() == {KEPT: 1, "unreadable": 1}
    again.add("c.jpg", {"faces": [kept(1)]})
    assert lines.read_bytes() == whole
    assert Records(tmp_path, SETTINGS).done == {"a.jpg", "b.jpg", "c.jpg"}


def test_opening_what_is_there_changes_nothing(tmp_path: Path) -> None:
    records = begun(tmp_path)
    records.add("a.jpg", {"faces": []})
    with (tmp_path / "faces.jsonl").open("a") as file:
        file.write('{"photograph": "b')
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    Records(tmp_path, SETTINGS)
    assert {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


def test_labels_of_other_settings_are_refused_and_left_alone(tmp_path: Path) -> None:
    begun(tmp_path).add("a.jpg", {"faces": [kept(0)]})
    before = (tmp_path / "faces.jsonl").read_bytes()
    with pytest.raises(RunError, match=r"made with other settings: see .*settings\.json"):
        Records(tmp_path, SETTINGS | {"most_disagreement": 5.0})
    assert (tmp_path / "faces.jsonl").read_bytes() == before
    assert Records(tmp_path, SETTINGS).done == {"a.jpg"}


def test_settings_of_a_run_that_began_nothing_do_not_bind(tmp_path: Path) -> None:
    Records(tmp_path / "out", SETTINGS | {"true_sources": ["a typing error"]})
    begun(tmp_path / "out").add("a.jpg", {"faces": []})
    assert Records(tmp_path / "out", SETTINGS).done == {"a.jpg"}


def test_every_photograph_and_every_face_is_counted_once(tmp_path: Path) -> None:
    records = begun(tmp_path)
    faces = [kept(0), {"verdict": DISAGREE, "disagreement": 0.2}]
    records.add("a.jpg", {"faces": [*faces, {"verdict": LEAK, "disagreement": 0.0, "near": "x"}]})
    records.add("b.jpg", {"faces": [kept(1)]})
    records.add("c.jpg", {"faces": []})
    records.add("d.jpg", {"error": "broken"})
    counts = {KEPT: 2, DISAGREE: 1, LEAK: 1, "no face": 1, "unreadable": 1}
    assert records.counts() == Records(tmp_path, SETTINGS).counts() == counts
    assert records.summary().startswith("4 photographs: 2 kept, ")


def test_the_list_is_read_as_a_source(tmp_path: Path) -> None:
    records = begun(tmp_path / "taught")
    write_pictures(tmp_path / "taught", 2)
    records.add("a.jpg", {"faces": [kept(0), {"verdict": DISAGREE, "disagreement": 0.2}]})
    records.add("b.jpg", {"faces": [kept(1)]})
    records.write_list(MARKUP_68)
    source = "taught/list_68pt_taught.txt"
    assert landmark_count_of(tmp_path, source) == 68
    faces = read_annotations(tmp_path, source, 68)
    assert [face.photograph for face in faces] == [f"{0:016}", f"{1:016}"]
    for number, face in enumerate(faces):
        assert np.abs(face.landmarks - (POINTS + number)).max() < 0.006
        assert face.attributes == frozenset()
        assert face.read().image.shape == (96, 96, 3)


@pytest.mark.parametrize("count", [0, 1, 40])
def test_the_sheet_shows_the_most_doubtful_and_some_others(count: int, tmp_path: Path) -> None:
    records = begun(tmp_path)
    write_pictures(tmp_path, count)
    for number in range(count):
        records.add(f"{number}.jpg", {"faces": [kept(number, number / 1000)]})
    records.draw(MARKUP_68)
    assert (tmp_path / "sheet.jpg").exists() == (count > 0)
