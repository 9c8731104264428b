"""A checkpoint is verified before it is opened; anything wrong stops the start in one line."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch

from lwbafa.checkpoint import Checkpoint, Manifest
from lwbafa.errors import LoadError
from proof.harness import ROOT
from proof.harness.checkpoints import LITE


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(LITE, tmp_path / "checkpoint"))


def rewrite(folder: Path, **changes: object) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def start(folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LWBAFA_CHECKPOINT_DIRS": str(folder), "LWBAFA_PORT": "0"}
    command = [sys.executable, "-m", "app"]
    return subprocess.run(
        command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )


def test_the_shipped_checkpoint_loads_and_states_its_accuracy() -> None:
    checkpoint = Checkpoint.load(LITE)
    assert checkpoint.markup.landmark_count == 68
    assert not checkpoint.load_network().training
    assert {row.box for row in checkpoint.manifest.accuracy} == {"landmarks", "detector"}
    assert "research" in checkpoint.manifest.training.terms


def test_the_shipped_weights_are_half_precision_in_one_file() -> None:
    tensors = safetensors.torch.load_file(LITE / "model.safetensors")
    assert {t.dtype for t in tensors.values() if t.is_floating_point()} == {torch.float16}


def test_the_shipped_folder_has_a_model_card() -> None:
    assert "research" in (LITE / "README.md").read_text()


def test_tampered_weights_stop_the_start_before_they_are_opened(folder: Path) -> None:
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    ended = start(folder)
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1
    assert "sha256" in ended.stderr


def test_missing_weights_stop_the_start(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    ended = start(folder)
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1
    assert "model.safetensors cannot be read" in ended.stderr


def test_a_missing_manifest_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match=r"manifest\.json cannot be read"):
        Checkpoint.load(tmp_path)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"sha256": "short"}, "sha256"),
        ({"weights_file": "../../etc/passwd"}, "weights_file"),
        ({"markup": "17-points"}, "unknown markup"),
        ({"surprise": 1}, "surprise"),
        (
            {"input": {"size_px": 100, "color_order": "RGB", "mean": 127.5, "divisor": 127.5}},
            "size_px",
        ),
    ],
)
def test_a_wrong_manifest_says_what_is_wrong(
    folder: Path, changes: dict[str, object], says: str
) -> None:
    rewrite(folder, **changes)
    with pytest.raises(LoadError, match=says):
        Checkpoint.load(folder)


def test_weights_of_another_network_are_refused(folder: Path) -> None:
    rewrite(folder, markup="wflw-98")
    with pytest.raises(LoadError, match="does not fit the network"):
        Checkpoint.load(folder).load_network()


def test_missing_and_unknown_tensors_are_refused(folder: Path) -> None:
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    tensors["a_surprise"] = torch.zeros(1)
    data = safetensors.torch.save(tensors)
    (folder / "model.safetensors").write_bytes(data)
    rewrite(folder, sha256=hashlib.sha256(data).hexdigest())
    with pytest.raises(LoadError, match="does not fit the network"):
        Checkpoint.load(folder).load_network()


def test_every_network_is_the_callers_own() -> None:
    checkpoint = Checkpoint.load(LITE)
    one, other = checkpoint.load_network(), checkpoint.load_network()
    with torch.no_grad():
        next(one.parameters()).zero_()
    assert next(other.parameters()).any()


def with_int8(folder: Path, **changes: str) -> None:
    """An int8 model that is none, for what happens before it is read."""
    (folder / "int8.xml").write_bytes(b"graph")
    (folder / "int8.bin").write_bytes(b"weights")
    files = {
        "graph_file": "int8.xml",
        "graph_sha256": hashlib.sha256(b"graph").hexdigest(),
        "weights_file": "int8.bin",
        "weights_sha256": hashlib.sha256(b"weights").hexdigest(),
    }
    rewrite(folder, int8_model={**files, **changes})


def test_int8_files_are_read_as_the_manifest_states_them(folder: Path) -> None:
    with_int8(folder)
    assert Checkpoint.load(folder).openvino_files("openvino-int8") == (b"graph", b"weights")


@pytest.mark.parametrize("file", ["graph", "weights"])
def test_a_tampered_int8_model_is_not_opened(folder: Path, file: str) -> None:
    with_int8(folder, **{f"{file}_sha256": "0" * 64})
    with pytest.raises(LoadError, match=r"int8\.(xml|bin) does not have the sha256"):
        Checkpoint.load(folder).openvino_files("openvino-int8")


def test_an_int8_model_outside_the_folder_is_refused(folder: Path) -> None:
    with_int8(folder, graph_file="../int8.xml")
    with pytest.raises(LoadError, match="graph_file"):
        Checkpoint.load(folder)


def test_the_manifest_schema_survives_a_round_trip() -> None:
    text = (LITE / "manifest.json").read_text()
    manifest = Manifest.model_validate_json(text)
    assert json.loads(manifest.model_dump_json(exclude_unset=True)) == json.loads(text)
