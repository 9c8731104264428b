"""The checkpoints with 68 points that are shipped, and a second one to serve beside them."""

import json
from pathlib import Path

from lwbafa.model_store import MODEL_STORE

FULL = MODEL_STORE / "lwbafa-300w68"
"""The paper's network. A service of it is saturated by fewer callers."""

LITE = MODEL_STORE / "lwbafa-lite-300w68"
"""Where any checkpoint would do: it is loaded in half the time."""


def renamed_checkpoint(folder: Path, name: str, *, of: Path = LITE) -> Path:
    """Make `folder` a copy of a checkpoint under another name; returns it.

    The weights are links, the manifest is a file of its own.
    """
    folder.mkdir()
    for file in of.resolve().iterdir():
        if file.name != "manifest.json":
            (folder / file.name).symlink_to(file)
    manifest = json.loads((of / "manifest.json").read_text()) | {"name": name}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder
