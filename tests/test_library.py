"""The library as a user meets it: its public names, its page of documentation, its wheel."""

import inspect
import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path

import cv2
import numpy as np
import pytest

import lwbafa
from lwbafa import AlignedFace, DetectorOptions, EngineOptions, FaceAligner, FaceBox
from lwbafa.detection import network as detector_network
from lwbafa.errors import EmptyPhotograph, InvalidBox, LoadError, UnsupportedFormat
from lwbafa.imaging.photograph import Photograph, Picture
from lwbafa.types import Pixels
from proof.harness import ROOT
from tests.conftest import ASTRONAUT_POINTS, encode

ASTRONAUT_FACE_PX = 88

PUBLIC = {
    "AlignedFace",
    "AsyncClient",
    "Client",
    "Checkpoint",
    "DetectorOptions",
    "EngineOptions",
    "FaceAligner",
    "FaceBox",
    "LwbafaError",
    "MARKUPS",
    "Markup",
    "Tracker",
    "draw_faces",
}


@pytest.fixture(scope="module")
def aligner() -> FaceAligner:
    return FaceAligner.load()


@pytest.mark.parametrize(("told", "shared"), [(0, False), (2, True)])
def test_a_detector_has_the_engines_threads_unless_it_is_told(
    monkeypatch: pytest.MonkeyPatch, told: int, shared: bool
) -> None:
    monkeypatch.setattr(detector_network, "granted_cpus", lambda: 4)
    detector, engine = DetectorOptions(threads=told), EngineOptions(threads=1)
    search = FaceAligner.load("lwbafa-lite-300w68", detector=detector, engine=engine).detector
    network = search.detector._network  # type: ignore[attr-defined]
    assert (network._of_all is not None) is shared


@pytest.mark.parametrize(("face_px", "shrinks"), [(420, [2]), (330, [2, 1])])
def test_a_phones_portrait_is_decoded_once_unless_its_face_is_small(
    aligner: FaceAligner,
    astronaut: Pixels,
    monkeypatch: pytest.MonkeyPatch,
    face_px: int,
    shrinks: list[int],
) -> None:
    side = round(astronaut.shape[0] * face_px / ASTRONAUT_FACE_PX)
    portrait = np.full((4032, 3024, 3), 128, np.uint8)
    portrait[:side, :side] = cv2.resize(astronaut, (side, side))
    decoded: list[int] = []
    picture = Photograph.picture

    def noting(photograph: Photograph, shrink: int = 1) -> Picture:
        decoded.append(shrink)
        return picture(photograph, shrink)

    monkeypatch.setattr(Photograph, "picture", noting)
    (face,) = aligner.align(encode(portrait, ".jpg"))
    assert face.box.width == pytest.approx(face_px, rel=0.1)
    assert decoded == shrinks


def test_the_public_names_are_these_and_all_lead_somewhere() -> None:
    assert set(lwbafa.__all__) == PUBLIC
    for name in PUBLIC:
        assert getattr(lwbafa, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'Aligner'"):
        _ = lwbafa.Aligner


def test_what_callers_write_stays_as_it_is() -> None:
    assert list(inspect.signature(FaceAligner.load).parameters) == [
        "checkpoint",
        "detector",
        "engine",
    ]
    parameters = inspect.signature(FaceAligner.align).parameters
    assert list(parameters)[1:4] == ["photograph", "boxes", "max_faces"]
    assert (parameters["boxes"].default, parameters["max_faces"].default) == (None, 16)
    names = {"landmarks", "scores", "heatmap", "crop", "box", "box_score", "markup"}
    assert names <= {field.name for field in fields(AlignedFace)}
    assert all(hasattr(AlignedFace, name) for name in ("score", "group", "draw", "as_dict"))


def test_every_block_of_the_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, astronaut_jpeg: bytes
) -> None:
    (tmp_path / "portrait.jpg").write_bytes(astronaut_jpeg)
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "library.md").read_text(), re.S)
    assert len(blocks) == 6
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "docs/library.md", "exec"), names)  # noqa: S102
    assert (tmp_path / "drawn.png").stat().st_size > 100_000


def test_the_readmes_lines_are_the_pages() -> None:
    page, readme = ((ROOT / name).read_text() for name in ("docs/library.md", "README.md"))
    first = re.findall(r"```python\n(.*?)```", readme, re.S)[0]
    without_comment = re.sub(r"  #.*", "", first)
    assert without_comment in page


def test_a_path_bytes_and_pixels_give_the_same_points(
    aligner: FaceAligner, astronaut: Pixels, tmp_path: Path
) -> None:
    data = encode(astronaut, ".png")
    (tmp_path / "face.png").write_bytes(data)
    faces = [aligner.align(source) for source in (tmp_path / "face.png", data, astronaut)]
    for (face,) in faces:
        assert np.array_equal(face.landmarks, faces[0][0].landmarks)
    (face,) = faces[0]
    seen = np.array(list(ASTRONAUT_POINTS.values()))
    interocular = np.linalg.norm(face.landmarks[36] - face.landmarks[45])
    errors = np.linalg.norm(face.landmarks[list(ASTRONAUT_POINTS)] - seen, axis=1) / interocular
    assert errors.mean() < 0.05
    assert errors.max() < 0.1
    assert face.group("left_eye").shape == (6, 2)
    with pytest.raises(KeyError, match="no group left_ear; there are: jaw, left_brow"):
        face.group("left_ear")
    assert 0.5 < face.score < 1


def test_a_box_sent_back_gives_the_same_points(aligner: FaceAligner, astronaut: Pixels) -> None:
    (found,) = aligner.align(astronaut)
    (again,) = aligner.align(astronaut, boxes=[found.box])
    assert np.abs(again.landmarks - found.landmarks).max() < 1e-6
    assert again.box_score is None
    assert found.box_score is not None


def test_boxes_are_answered_in_their_order_and_faces_up_to_a_number(
    aligner: FaceAligner, astronaut: Pixels
) -> None:
    twice = np.hstack((astronaut, astronaut))
    boxes = [FaceBox(693, 86, 88, 92), FaceBox(181, 86, 88, 92)]
    right, left = aligner.align(twice, boxes)
    assert right.landmarks[:, 0].mean() - left.landmarks[:, 0].mean() == pytest.approx(512, abs=3)
    assert len(aligner.align(twice)) == 2
    assert len(aligner.align(twice, max_faces=1)) == 1


def test_no_face_is_an_empty_list(aligner: FaceAligner) -> None:
    assert aligner.align(np.zeros((64, 64, 3), np.uint8)) == []


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((64, 64, 3), np.float32),
        np.zeros((64, 64), np.uint8),
        np.zeros((64, 64, 4), np.uint8),
        np.zeros((0, 64, 3), np.uint8),
    ],
    ids=["float", "grey", "alpha", "empty"],
)
def test_an_array_that_is_no_picture_is_a_value_error(aligner: FaceAligner, pixels: Pixels) -> None:
    with pytest.raises(ValueError, match="pixels are H×W×3 of uint8"):
        aligner.align(pixels)


def test_what_is_wrong_is_said(aligner: FaceAligner, astronaut: Pixels, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        aligner.align(tmp_path / "absent.jpg")
    (tmp_path / "text.jpg").write_text("no picture")
    with pytest.raises(UnsupportedFormat):
        aligner.align(tmp_path / "text.jpg")
    with pytest.raises(EmptyPhotograph):
        aligner.align(b"")
    with pytest.raises(InvalidBox, match=r"boxes\[1\] lies outside"):
        aligner.align(astronaut, boxes=[(0, 0, 9, 9), (600, 0, 9, 9)])
    with pytest.raises(LoadError, match="there is no checkpoint other; by name there are: lwbafa-"):
        FaceAligner.load("other")


def test_threads_get_what_a_lone_caller_gets(aligner: FaceAligner, astronaut: Pixels) -> None:
    shifted = [np.roll(astronaut, 8 * i, axis=1) for i in range(8)]
    expected = [aligner.align(picture)[0].landmarks for picture in shifted]
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda picture: aligner.align(picture)[0].landmarks, shifted))
    for landmarks, alone in zip(found, expected, strict=True):
        assert np.abs(landmarks - alone).max() < 0.01


def test_a_face_is_ready_for_json(aligner: FaceAligner, astronaut: Pixels) -> None:
    (face,) = aligner.align(astronaut)
    plain = json.loads(json.dumps(face.as_dict(), allow_nan=False))
    assert len(plain["landmarks"]) == 68
    assert plain["landmarks"][30]["x"] == pytest.approx(face.landmarks[30, 0])
    assert plain["box"]["score"] == pytest.approx(face.box_score)
