from pathlib import Path

import cv2
import numpy as np
import pytest

from lwbafa.aligner import FaceAligner
from lwbafa.face import AlignedFace
from lwbafa.imaging.crop import Crop
from lwbafa.markups import MARKUP_68
from lwbafa.model_store import checkpoint_names
from lwbafa.types import FaceBox, Pixels
from tests.conftest import FACE_DATA, needs_face_data
from training.datasets import Face, load_faces
from training.errors import DatasetError
from training.evaluate import (
    BoxResult,
    Measured,
    by_group,
    by_turn,
    draw_worst,
    measure,
    overlap,
    summary,
    with_boxes,
)
from training.pictures import COLUMNS, TILE_PX, draw_curves


def measured(error: float, *attributes: str) -> Measured:
    """A face whose every landmark is off by `error` of the inter-ocular distance."""
    points = np.full((68, 2), 0.5, np.float32)
    face = Face("any", np.zeros((64, 64, 3), np.uint8), points, frozenset(attributes))
    answer = AlignedFace(
        landmarks=points.astype(np.float64),
        scores=np.full(68, 0.5, np.float32),
        map_values=np.zeros(68, np.float32),
        heatmap=np.zeros((64, 64), np.uint8),
        crop=Crop(32, 32, 64),
        pixels=np.zeros((256, 256, 3), np.uint8),
        picture_size=(256, 256),
        box=FaceBox(8, 8, 48, 48),
        box_score=None,
        markup=MARKUP_68,
    )
    return Measured(face, answer, np.full(68, error))


@pytest.fixture
def result() -> BoxResult:
    faces = [measured(0.02), measured(0.04, "blur"), measured(0.15, "blur", "pose")]
    return BoxResult("detector", faces, missed=2)


def test_overlap_by_hand() -> None:
    assert overlap(FaceBox(0, 0, 2, 2), FaceBox(1, 1, 2, 2)) == pytest.approx(1 / 7)
    assert overlap(FaceBox(0, 0, 2, 2), FaceBox(3, 0, 2, 2)) == 0


def test_a_row_states_what_was_missed(result: BoxResult) -> None:
    row = result.accuracy("set")
    assert (row.faces, row.missed_faces, row.box) == (3, 2, "detector")
    assert row.nme_percent == pytest.approx(7)
    assert row.failure_rate_percent == pytest.approx(33.33)
    assert row.auc == pytest.approx((0.8 + 0.6 + 0) / 3, abs=1e-4)


def test_attribute_subsets_are_rows_only_where_faces_carry_them(result: BoxResult) -> None:
    rows = {line.split()[0]: line.split() for line in summary([result]).splitlines()[2:]}
    assert set(rows) == {"all", "blur", "pose"}
    assert rows["blur"][2:5] == ["2", "0", "9.50"]


def test_points_within_a_twentieth_are_right_and_no_faces_are_an_error(result: BoxResult) -> None:
    judged = result.judged()
    assert judged.right.all(axis=1).tolist() == [True, True, False]
    assert (judged.scores == 0.5).all()
    assert (result.judged(map_values=True).scores == 0).all()
    with pytest.raises(DatasetError, match="no face to measure from the detector box"):
        BoxResult("detector", [], missed=1).judged()


def test_every_group_has_a_row(result: BoxResult) -> None:
    lines = by_group([result], MARKUP_68).splitlines()
    assert [line.split()[0] for line in lines[2:]] == list(MARKUP_68.groups)
    assert {line.split()[1] for line in lines[2:]} == {"7.00"}


def test_a_turned_crop_is_answered_in_the_photographs_pixels(astronaut: Pixels) -> None:
    aligner = FaceAligner.load()
    (upright,) = aligner.align(astronaut)
    face = Face("any", astronaut, upright.landmarks.astype(np.float32), frozenset())
    rows = [line.split() for line in by_turn(aligner, [face], upright=0.01).splitlines()[2:]]
    assert [(row[0], row[3]) for row in rows] == [("15", "2"), ("30", "2"), ("45", "2")]
    off = [float(row[4]) for row in rows]
    assert 0 < off[0] < off[1] < off[2] < 5
    assert [float(row[5]) for row in rows] == pytest.approx(off)


def test_pictures_are_pictures(result: BoxResult, tmp_path: Path) -> None:
    draw_curves({"any": [face.nme for face in result.faces]}, tmp_path / "curve.png")
    assert cv2.imread(str(tmp_path / "curve.png")) is not None
    draw_worst(result, MARKUP_68, tmp_path / "worst.png")
    worst = cv2.imread(str(tmp_path / "worst.png"))
    assert worst is not None
    assert worst.shape == (TILE_PX, COLUMNS * TILE_PX, 3)


@needs_face_data
@pytest.mark.parametrize("name", checkpoint_names())
def test_a_shipped_checkpoint_is_as_accurate_as_its_manifest_says(name: str) -> None:
    aligner = FaceAligner.load(name)
    count = aligner.checkpoint.markup.landmark_count
    source = {68: "300w/helen/testset", 98: "wflw/WFLW_annotations/list_98pt_rect_attr_val.txt"}
    faces = load_faces(FACE_DATA, [source[count]], count)
    faces = faces[:: len(faces) // 29]
    results = measure(aligner, with_boxes(faces, aligner.detector))
    for result, stated in zip(results, aligner.checkpoint.manifest.accuracy, strict=True):
        row = result.accuracy("sample")
        assert row.box == stated.box
        # Some thirty faces: their mean scatters around the whole's.
        assert row.nme_percent == pytest.approx(stated.nme_percent, rel=0.25)
