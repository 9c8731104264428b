"""Writing a checkpoint's folder: the manifest, OpenVINO models, and all of it at once."""

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from lwbafa.checkpoint import Manifest, OpenVinoFiles
from lwbafa.quiet_openvino import ov


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write a checkpoint's `manifest.json`."""
    (folder / "manifest.json").write_text(manifest.model_dump_json(indent=2) + "\n")


def write_model(folder: Path, name: Literal["fp32", "int8"], model: ov.Model) -> OpenVinoFiles:
    """Put an OpenVINO model beside a checkpoint's weights; what the manifest says of it.

    Weights that are not int8 are stored in half precision, as the checkpoint's are.
    """
    with tempfile.TemporaryDirectory() as temporary:
        ov.save_model(model, Path(temporary, f"{name}.xml"))
        graph = Path(temporary, f"{name}.xml").read_bytes()
        weights = Path(temporary, f"{name}.bin").read_bytes()
    (folder / f"{name}.xml").write_bytes(graph)
    (folder / f"{name}.bin").write_bytes(weights)
    return OpenVinoFiles(
        graph_file=f"{name}.xml",
        graph_sha256=hashlib.sha256(graph).hexdigest(),
        weights_file=f"{name}.bin",
        weights_sha256=hashlib.sha256(weights).hexdigest(),
    )


@contextmanager
def draft(folder: Path) -> Iterator[Path]:
    """A copy of a checkpoint's folder; what was written in it replaces files there at the end.

    Not after an error. Files that nobody wrote stay as they are by then, the model card for one.
    """
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary, "draft")
        if folder.exists():
            shutil.copytree(folder, copy)
        else:
            copy.mkdir()
        before = {path: path.stat().st_mtime_ns for path in copy.iterdir()}
        yield copy
        folder.mkdir(parents=True, exist_ok=True)
        for path in copy.iterdir():
            if path.stat().st_mtime_ns != before.get(path):
                shutil.copyfile(path, folder / path.name)
