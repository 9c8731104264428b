from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.conftest import FACE_DATA, needs_face_data
from training.datasets import TEST_300W, TRAIN_300W, DatasetError, load_300w, read_pts

PTS = "version: 1\nn_points: 2\n{{\n1.0 1.0\n{} 7.25\n}}\n"


def folder_with(tmp_path: Path, annotation: str, *, image: bool = True) -> Path:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "one.pts").write_text(annotation)
    if image:
        cv2.imwrite(str(tmp_path / "set" / "one.png"), np.zeros((9, 9, 3), np.uint8))
    return tmp_path


def test_points_become_zero_based(tmp_path: Path) -> None:
    root = folder_with(tmp_path, PTS.format(4.5))
    (face,) = load_300w(root, ["set"], landmark_count=2)
    assert face.name == "set/one"
    assert face.landmarks.tolist() == [[0, 0], [3.5, 6.25]]
    assert face.image.shape == (9, 9, 3)


@pytest.mark.parametrize("annotation", ["", "n_points: 3\n{\n1 1\n}", PTS.format("x")])
def test_a_broken_annotation_is_named(tmp_path: Path, annotation: str) -> None:
    root = folder_with(tmp_path, annotation)
    with pytest.raises(DatasetError, match=r"one\.pts"):
        load_300w(root, ["set"], landmark_count=2)


def test_not_a_number_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="finite"):
        read_pts(folder_with(tmp_path, PTS.format("nan")) / "set" / "one.pts")


def test_a_missing_image_a_wrong_count_and_an_empty_folder_are_named(tmp_path: Path) -> None:
    root = folder_with(tmp_path, PTS.format(4.5), image=False)
    with pytest.raises(DatasetError, match=r"one\.pts: no image"):
        load_300w(root, ["set"], landmark_count=2)
    with pytest.raises(DatasetError, match=r"one\.pts: 2 points, not 68"):
        load_300w(root, ["set"])
    with pytest.raises(DatasetError, match=r"nowhere: no \.pts files"):
        load_300w(root, ["nowhere"])


@needs_face_data
def test_training_and_test_share_no_photograph() -> None:
    faces = load_300w(FACE_DATA / "300w", [*TRAIN_300W, *TEST_300W])
    train = {f.image.tobytes() for f in faces if "testset" not in f.name}
    test = {f.image.tobytes() for f in faces if "testset" in f.name}
    assert (len(train), len(test)) == (2012, 330)
    assert not train & test
