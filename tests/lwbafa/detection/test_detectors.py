"""What every detector promises, whichever finds the faces."""

from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage import data

from lwbafa.detection import FaceDetector
from lwbafa.detection.choose import DETECTORS, DetectorOptions, create_detector
from lwbafa.detection.network import OPTIONS, DetectorNetwork, _Compiled
from lwbafa.errors import LoadError
from lwbafa.quiet_openvino import ov
from lwbafa.types import FaceBox, Pixels
from tests.conftest import FACE_DATA, needs_face_data
from training.datasets import load_faces
from training.evaluate import detected_box


@pytest.fixture(scope="module", params=DETECTORS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def detector(name: str) -> FaceDetector:
    """One look of it: without the search that looks again."""
    return create_detector(DetectorOptions(name)).detector


def test_the_one_face_is_found_in_the_landmarks_convention(
    detector: FaceDetector, astronaut: Pixels
) -> None:
    (found,) = detector.detect(astronaut)
    # Brows to chin, ear to ear, as seen by eye; a hairline-to-chin box would begin near y = 65.
    assert found.box == pytest.approx(FaceBox(181, 88, 88, 90), abs=6)
    assert found.score > 0.8


def test_a_large_photograph_is_answered_in_its_own_pixels(
    detector: FaceDetector, astronaut: Pixels
) -> None:
    (small,) = detector.detect(astronaut)
    large = cv2.resize(astronaut, (2048, 2048))
    (found,) = detector.detect(np.ascontiguousarray(large))
    assert found.box == pytest.approx([4 * value for value in small.box], abs=16)


@pytest.mark.parametrize("shape", [(1, 1), (1, 3000), (3000, 1), (33, 65), (7, 500)])
def test_odd_shapes_have_no_face_and_do_no_harm(
    detector: FaceDetector, shape: tuple[int, int]
) -> None:
    assert detector.detect(np.zeros((*shape, 3), np.uint8)) == []


def test_no_face_where_there_is_none(detector: FaceDetector) -> None:
    assert detector.detect(data.coffee()) == []


def test_less_confident_faces_are_found_where_the_options_ask_for_them(
    name: str, astronaut: Pixels
) -> None:
    (found,) = create_detector(DetectorOptions(name)).detector.detect(astronaut)
    just_above = DetectorOptions(name, score_threshold=found.score + 0.001)
    assert create_detector(just_above).detector.detect(astronaut) == []


def test_the_options_threshold_is_kept_down_to_zero_and_else_the_detectors_own(
    name: str, astronaut: Pixels
) -> None:
    options = [DetectorOptions(name, None, 128, least) for least in (0.0, 0.01)]
    found = [create_detector(asked).detector.detect(astronaut) for asked in options]
    scores = [[face.score for face in faces] for faces in found]
    assert len(scores[0]) > len(scores[1]) > 1
    assert min(scores[0]) < 0.01 < min(scores[1])
    assert 0 < import_module(DETECTORS[name]).SCORE_THRESHOLD < 1


def test_a_lone_photograph_has_all_threads_and_several_one_each(
    name: str, astronaut: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = create_detector(DetectorOptions(name, threads=2)).detector
    network: DetectorNetwork = detector._network  # type: ignore[attr-defined]
    compiled: list[int] = []
    compile_ = _Compiled

    def noting(model: ov.Model, threads: int) -> _Compiled:
        compiled.append(threads)
        return compile_(model, threads)

    with network._is_alone() as alone, network._is_alone() as beside:
        assert (alone, beside) == (True, False)
        monkeypatch.setattr("lwbafa.detection.network._Compiled", noting)
        (busy,) = detector.detect(astronaut)
    (free,) = detector.detect(astronaut)
    assert compiled == [1]
    assert busy.box == pytest.approx(free.box, abs=0.01)


def test_half_the_precision_finds_the_same_faces(
    name: str, astronaut: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for precision in ("f32", OPTIONS["INFERENCE_PRECISION_HINT"]):
        monkeypatch.setitem(OPTIONS, "INFERENCE_PRECISION_HINT", precision)
        (face,) = create_detector(DetectorOptions(name, threads=1)).detect(astronaut)
        found.append(face)
    exact, served = found
    assert served.score == pytest.approx(exact.score, abs=0.01)
    assert served.box == pytest.approx(exact.box, abs=0.02 * exact.box.width)


def test_what_is_cut_out_small_leaves_the_network_for_photographs_ready(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    network: DetectorNetwork = create_detector(DetectorOptions(name, threads=1)).detector._network  # type: ignore[attr-defined]
    compiled = network._of_this_thread()
    seen: dict[str, list[tuple[int, ...]]] = {"_photographs": [], "_squares": []}
    for which, shapes in seen.items():
        run = getattr(compiled, which)
        monkeypatch.setattr(
            compiled,
            which,
            lambda inputs, s=shapes, r=run: (s.append(inputs[0].shape), r(inputs))[1],
        )
    for height, width in ((512, 640), (256, 256), (128, 128), (512, 640)):
        network(np.zeros((height, width, 3), np.uint8))
    assert seen == {
        "_photographs": [(1, 512, 640, 3)] * 2,
        "_squares": [(1, 256, 256, 3), (1, 128, 128, 3)],
    }


def test_threads_get_the_same_answer(detector: FaceDetector, astronaut: Pixels) -> None:
    expected = detector.detect(astronaut)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(detector.detect, [astronaut] * 12))
    assert all(answer == expected for answer in answers)


def test_a_missing_or_foreign_file_stops_the_start(name: str, tmp_path: Path) -> None:
    file = tmp_path / "network.onnx"
    with pytest.raises(LoadError, match="is missing"):
        create_detector(DetectorOptions(name, file))
    file.write_bytes(b"not the one")
    with pytest.raises(LoadError, match="sha256"):
        create_detector(DetectorOptions(name, file))


@needs_face_data
def test_every_labelled_face_of_a_sample_is_found(detector: FaceDetector) -> None:
    faces = load_faces(FACE_DATA, ["300w/helen/testset"], 68)[::8]
    missed = [face.name for face in faces if detected_box(face, detector) is None]
    assert missed == []
