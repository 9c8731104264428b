"""`lwbafa align` and `lwbafa models` as they are called."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from app.cli import main
from app.keys import new_key
from lwbafa import Client, FaceAligner
from lwbafa.errors import NoAnswer, ServiceError
from lwbafa.types import Pixels
from proof.harness import ROOT
from proof.harness.checkpoints import LITE
from tests.conftest import encode, running_server


def lwbafa(*arguments: object) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments)])


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def folder(tmp_path: Path, astronaut: Pixels) -> Path:
    folder = tmp_path / "in"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "face.jpg").write_bytes(encode(astronaut, ".jpg"))
    (folder / "face.png").write_bytes(encode(astronaut[60:200, 150:300], ".png"))
    return folder


def test_a_folder_becomes_rows_that_say_what_the_library_says(folder: Path) -> None:
    out = folder.parent / "out.jsonl"
    ended = lwbafa("align", folder, "--out", out, "--model", LITE, "--draw", folder / "drawn")
    assert ended.exit_code == 0, ended.stderr
    first, second = rows(out)
    assert first["file"] == (folder / "deep" / "face.jpg").as_posix()
    assert (first["width"], first["height"], second["width"]) == (512, 512, 150)
    (face,) = FaceAligner.load(LITE).align(folder / "deep" / "face.jpg")
    assert first["faces"][0]["landmarks"][30]["x"] == pytest.approx(face.landmarks[30, 0], abs=0.5)
    assert len(second["faces"]) == 1
    assert (folder / "drawn" / "deep" / "face.png").stat().st_size > 100_000
    assert not out.with_name("out.jsonl.part").exists()


def test_a_file_that_fails_is_named_and_the_status_is_1(folder: Path) -> None:
    (folder / "bad.jpg").write_text("no picture")
    (folder / "telephone.HEIC").touch()
    out = folder.parent / "points"
    ended = lwbafa("align", folder, "--out", out, "--model", LITE)
    assert ended.exit_code == 1
    assert "bad.jpg: unsupported_media_type: The bytes are not a" in ended.stderr
    assert f"\n3 pictures, 2 faces, 1 failed: {out}\nleft out: 1 .heic; convert" in ended.stderr
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*.*")) == [
        "deep/face.pts",
        "face.pts",
    ]


def test_a_video_that_breaks_off_says_how_much_of_it_was_read(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole.avi", tmp_path / "cut.avi"
    writer = cv2.VideoWriter(str(whole), cv2.VideoWriter.fourcc(*"MJPG"), 7.13, (160, 120))
    for grey in range(20):
        writer.write(np.full((120, 160, 3), 5 * grey, np.uint8))
    writer.release()
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    out = tmp_path / "out.jsonl"
    ended = lwbafa("align", whole, cut, "--out", out, "--model", LITE)
    assert ended.exit_code == 0, ended.stderr
    read = sum(Path(row["file"]) == cut for row in rows(out))
    assert 0 < read < 20
    assert f"{cut}: only {read} of its 20 frames could be read" in ended.stderr
    assert f"{whole}:" not in ended.stderr


def test_a_run_that_is_killed_goes_on(folder: Path, astronaut: Pixels) -> None:
    for i in range(6):
        (folder / f"{i}.jpg").write_bytes(encode(astronaut, ".jpg"))
    out = folder.parent / "out.jsonl"
    part = out.with_name("out.jsonl.part")
    command = [
        *(sys.executable, "-m", "app.cli"),
        "align",
        str(folder),
        "--out",
        str(out),
        "--model",
        str(LITE),
        "--workers",
        "2",
    ]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL) as process:
        while not (part.exists() and part.read_bytes().count(b"\n") > 2):
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert not out.exists()
    done = part.read_bytes().count(b"\n") - 1
    assert 0 < done < 8
    other = lwbafa("align", folder, "--out", out, "--model", LITE, "--max-faces", 1)
    assert other.exit_code == 2
    assert "begun with other settings" in other.stderr
    assert lwbafa(*command[3:]).exit_code == 0
    assert len({row["file"] for row in rows(out)}) == len(rows(out)) == 8


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["absent"], "--out names the file"),
        (["absent", "--out", "x.jsonl"], "no match of absent"),
        ([".", "--out", "x.xml"], "no format is known by .xml"),
        (["docs", "--out", "x.csv", "--model", "other"], "there is no checkpoint other"),
        (["docs", "--out", "x.parquet"], "pip install 'lwbafa[parquet]'"),
        (["docs", "--out", "x.csv", "--url", "localhost"], "begins with http"),
        (["docs", "--out", "x.csv", "--url", "http://127.0.0.1:1"], "no answer from the service"),
        (["docs", "--out", "x.csv", "--url", "http://h:port"], "is no address"),
        (["docs", "--out", "x.csv", "--key", "k"], "--key is for a service"),
        (["docs", "--out", "docs", "--format", "csv"], "--out is a file for csv"),
        (
            ["docs/astronaut.png", "--out", "docs/astronaut.png", "--format", "csv"],
            "--out would replace it",
        ),
        (["docs", "--out", "README.md", "--format", "pts"], "--out is a folder for pts"),
        (["docs", "--out", "x.csv", "--detector", "other"], "there is no detector other"),
    ],
)
def test_a_wrong_call_is_a_2_with_one_line(
    arguments: list[str], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "lwbafa.bulk.parquet", raising=False)
    monkeypatch.chdir(ROOT)
    ended = lwbafa("align", *arguments)
    assert ended.exit_code == 2
    assert says in ended.stderr
    assert not Path("x.csv.part").exists()


def test_a_service_aligns_as_the_library_does(folder: Path) -> None:
    (folder / "bad.jpg").write_text("no picture")
    here, there = folder.parent / "here.jsonl", folder.parent / "there.jsonl"
    key, entry = new_key("bulk")
    with running_server(api_keys=entry) as url:
        refused = lwbafa("align", folder, "--out", "x.csv", "--url", url)
        assert refused.exit_code == 2
        assert "api_key_missing" in refused.stderr
        too_fine = ["--detection-px", 3841, "--url", url, "--key", key]
        refused = lwbafa("align", folder, "--out", there, *too_fine)
        assert refused.exit_code == 2
        assert "detection_px: at most 3840" in refused.stderr
        assert not there.exists()
        options = ["--url", url, "--key", key, "--draw", folder.parent / "drawn"]
        ended = lwbafa("align", folder, "--out", there, *options)
        assert ended.exit_code == 1, ended.stderr
    assert lwbafa("align", folder, "--out", here, "--model", LITE).exit_code == 1
    for ours, theirs in zip(rows(here), rows(there), strict=True):
        assert ours.get("error") == theirs.get("error")
        assert (ours["file"], ours["width"]) == (theirs["file"], theirs["width"])
        for face, other in zip(ours["faces"], theirs["faces"], strict=True):
            assert face["landmarks"][8]["x"] == pytest.approx(other["landmarks"][8]["x"], abs=0.5)
    assert (folder.parent / "drawn" / "deep" / "face.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("method", ["answer", "draw"])
@pytest.mark.parametrize(
    "error",
    [
        NoAnswer("no answer from it"),
        ServiceError(502, "unexpected_answer", "no answer from it", ""),
    ],
)
def test_a_service_that_goes_away_ends_the_run_which_goes_on_later(
    method: str, error: Exception, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = folder.parent / "out.jsonl"
    drawn = folder.parent / "drawn"
    command = ["align", folder, "--out", out, "--draw", drawn, "--workers", 1, "--url"]
    there, models, asked = getattr(Client, method), Client.models, 0

    def gone(self: Client, *arguments: Any, **options: Any) -> Any:
        nonlocal asked
        asked += 1
        if asked == 2:
            monkeypatch.setattr(Client, "models", gone)
        if asked > 1:
            raise error
        return there(self, *arguments, **options)

    with running_server() as url:
        monkeypatch.setattr(Client, method, gone)
        ended = lwbafa(*command, url)
        monkeypatch.setattr(Client, method, there)
        monkeypatch.setattr(Client, "models", models)
        assert ended.exit_code == 1
        assert "no answer from it; the same command goes on from here" in ended.stderr
        assert not out.exists()
        assert lwbafa(*command, url).exit_code == 0
    assert len(rows(out)) == 2


def test_annotations_that_are_there_are_left_alone(folder: Path) -> None:
    (folder / "face.pts").write_text("by hand")
    ended = lwbafa("align", folder, "--format", "pts")
    assert ended.exit_code == 2
    assert "face.pts is there already" in ended.stderr
    assert (folder / "face.pts").read_text() == "by hand"


def test_annotations_of_a_further_face_are_left_alone(folder: Path) -> None:
    (folder / "face.face2.pts").write_text("by hand")
    ended = lwbafa("align", folder, "--format", "pts")
    assert ended.exit_code == 2
    assert "face.face2.pts is there already" in ended.stderr


def test_annotations_are_left_alone_where_out_is_the_pictures_own_folder(folder: Path) -> None:
    (folder / "deep" / "face.pts").write_text("by hand")
    ended = lwbafa("align", folder, "--out", folder.parent / "other" / ".." / "in")
    assert ended.exit_code == 2
    assert "face.pts is there already" in ended.stderr
    assert (folder / "deep" / "face.pts").read_text() == "by hand"
    assert lwbafa("align", folder, "--out", folder.parent / "out", "--model", LITE).exit_code == 0


@pytest.mark.parametrize("option", ["--out", "--draw"])
def test_a_result_takes_the_place_of_no_pipe_and_no_file(option: str, folder: Path) -> None:
    pipe, file = folder.parent / "pipe", folder.parent / "file"
    os.mkfifo(pipe)
    file.write_text("by hand")
    to = {"--out": folder.parent / "out.csv", "--model": LITE}
    for place, says in [
        (pipe, "is neither a file nor a folder"),
        (file / "x.csv", f"would lie below {file}, which is a file"),
        ("", "'' names nothing to write"),
        ("-", "'-' names nothing to write"),
    ]:
        arguments = [text for pair in (to | {option: place}).items() for text in pair]
        ended = lwbafa("align", folder, "--format", "csv", *arguments)
        assert ended.exit_code == 2, place
        assert says in ended.stderr
    assert pipe.is_fifo()
    assert file.read_text() == "by hand"


def test_a_result_is_written_to_where_a_link_leads(folder: Path) -> None:
    link, file = folder.parent / "link.csv", folder.parent / "deep" / "file.csv"
    link.symlink_to(file)
    for _ in range(2):
        assert lwbafa("align", folder, "--out", link, "--model", LITE).exit_code == 0
        assert link.is_symlink()
        assert file.read_text().startswith("file,frame")
        file.write_text("older")


def test_a_place_that_cannot_be_looked_at_is_a_2_with_one_line(folder: Path) -> None:
    long = folder.parent / ("x" * 300)
    for option, value in [("--out", f"{long}.csv"), ("--model", long)]:
        ended = lwbafa("align", folder, "--out", folder.parent / "out.csv", option, value)
        assert ended.exit_code == 2
        assert "File name too long" in ended.stderr


def test_a_picture_named_as_anothers_second_face_keeps_a_file_of_its_own(
    tmp_path: Path, astronaut: Pixels
) -> None:
    (tmp_path / "a.jpg").write_bytes(encode(np.hstack((astronaut, astronaut)), ".jpg"))
    (tmp_path / "a.face2.jpg").write_bytes(encode(astronaut, ".jpg"))
    ended = lwbafa("align", tmp_path, "--format", "pts", "--model", LITE)
    assert ended.exit_code == 0, ended.stderr
    assert sorted(path.name for path in tmp_path.glob("*.pts")) == [
        *("a.face2.jpg.pts", "a.face2.pts", "a.pts")
    ]


def test_the_models_are_a_table() -> None:
    ended = lwbafa("models")
    head, *lines = ended.stdout.splitlines()
    assert head.split()[:4] == ["name", "version", "markup", "points"]
    assert any(line.startswith("lwbafa-300w68") and "300w-68  68" in line for line in lines)
