"""A second checkpoint to serve beside the shipped one."""

import json
from pathlib import Path

from lwbafa.model_store import MODEL_STORE

SHIPPED = MODEL_STORE / "lwbafa-300w68"


def renamed_checkpoint(folder: Path, name: str, version: str | None = None) -> Path:
    """Make `folder` the shipped checkpoint under another name, and version if given; returns it.

    The weights are links, the manifest is a file of its own.
    """
    folder.mkdir()
    for file in SHIPPED.iterdir():
        if file.name != "manifest.json":
            (folder / file.name).symlink_to(file)
    manifest = json.loads((SHIPPED / "manifest.json").read_text())
    manifest |= {"name": name} | ({"version": version} if version else {})
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder
