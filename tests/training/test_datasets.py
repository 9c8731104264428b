import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.conftest import FACE_DATA, needs_face_data
from training.datasets import is_held_back, landmark_count_of, load_faces, photograph_of, read_pts
from training.errors import DatasetError

PTS = "version: 1\nn_points: 2\n{{\n1.0 1.0\n{} 7.25\n}}\n"


def folder_with(tmp_path: Path, annotation: str, *, image: bool = True) -> Path:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "one.pts").write_text(annotation)
    if image:
        cv2.imwrite(str(tmp_path / "set" / "one.png"), np.zeros((9, 9, 3), np.uint8))
    return tmp_path


def test_points_become_zero_based(tmp_path: Path) -> None:
    root = folder_with(tmp_path, PTS.format(4.5))
    (face,) = load_faces(root, ["set"], 2)
    assert face.name == "set/one"
    assert face.landmarks.tolist() == [[0, 0], [3.5, 6.25]]
    assert face.image.shape == (9, 9, 3)


@pytest.mark.parametrize(
    ("annotation", "says"),
    [
        ("", "not a .pts file: no line 'n_points: N'"),
        ("n_points: 1\n1 1\n", "not a .pts file"),
        ("n_points: 3\n{\n1 1\n}", "2 numbers between { and }, not the two of each of 3 points"),
        (PTS.format("x"), "could not convert string to float: 'x'"),
        (PTS.format("nan"), "a coordinate is not a finite number"),
    ],
)
def test_a_broken_annotation_is_named(tmp_path: Path, annotation: str, says: str) -> None:
    root = folder_with(tmp_path, annotation)
    with pytest.raises(DatasetError, match=re.escape("one.pts: " + says)):
        load_faces(root, ["set"], 2)


def test_a_file_that_holds_no_text_is_named(tmp_path: Path) -> None:
    root = folder_with(tmp_path, "")
    for name in ("set/one.pts", "list.txt"):
        (root / name).write_bytes(b"\xff\xd8\xff\xe0")
        with pytest.raises(DatasetError, match=f"{name}: not a text file"):
            load_faces(root, [name.removesuffix("/one.pts")], 2)
    with pytest.raises(DatasetError, match="cannot be read: No such file"):
        read_pts(root / "absent.pts")


def test_a_missing_image_a_wrong_count_and_an_empty_folder_are_named(tmp_path: Path) -> None:
    root = folder_with(tmp_path, PTS.format(4.5), image=False)
    with pytest.raises(DatasetError, match=r"one\.pts: no image"):
        load_faces(root, ["set"], 2)
    with pytest.raises(DatasetError, match=r"one\.pts: 2 points, not 68"):
        load_faces(root, ["set"], 68)
    with pytest.raises(DatasetError, match="nowhere: no such folder"):
        load_faces(root, ["nowhere"], 68)
    (root / "empty").mkdir()
    with pytest.raises(DatasetError, match=r"empty: no \.pts files"):
        load_faces(root, ["empty"], 68)


def wflw_line(picture: str, *, count: int = 98, flags: str = "0 1 0 0 1 0") -> str:
    coordinates = " ".join(f"{i}.5" for i in range(2 * count))
    return f"{coordinates} 1 2 3 4 {flags} {picture}"


def wflw_list(tmp_path: Path, *lines: str) -> Path:
    (tmp_path / "WFLW_images" / "7--Cheering").mkdir(parents=True)
    picture = tmp_path / "WFLW_images" / "7--Cheering" / "a.png"
    cv2.imwrite(str(picture), np.zeros((9, 9, 3), np.uint8))
    (tmp_path / "WFLW_annotations").mkdir()
    (tmp_path / "WFLW_annotations" / "list.txt").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_a_wflw_list_is_read_as_it_is(tmp_path: Path) -> None:
    root = wflw_list(tmp_path, wflw_line("7--Cheering/a.png"))
    (face,) = load_faces(root, ["WFLW_annotations/list.txt"], 98)
    assert face.landmarks.shape == (98, 2)
    assert face.landmarks[1].tolist() == [2.5, 3.5]
    assert face.attributes == {"expression", "occlusion"}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (wflw_line("7--Cheering/b.png"), "list.txt:2: no image"),
        (wflw_line("7--Cheering/a.png", count=97), "list.txt:2: not 206 numbers"),
        (
            wflw_line("7--Cheering/a.png", flags="0 0 0 0 0 nan"),
            "list.txt:2: a coordinate is not a finite",
        ),
        (wflw_line("7--Cheering/a.png", flags="0 0 x 0 0 0"), "list.txt:2: could not convert"),
    ],
)
def test_a_broken_line_of_a_list_is_named(tmp_path: Path, line: str, says: str) -> None:
    root = wflw_list(tmp_path, wflw_line("7--Cheering/a.png"), line)
    with pytest.raises(DatasetError, match=re.escape(says)):
        load_faces(root, ["WFLW_annotations/list.txt"], 98)


@needs_face_data
def test_training_and_test_share_no_photograph() -> None:
    train_sources = ["300w/afw", "300w/helen/trainset", "300w/lfpw/trainset"]
    train, test = (
        {face.image.tobytes() for face in load_faces(FACE_DATA, sources, 68)}
        for sources in (train_sources, ["300w/helen/testset"])
    )
    assert (len(train), len(test)) == (2012, 330)
    assert not train & test


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("300w/afw/1051618982_1", "300w/afw/1051618982_2"),
        ("0--Parade/0_Parade_5_52__0604.webp#1", "0--Parade/0_Parade_5_52__0011.webp#9"),
        ("0--Parade/0_Parade_5_52.jpg#1", "0--Parade/0_Parade_5_52.jpg#2"),
    ],
)
def test_faces_of_one_photograph_are_known_as_such(one: str, other: str) -> None:
    assert photograph_of(one) == photograph_of(other)


def test_photographs_with_numbered_names_are_not_one() -> None:
    names = ("300w/lfpw/trainset/image_0001", "300w/lfpw/trainset/image_0002")
    assert len({photograph_of(name) for name in names}) == 2


def test_a_share_of_the_photographs_is_held_back_and_always_the_same() -> None:
    held_back = {n for n in range(1000) if is_held_back(str(n), 0.1)}
    assert 60 < len(held_back) < 140
    assert held_back < {n for n in range(1000) if is_held_back(str(n), 0.2)}
    assert not any(is_held_back(str(n), 0) for n in range(1000))


def test_how_many_landmarks_a_source_has_is_seen_from_it(tmp_path: Path) -> None:
    root = folder_with(tmp_path, PTS.format(4.5))
    wflw_list(root, wflw_line("7--Cheering/a.png"))
    assert landmark_count_of(root, "set") == 2
    assert landmark_count_of(root, "WFLW_annotations/list.txt") == 98
    with pytest.raises(DatasetError, match="absent: no such list"):
        landmark_count_of(root, "absent")
