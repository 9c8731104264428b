import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.conftest import FACE_DATA, needs_face_data
from training.datasets import Face, hold_back, load_faces, read_pts
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


@pytest.mark.parametrize("annotation", ["", "n_points: 3\n{\n1 1\n}", PTS.format("x")])
def test_a_broken_annotation_is_named(tmp_path: Path, annotation: str) -> None:
    root = folder_with(tmp_path, annotation)
    with pytest.raises(DatasetError, match=r"one\.pts"):
        load_faces(root, ["set"], 2)


def test_not_a_number_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="finite"):
        read_pts(folder_with(tmp_path, PTS.format("nan")) / "set" / "one.pts")


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
        (wflw_line("7--Cheering/a.png", count=97), "list.txt:2: not 206 finite numbers"),
        (wflw_line("7--Cheering/a.png", flags="0 0 0 0 0 nan"), "list.txt:2: not 206 finite"),
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


def face_named(name: str) -> Face:
    return Face(name, np.zeros((4, 4, 3), np.uint8), np.zeros((68, 2), np.float32))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("300w/afw/1051618982_1", "300w/afw/1051618982_2"),
        ("0--Parade/0_Parade_5_52__0604.webp#1", "0--Parade/0_Parade_5_52__0011.webp#9"),
        ("0--Parade/0_Parade_5_52.jpg#1", "0--Parade/0_Parade_5_52.jpg#2"),
    ],
)
def test_faces_of_one_photograph_are_known_as_such(one: str, other: str) -> None:
    assert face_named(one).photograph == face_named(other).photograph


def test_photographs_with_numbered_names_are_not_one() -> None:
    names = ("300w/lfpw/trainset/image_0001", "300w/lfpw/trainset/image_0002")
    assert len({face_named(name).photograph for name in names}) == 2


def test_holding_back_divides_by_photograph_and_always_the_same_way() -> None:
    faces = [face_named(f"set/{photograph}_{n}") for photograph in range(500) for n in (1, 2)]
    train, validation = hold_back(faces, 0.1)
    assert sorted(f.name for f in train + validation) == sorted(f.name for f in faces)
    assert not {f.photograph for f in train} & {f.photograph for f in validation}
    assert 60 < len(validation) < 140
    assert hold_back(faces[::-1], 0.1)[1] == validation[::-1]
    assert hold_back(faces, 0)[1] == []
