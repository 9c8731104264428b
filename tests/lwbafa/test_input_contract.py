"""A manifest's input size and crop scale are what is cut and run, whatever this project trains."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from lwbafa import AlignedFace, EngineOptions, FaceAligner
from lwbafa.checkpoint import Checkpoint
from lwbafa.engine.choose import create_engine
from lwbafa.imaging.crop import Crop
from lwbafa.imaging.photograph import Photograph
from lwbafa.types import FaceBox, Pixels
from proof.harness.checkpoints import FULL

TORCH = EngineOptions("torch", "cpu", threads=1)


def stating(folder: Path, size_px: int, crop_scale: float) -> Path:
    """A copy of the shipped checkpoint whose manifest states other crops."""
    shutil.copytree(FULL, folder, ignore=shutil.ignore_patterns("*.xml", "*.bin"))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["input"]["size_px"] = size_px
    manifest["box_convention"]["crop_scale"] = crop_scale
    manifest |= {"fp32_model": None, "int8_model": None}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture(scope="module")
def as_shipped(astronaut: Pixels) -> AlignedFace:
    (face,) = FaceAligner.load(FULL, engine=TORCH).align(astronaut)
    return face


# The shipped weights finished their training at 256 pixels and crops of 1.3: they lose accuracy
# elsewhere (measured: 7.4, 2.6, 0.7 and 1.6 % of the distance between the eyes), but a crop that is
# cut or mapped back otherwise than the network reads it is off by far more.
@pytest.mark.parametrize(
    ("size_px", "crop_scale", "most_moved"),
    [(128, 1.3, 0.1), (192, 1.3, 0.05), (256, 1.5, 0.03), (256, 1.0, 0.03)],
)
def test_the_manifests_crops_are_what_the_aligner_cuts_and_maps_back(
    size_px: int,
    crop_scale: float,
    most_moved: float,
    as_shipped: AlignedFace,
    astronaut: Pixels,
    tmp_path: Path,
) -> None:
    folder = stating(tmp_path / "checkpoint", size_px, crop_scale)
    aligner = FaceAligner.load(folder, engine=TORCH)
    (face,) = aligner.align(astronaut)
    assert face.heatmap.shape == (size_px // 4, size_px // 4)
    assert face.box == as_shipped.box
    assert face.crop == Crop.around(face.box, crop_scale)
    assert face.crop.side == pytest.approx(crop_scale * max(face.box.width, face.box.height))
    interocular = np.linalg.norm(as_shipped.landmarks[36] - as_shipped.landmarks[45])
    moved = np.linalg.norm(face.landmarks - as_shipped.landmarks, axis=1).mean() / interocular
    assert moved < most_moved


def test_the_halves_of_the_aligner_cut_what_the_manifest_states(
    astronaut: Pixels, tmp_path: Path
) -> None:
    aligner = FaceAligner.load(stating(tmp_path / "checkpoint", 128, 1.5), engine=TORCH)
    box = FaceBox(181, 86, 88, 92)
    (pixels,) = aligner.prepare(Photograph.of_pixels(astronaut), [box], 1).pixels
    np.testing.assert_array_equal(pixels, Crop.around(box, 1.5).cut(astronaut, 128))


def test_an_engine_warms_up_and_runs_at_the_manifests_size(
    astronaut: Pixels, tmp_path: Path
) -> None:
    checkpoint = Checkpoint.load(stating(tmp_path / "checkpoint", 128, 1.3))
    engine = create_engine(checkpoint, TORCH)
    engine.warm_up(2)
    crop = Crop.around(FaceBox(181, 86, 88, 92)).cut(astronaut, 128)
    answers = engine.align([crop, crop])
    assert [answer.heatmap.shape for answer in answers] == [(32, 32), (32, 32)]
    assert all(answer.points.shape == (68, 2) for answer in answers)
