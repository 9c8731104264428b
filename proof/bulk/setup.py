"""What a proof is of."""

from dataclasses import dataclass
from pathlib import Path

MODEL = "lwbafa-lite-300w68"


@dataclass(frozen=True)
class Setup:
    """How much of what, and where: `work` is a folder for it all, `faces` one of photographs."""

    work: Path
    photographs: int
    shard_size: int
    kills: int = 20
    sample: int = 250
    faces: Path | None = None
    model: str = MODEL
