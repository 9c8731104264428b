"""Two teachers label photographs: a stand-in for MediaPipe's process, and the shipped network."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result
from numpy.typing import NDArray

from lwbafa.aligner import FaceAligner
from lwbafa.markups import MARKUP_68
from lwbafa.types import Pixels, Points
from proof.harness import ROOT
from proof.harness.checkpoints import LITE
from tests.training.drawn_faces import drawn_source, write_pts
from training import worker
from training.__main__ import main
from training.datasets import read_annotations, read_image
from training.errors import TrainingError
from training.linear_map import OUTER_EYE_CORNERS, LinearMap
from training.taught import DISAGREE, KEPT, LEAK
from training.teacher import Teacher

Landmarks = NDArray[np.float64]

STAND_IN = """
import hashlib, io, json, sys, time
from pathlib import Path
import numpy as np

known = json.loads(Path(__file__).with_name("meshes.json").read_text())
for line in sys.stdin.buffer:
    pictures = np.load(io.BytesIO(sys.stdin.buffer.read(int(line.split()[1])))).values()
    found = [known.get(hashlib.sha256(p.tobytes()).hexdigest(), []) for p in pictures]
    if "end" in found:
        sys.exit("a picture too much")
    if "hang" in found:
        time.sleep(600)
    print(json.dumps(found), flush=True)
"""
"""Knows every picture by its pixels."""


def mesh_of(landmarks: Landmarks) -> Landmarks:
    """478 points that are an affine image of the landmarks, their eye corners in MediaPipe's place.

    Each is a weighted mean, so all move, turn and grow as the landmarks do.
    """
    some = np.random.default_rng(0).dirichlet(np.ones(68), 478)
    weights = 0.9 * np.eye(68)[np.arange(478) % 68] + 0.1 * some
    for place, corner in zip(OUTER_EYE_CORNERS, MARKUP_68.outer_eye_corners, strict=True):
        weights[place] = np.eye(68)[corner]
    return np.asarray(weights @ landmarks)


def moved(points: Points, right: float, down: float) -> Landmarks:
    return np.asarray(points + np.array([right, down]))


class Stage:
    """Folders to teach in, and what MediaPipe's stand-in finds in each picture."""

    def __init__(self, root: Path, portrait: Pixels, landmarks: Landmarks) -> None:
        self.photographs, self.data, self.out = root / "photographs", root / "data", root / "taught"
        self.portrait, self.landmarks = portrait, landmarks
        self._worker = root / "worker"
        for folder in (self.photographs, self._worker):
            folder.mkdir()
        (self._worker / "worker.py").write_text(STAND_IN)
        self._meshes: dict[str, Any] = {}
        # True faces: the portrait's, a little changed, so that the map knows it exactly.
        (self.data / "true").mkdir(parents=True)
        rng = np.random.default_rng(0)
        for number in range(12):
            picture = np.roll(portrait, number, axis=0)
            points = moved(landmarks, 0, number) + rng.normal(0, 1, landmarks.shape)
            self.write(self.data / "true" / f"{number}.png", picture, [mesh_of(points)])
            write_pts(self.data / "true" / f"{number}.pts", points.astype(np.float32))
        drawn_source(self.data / "others", 3)

    @property
    def interocular(self) -> float:
        left, right = (self.landmarks[i] for i in MARKUP_68.outer_eye_corners)
        return float(np.linalg.norm(right - left))

    @property
    def script(self) -> Path:
        return self._worker / "worker.py"

    def write(self, path: Path, picture: Pixels, found: "list[Landmarks] | str") -> None:
        """A picture's file, and what is found in it: meshes, or that the process ends or hangs."""
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        found = found if isinstance(found, str) else [mesh.tolist() for mesh in found]
        self._meshes[hashlib.sha256(picture.tobytes()).hexdigest()] = found
        self._write_meshes()

    def forget(self, *fates: str) -> None:
        """Pictures at which the process ended or hung have no faces from now on."""
        self._meshes = {k: [] if found in fates else found for k, found in self._meshes.items()}
        self._write_meshes()

    def photograph(self, name: str, right: int, off: float = 0.0) -> None:
        """The portrait moved to the right; its mesh is off by that share of the eyes' distance."""
        points = moved(self.landmarks, right + off * self.interocular, 0)
        picture = np.roll(self.portrait, right, axis=1)
        self.write(self.photographs / name, picture, [mesh_of(points)])

    def arguments(self, evaluation: str = "others", *more: str) -> list[str]:
        where = ["--photographs", str(self.photographs), "--checkpoint", str(LITE)]
        sources = ["--data", str(self.data), "--true-source", "true"]
        to = ["--evaluation-source", evaluation, "--out", str(self.out)]
        return ["teach", *where, *sources, *to, *more]

    def teach(self, *more: str, evaluation: str = "others") -> Result:
        return CliRunner().invoke(main, self.arguments(evaluation, *more))

    def records(self) -> dict[str, dict[str, Any]]:
        lines = (self.out / "faces.jsonl").read_text().splitlines()
        records = [json.loads(line) for line in lines]
        by_name = {record.pop("photograph"): record for record in records}
        assert len(by_name) == len(records), "a photograph has two lines"
        return by_name

    def _write_meshes(self) -> None:
        (self._worker / "meshes.json").write_text(json.dumps(self._meshes))


@pytest.fixture(scope="module")
def aligner() -> FaceAligner:
    return FaceAligner.load(LITE)


@pytest.fixture(scope="module")
def answered(aligner: FaceAligner, astronaut: Pixels) -> Landmarks:
    """Where our network sees the astronaut's landmarks."""
    (face,) = aligner.align(astronaut)
    return Teacher(identity(), aligner).opinions(astronaut, [face.landmarks])[0].points


@pytest.fixture
def stage(
    tmp_path: Path, astronaut: Pixels, answered: Landmarks, monkeypatch: pytest.MonkeyPatch
) -> Stage:
    made = Stage(tmp_path, astronaut, answered)
    monkeypatch.setattr(worker, "PYTHON", Path(sys.executable))
    monkeypatch.setattr(worker, "WORKER", made.script)
    return made


class Identity(LinearMap):
    """A map that leaves points as they are."""

    def points(self, mesh: Landmarks) -> Landmarks:  # type: ignore[override]
        return np.asarray(mesh, np.float64)


def identity() -> LinearMap:
    return Identity(np.zeros((0, 0)))


def test_the_opinion_is_the_mean_of_both_and_says_how_far_they_are_apart(
    aligner: FaceAligner, astronaut: Pixels, answered: Landmarks
) -> None:
    teacher = Teacher(identity(), aligner)
    interocular = float(np.linalg.norm(answered[36] - answered[45]))
    off = 0.1 * interocular
    mapped = answered + [0, off] * (np.arange(68) % 2)[:, None]  # every other point
    (same, apart) = teacher.opinions(astronaut, [answered, mapped])
    assert same.disagreement < 0.01
    # The box moves a little with its points, and what the network answers with the box.
    assert apart.disagreement == pytest.approx(0.05, abs=0.012)
    assert np.abs(apart.points - (mapped + answered) / 2).max() < 0.02 * interocular


def test_a_mirrored_photograph_has_the_mirrored_opinion(
    aligner: FaceAligner, astronaut: Pixels, answered: Landmarks
) -> None:
    def mirrored(points: Landmarks) -> Landmarks:
        across = points * [-1, 1] + [astronaut.shape[1] - 1, 0]
        return np.asarray(across[list(MARKUP_68.flip)])

    picture = np.ascontiguousarray(astronaut[:, ::-1])
    (opinion,) = Teacher(identity(), aligner).opinions(picture, [mirrored(answered)])
    assert np.abs(mirrored(opinion.points) - answered).max() < 0.03 * 66


def test_faces_on_which_both_agree_become_a_source(stage: Stage) -> None:
    stage.photograph("agreed.png", 0, off=0.02)
    stage.photograph("below/doubted.png", 40, off=0.15)
    stage.write(stage.photographs / "nobody.png", np.zeros((64, 64, 3), np.uint8), [])
    twice = np.hstack((stage.portrait, stage.portrait))
    both = [stage.landmarks, moved(stage.landmarks, 512, 0)]
    stage.write(stage.photographs / "two.png", twice, [mesh_of(points) for points in both])

    ended = stage.teach()
    assert ended.exit_code == 0, ended.output
    assert f"4 photographs: 3 {KEPT}, 1 {DISAGREE}, 1 no face" in ended.output
    records = stage.records()
    assert records["nobody.png"] == {"faces": []}
    (agreed,) = records["agreed.png"]["faces"]
    (doubted,) = records["below/doubted.png"]["faces"]
    assert agreed["verdict"] == KEPT
    assert agreed["disagreement"] == pytest.approx(0.02, abs=0.01)
    assert doubted["verdict"] == DISAGREE
    assert doubted["disagreement"] == pytest.approx(0.15, abs=0.05)
    assert [face["verdict"] for face in records["two.png"]["faces"]] == [KEPT, KEPT]

    faces = read_annotations(stage.out.parent, "taught/list_68pt_taught.txt", 68)
    assert len(faces) == 3
    first, second = (face for face in faces if face.picture.name.startswith(digest("two.png")))
    assert first.photograph == second.photograph
    for face in faces:
        # What is cut out is copied, so it lies in the photograph as its points do.
        square = read_image(face.picture)
        part = square[60:200, 60:200]
        found = cv2.matchTemplate(twice, part, cv2.TM_SQDIFF)
        top, left = np.unravel_index(int(found.argmin()), found.shape)
        np.testing.assert_array_equal(twice[top : top + 140, left : left + 140], part)
        at = moved(face.landmarks, int(left) % 512 - 60, int(top) - 60)
        assert np.abs(at - stage.landmarks).max() < 0.03 * stage.interocular
    assert (stage.out / "sheet.jpg").exists()


def digest(name: str) -> str:
    return f"{int(hashlib.sha256(os.fsencode(name)).hexdigest()[:13], 16):016}_"


def test_more_disagreement_is_kept_where_it_is_asked_for(stage: Stage) -> None:
    stage.photograph("doubted.png", 0, off=0.15)
    assert stage.teach("--most-disagreement", "25").exit_code == 0
    assert stage.records()["doubted.png"]["faces"][0]["verdict"] == KEPT


def test_an_evaluation_face_is_not_learnt_from(stage: Stage) -> None:
    stage.photograph("copy.png", 60)
    ended = stage.teach(evaluation="true")
    assert ended.exit_code == 0, ended.output
    (face,) = stage.records()["copy.png"]["faces"]
    assert face["verdict"] == LEAK
    assert face["near"].startswith("true/")
    assert "points" not in face
    assert list((stage.out / "WFLW_images" / "taught").iterdir()) == []
    assert (stage.out / "list_68pt_taught.txt").read_text() == ""


def test_an_unreadable_photograph_is_one_line(stage: Stage) -> None:
    stage.photograph("good.png", 0)
    (stage.photographs / "empty.jpg").write_bytes(b"")
    (stage.photographs / "text.png").write_text("no picture")
    whole = (stage.photographs / "good.png").read_bytes()
    (stage.photographs / "cut.png").write_bytes(whole[: len(whole) // 2])
    (stage.photographs / "folder.jpg").mkdir()
    (stage.photographs / "note.txt").write_text("no photograph")
    ended = stage.teach()
    assert ended.exit_code == 0, ended.output
    assert "1 kept" in ended.output
    assert "3 unreadable" in ended.output
    errors = {name: record.get("error") for name, record in stage.records().items()}
    assert {name for name, error in errors.items() if error} == {"empty.jpg", "text.png", "cut.png"}
    assert errors["good.png"] is None
    assert all("\n" not in error for error in errors.values() if error)


def test_names_and_sizes_out_of_the_ordinary_do_no_harm(stage: Stage) -> None:
    narrow = np.zeros((1, 4000, 3), np.uint8)
    cv2.imwrite(str(stage.photographs / "narrow.png"), narrow)
    stage.photograph("good.png", 0)
    no_unicode = os.fsdecode(os.fsencode(stage.photographs) + b"/\xff \n\xe2\x80\xa8.png")
    shutil.move(stage.photographs / "good.png", no_unicode)
    for _ in range(2):
        ended = stage.teach()
        assert ended.exit_code == 0, ended.output
        assert "2 photographs: 1 no face, 1 kept" in ended.output


def test_what_was_written_is_not_taken_for_photographs(stage: Stage) -> None:
    stage.out = stage.photographs / "taught"
    stage.photograph("good.png", 0)
    for _ in range(2):
        ended = stage.teach()
        assert ended.exit_code == 0, ended.output
        assert "1 photographs: 1 kept" in ended.output
    assert len(stage.records()) == 1


def test_no_photographs_are_a_clear_error(stage: Stage) -> None:
    (stage.photographs / "note.txt").write_text("no photograph")
    ended = stage.teach()
    assert ended.exit_code == 1
    assert ended.output == (
        f"Error: {stage.photographs}: no photographs (.jpg, .jpeg, .png, .webp)\n"
    )
    assert not stage.out.exists()


def test_without_mediapipe_one_line_says_what_to_do(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.photograph("good.png", 0)
    monkeypatch.setattr(worker, "PYTHON", stage.out / "absent")
    ended = stage.teach()
    assert ended.exit_code == 1
    assert ended.output == "Error: mediapipe is not installed: python -m bench.rivals --setup\n"
    assert not stage.out.exists()


def test_a_process_that_cannot_start_says_why(stage: Stage) -> None:
    stage.photograph("good.png", 0)
    stage.script.write_text("import mediapipe_of_another_environment")
    ended = stage.teach()
    assert ended.exit_code == 1
    (line,) = [line for line in ended.output.splitlines() if line.startswith("Error")]
    assert line == (
        "Error: the process of mediapipe has ended: ModuleNotFoundError: No module named "
        "'mediapipe_of_another_environment'"
    )


def test_a_process_that_ended_takes_no_more(stage: Stage) -> None:
    picture = np.zeros((600, 600, 3), np.uint8)  # more than a pipe holds
    stage.script.write_text("raise SystemExit('over')")
    with pytest.raises(TrainingError, match="of dlib has ended: over"), worker.worker("dlib") as w:
        w.find([picture])


def test_true_faces_that_mediapipe_does_not_find_are_an_error(stage: Stage) -> None:
    stage.photograph("good.png", 0)
    drawn_source(stage.data / "true", 12)  # of the same names
    ended = stage.teach()
    assert ended.exit_code == 1
    assert "Error: MediaPipe found 0 of the 12 true faces" in ended.output


def test_other_settings_are_refused_and_a_mistaken_source_is_not_one(stage: Stage) -> None:
    stage.photograph("good.png", 0)
    assert "absent: no such" in stage.teach(evaluation="absent").output
    assert stage.teach().exit_code == 0
    before = (stage.out / "faces.jsonl").read_bytes()
    ended = stage.teach("--most-disagreement", "7")
    assert ended.exit_code == 1
    assert "holds labels made with other settings" in ended.output
    assert (stage.out / "faces.jsonl").read_bytes() == before


def test_a_run_that_failed_goes_on_with_what_is_new(stage: Stage) -> None:
    for number in range(9):  # more than a portion
        stage.photograph(f"{number}.png", number)
    stage.write(stage.photographs / "8.png", np.zeros((80, 80, 3), np.uint8), "end")
    ended = stage.teach()
    assert ended.exit_code == 1
    assert "Error: the process of mediapipe has ended: a picture too much" in ended.output
    first = (stage.out / "faces.jsonl").read_bytes()
    assert len(stage.records()) == 8

    stage.forget("end")
    shutil.rmtree(stage.data / "true")  # the map is kept, so they are not asked for again
    ended = stage.teach()
    assert ended.exit_code == 0, ended.output
    assert f"9 photographs: 8 {KEPT}, 1 no face" in ended.output
    assert (stage.out / "faces.jsonl").read_bytes().startswith(first)
    assert len(stage.records()) == 9


def test_a_killed_run_goes_on_without_loss_and_without_doubles(stage: Stage) -> None:
    for number in range(9):
        stage.photograph(f"{number}.png", number)
    stage.write(stage.photographs / "8.png", np.zeros((80, 80, 3), np.uint8), "hang")
    program = (
        "import sys; from pathlib import Path; from training import worker; "
        "from training.__main__ import main; worker.PYTHON = Path(sys.executable); "
        f"worker.WORKER = Path({str(stage.script)!r}); main()"
    )
    lines = stage.out / "faces.jsonl"
    with subprocess.Popen(
        [sys.executable, "-c", program, *stage.arguments()],
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as killed:
        try:
            ends = time.monotonic() + 120
            while not lines.exists() or len(lines.read_bytes().splitlines()) < 8:
                assert killed.poll() is None, "the run ended by itself"
                assert time.monotonic() < ends, "the run does not come on"
                time.sleep(0.05)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(killed.pid, signal.SIGKILL)
    # As if the kill had come a little earlier: while a line was written.
    os.truncate(lines, lines.stat().st_size - 20)
    pictures = stage.out / "WFLW_images" / "taught"
    assert len(list(pictures.iterdir())) == 8

    stage.forget("hang")
    ended = stage.teach()
    assert ended.exit_code == 0, ended.output
    assert f"9 photographs: 8 {KEPT}, 1 no face" in ended.output
    assert set(stage.records()) == {f"{number}.png" for number in range(9)}
    assert len(list(pictures.iterdir())) == 8
    faces = read_annotations(stage.out, "list_68pt_taught.txt", 68)
    assert len({face.picture for face in faces}) == len(faces) == 8
