"""The engines' figures in the manifest are measured, and int8 is made, on a public-domain face."""

import re
import shutil
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.torch import save

from lwbafa.checkpoint import BoxConvention, Checkpoint, InputContract
from lwbafa.face import AlignedFace
from lwbafa.imaging.crop import Crop
from lwbafa.markups import MARKUP_68
from lwbafa.quiet_openvino import ov
from lwbafa.types import FaceBox, Pixels
from proof.harness import ROOT
from proof.harness.checkpoints import FULL, LITE
from tests.training.narrow import narrow_network
from training.__main__ import main
from training.checkpoint_folder import draft, write_manifest, write_model
from training.convert import converted
from training.datasets import Face, load_faces
from training.evaluate import BoxResult, Measured
from training.measure_engines import heatmap_difference, measure_engines, summary
from training.quantise import calibration_crops, quantised

SKIPPED_SUM = re.compile(r"hourglasses\.\d/aten::add/Add(_\d)?$")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the shipped checkpoint to write into."""
    copy = tmp_path_factory.mktemp("store") / "checkpoint"
    return Path(shutil.copytree(LITE, copy))


def added_by(node: ov.Node) -> set[str]:
    return {node.input_value(i).get_node().get_type_name() for i in range(2)}


def answered(level: int) -> Measured:
    points = np.full((68, 2), 0.5, np.float32)
    face = Face("any", np.zeros((64, 64, 3), np.uint8), points)
    answer = AlignedFace(
        landmarks=points.astype(np.float64),
        scores=np.zeros(68, np.float32),
        map_values=np.zeros(68, np.float32),
        heatmap=np.full((64, 64), level, np.uint8),
        crop=Crop(32, 32, 64),
        pixels=np.zeros((256, 256, 3), np.uint8),
        picture_size=(256, 256),
        box=FaceBox(8, 8, 48, 48),
        box_score=None,
        markup=MARKUP_68,
    )
    return Measured(face, answer, np.full(68, 0.04))


def test_heatmaps_are_compared_face_by_face() -> None:
    one = [BoxResult("landmarks", [answered(0), answered(255)], 0)]
    other = [BoxResult("landmarks", [answered(51), answered(255)], 0)]
    assert heatmap_difference(one, other) == pytest.approx(0.1)
    assert heatmap_difference(one, one) == 0


def test_int8_is_calibrated_on_the_crops_that_the_manifest_has_served(
    folder: Path, data: Path, astronaut: Pixels
) -> None:
    faces = load_faces(data, ["set"], 68)
    manifest = Checkpoint.load(folder).manifest
    other = manifest.model_copy(
        update={"input": InputContract(size_px=128), "box_convention": BoxConvention(crop_scale=2)}
    )
    (crop,) = calibration_crops(faces, other)
    np.testing.assert_array_equal(crop, Crop.around(faces[0].box, 2).cut(astronaut, 128))
    (crop,) = calibration_crops(faces, manifest)
    np.testing.assert_array_equal(crop, Crop.around(faces[0].box).cut(astronaut, 256))


def test_int8_is_made_of_the_weights_and_measured_with_the_other_engines(
    folder: Path, data: Path
) -> None:
    checkpoint = Checkpoint.load(folder)
    crops = calibration_crops(load_faces(data, ["set"], 68), checkpoint.manifest)
    model = converted(checkpoint)
    files = {"fp32_model": write_model(folder, "fp32", model)}
    int8 = quantised(model, crops)
    operations = int8.get_ordered_ops()
    sigmoids = [node for node in operations if node.get_type_name() == "Sigmoid"]
    assert len(sigmoids) == 6  # of the profiles: the gates' are straight lines
    assert all("sa_feature" in node.get_friendly_name() for node in sigmoids)
    sums = [node for node in operations if SKIPPED_SUM.search(node.get_friendly_name())]
    assert len(sums) == 8  # two hourglasses
    assert {node.input_value(0).get_node().get_type_name() for node in sums} == {"Relu"}
    named = {node.get_friendly_name().split(".network.")[-1]: node for node in operations}
    fusion = "boundary_stage.fusions.0/aten::add"
    assert "Multiply" in added_by(named[f"{fusion}/Add"])
    assert added_by(named[f"{fusion}/Add_1"]) == {"Add", "Transpose"}
    files["int8_model"] = write_model(folder, "int8", int8)
    write_manifest(folder, checkpoint.manifest.model_copy(update=files))
    measure_engines(folder, load_faces(data, ["set"], 68), "set")
    manifest = Checkpoint.load(folder).manifest
    assert [row.box for row in manifest.accuracy] == ["landmarks", "detector"]
    # Three of the 66 pixels between the eyes, and what the moved points move the crop.
    assert 3 < manifest.accuracy[0].nme_percent < 7
    assert [check.engine for check in manifest.engines] == ["openvino-int8", "openvino"]
    rounded, exact = manifest.engines
    # Its weights are stored in half precision.
    assert exact.heatmap_difference < 1e-3 < rounded.heatmap_difference < 0.02
    assert manifest.keeps_accuracy("openvino")
    assert "openvino-int8" in summary(manifest)


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        (None, "network.safetensors does not exist: only a run that came to its end"),
        (b"any", "network.safetensors: not a readable safetensors file"),
        (save(narrow_network(MARKUP_68).state_dict()), "weights of another network than"),
        ((FULL / "model.safetensors").read_bytes(), "absent: no such folder"),
    ],
    ids=["none", "broken", "another network", "no test faces"],
)
def test_an_export_that_fails_says_why_and_leaves_the_checkpoint_as_it_was(
    weights: bytes | None, said: str, data: Path, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(FULL, tmp_path / "made"))
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    recipe = ROOT / "training" / "recipes" / "lwbafa-300w68-cpu.toml"
    where = ["--run", str(tmp_path), "--recipe", str(recipe), "--data", str(data)]
    what = ["--version", "1.0.0", "--terms", "none", "--hardware", "none", "--out", str(out)]
    if weights is not None:
        (tmp_path / "network.safetensors").write_bytes(weights)
    ended = CliRunner().invoke(main, ["export", *where, *what, "--test-source", "absent"])
    assert ended.exit_code == 1
    assert said in ended.output
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_a_draft_replaces_the_folder_once_it_is_finished(tmp_path: Path) -> None:
    made = tmp_path / "new" / "made"
    with suppress(OSError), draft(made) as folder:
        (folder / "a").write_text("0")
        raise OSError("broken off")
    assert not made.parent.exists()
    with draft(made) as folder:
        (folder / "a").write_text("1")
        assert not made.exists()
    with draft(made) as folder:
        (folder / "b").write_text((folder / "a").read_text() + "2")
        (made / "a").write_text("edited meanwhile")
    written = {path.name: path.read_text() for path in made.iterdir()}
    assert written == {"a": "edited meanwhile", "b": "12"}
    with draft(made) as folder:
        (folder / "a").write_text("3")
    assert (made / "a").read_text() == "3"
