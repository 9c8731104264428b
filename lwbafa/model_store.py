"""Where the checkpoints and the detectors' networks lie that are named without a path."""

from pathlib import Path

from lwbafa.errors import LoadError

MODEL_STORE = Path(__file__).resolve().parent.parent / "model_store"
"""Beside the package: in a checkout, in the container image and in an installed wheel alike."""

DEFAULT_CHECKPOINT = "lwbafa-lite-300w68"
"""As right as the full network on our test faces, in a fifteenth of its time on a CPU."""


def checkpoint_folder(name: str | Path) -> Path:
    """The folder of a checkpoint: a path as it is, a plain name below `MODEL_STORE`.

    Raises LoadError if there is no such folder.
    """
    path = Path(name)
    try:
        folder = path if path.is_dir() else MODEL_STORE / path
        there_is = folder.is_dir()
    except OSError as error:  # a name that is too long, a path that may not be looked at
        raise LoadError(f"there is no checkpoint {name}: {error.strerror}") from error
    if not there_is:
        there = ", ".join(checkpoint_names())
        raise LoadError(f"there is no checkpoint {name}; by name there are: {there}")
    return folder


def checkpoint_names() -> list[str]:
    """The checkpoints that need no path, in the order of their names."""
    return sorted(manifest.parent.name for manifest in MODEL_STORE.glob("*/manifest.json"))
