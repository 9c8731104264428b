"""The ONNX file answers as PyTorch does, for batches of any size, and says what it is."""

import json
import re
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from app.cli import main
from lwbafa import EngineOptions, FaceAligner, FaceBox
from lwbafa.calibration import Calibration
from lwbafa.checkpoint import Checkpoint
from lwbafa.engine.choose import create_engine
from lwbafa.imaging.crop import Crop
from lwbafa.markups import MARKUP_68
from lwbafa.quiet_openvino import ov
from lwbafa.types import Pixels
from proof.harness import ROOT
from proof.harness.checkpoints import LITE

onnx = pytest.importorskip("onnx", reason="not installed: pip install 'lwbafa[onnx]'")

BOX = FaceBox(181, 86, 88, 92)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command writes of the shipped checkpoint."""
    path = tmp_path_factory.mktemp("new") / "folder" / "lwbafa.onnx"
    ended = CliRunner().invoke(main, ["export", "--onnx", str(path), "--model", LITE.name])
    assert ended.exit_code == 0, ended.output
    return path


def compiled(path: Path) -> Any:
    # Where the CPU has bf16, that would be taken unasked.
    return ov.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})


@pytest.mark.parametrize("batch", [1, 3])
def test_it_answers_as_the_pytorch_engine_does(
    batch: int, written: Path, astronaut: Pixels
) -> None:
    boxes = [BOX, BOX._replace(x=190, roll_degrees=25), FaceBox(0, 0, 300, 300)][:batch]
    crops = np.stack([Crop.around(box).cut(astronaut, 256) for box in boxes])
    engine = create_engine(Checkpoint.load(LITE), EngineOptions("torch", "cpu", 1))
    points, map_values, heatmaps = compiled(written)(crops).values()
    assert (points.shape, map_values.shape) == ((batch, 68, 2), (batch, 68))
    assert (heatmaps.shape, heatmaps.dtype) == ((batch, 32, 32), np.uint8)
    for number, expected in enumerate(engine.align(list(crops))):
        assert np.abs(points[number] - expected.points).max() < 1e-4
        np.testing.assert_allclose(map_values[number], expected.map_values, atol=1e-3)
        # A rounding apart.
        assert np.abs(heatmaps[number].astype(int) - expected.heatmap).max() <= 1


def test_it_says_what_it_is_and_is_valid(written: Path) -> None:
    model = onnx.load(written)
    onnx.checker.check_model(model, full_check=True)
    checkpoint = Checkpoint.load(LITE)
    manifest = checkpoint.manifest
    about = {entry.key: entry.value for entry in model.metadata_props}
    assert Calibration.model_validate_json(about.pop("calibration")) == checkpoint.calibration
    assert about.pop("groups") == json.dumps(MARKUP_68.groups)
    assert about == {
        "name": LITE.name,
        "version": manifest.version,
        "sha256": manifest.sha256,
        "markup": "300w-68",
        "box": manifest.box_convention.box,
        "crop_scale": "1.3",
        "data": manifest.training.data,
        "terms": manifest.training.terms,
    }
    (crops,) = model.graph.input
    dims = crops.type.tensor_type.shape.dim
    assert [dim.dim_param or dim.dim_value for dim in dims] == ["faces", 256, 256, 3]
    assert crops.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert [output.name for output in model.graph.output] == ["points", "map_values", "heatmaps"]
    assert [path.name for path in written.parent.iterdir()] == ["lwbafa.onnx"]


def test_a_folder_is_as_good_as_a_name_and_what_is_wrong_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for checkpoint, said in (("other", "there is no checkpoint other"), ("empty", "manifest.json")):
        where = tmp_path / checkpoint if checkpoint == "empty" else checkpoint
        to = ["export", "--onnx", str(tmp_path / "x.onnx"), "--checkpoint", str(where)]
        ended = CliRunner().invoke(main, to)
        assert ended.exit_code == 1
        assert said in ended.output
        assert ended.output.count("\n") == 1
    assert not (tmp_path / "x.onnx").exists()


class StandIn:
    """onnxruntime's session, as far as the page uses it, on OpenVINO."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._network = compiled(self._path)

    def get_modelmeta(self) -> Any:
        meta = ModuleType("meta")
        props = onnx.load(self._path).metadata_props
        meta.custom_metadata_map = {p.key: p.value for p in props}  # type: ignore[attr-defined]
        return meta

    def run(self, _: None, inputs: dict[str, Pixels]) -> Sequence[NDArray[np.float32]]:
        return list(self._network(inputs).values())


def test_the_pages_example_gives_the_librarys_points(
    written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, astronaut_jpeg: bytes
) -> None:
    if find_spec("onnxruntime") is None:
        runtime = ModuleType("onnxruntime")
        runtime.InferenceSession = StandIn  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "onnxruntime", runtime)
    (tmp_path / "portrait.jpg").write_bytes(astronaut_jpeg)
    (tmp_path / "lwbafa.onnx").symlink_to(written)
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "onnx.md").read_text(), re.S)
    names: dict[str, Any] = {}
    exec(compile(block, "docs/onnx.md", "exec"), names)  # noqa: S102
    aligner = FaceAligner.load(LITE, engine=EngineOptions("torch", "cpu", 1))
    (face,) = aligner.align("portrait.jpg", boxes=[BOX])
    assert np.abs(names["landmarks"] - face.landmarks).max() < 0.05
    np.testing.assert_allclose(names["scores"], face.scores, atol=0.01)
