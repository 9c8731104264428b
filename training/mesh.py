"""MediaPipe's 478 points of the faces in a picture, by a process of its own environment.

`python -m bench.rivals --setup` makes that environment, since MediaPipe wants older packages than
this project has.
"""

import io
import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

import numpy as np

from lwbafa.types import FaceBox, Pixels, Points
from training.errors import TrainingError
from training.evaluate import overlap

ROOT = Path(__file__).resolve().parent.parent
PYTHON = ROOT / ".venv-rivals" / "bin" / "python"
WORKER = ROOT / "bench" / "rival_worker.py"

SAME_FACE_OVERLAP = 0.3
"""Of a mesh's box with that of the landmarks, to be of the same face."""


class MeshFinder:
    """MediaPipe's face mesh in another process."""

    def __init__(self, commands: IO[bytes], answers: IO[bytes]) -> None:
        self._commands, self._answers = commands, answers

    def find(self, pictures: Sequence[Pixels]) -> list[list[Points]]:
        """The points 478×2 of all faces found in each picture, in its pixels.

        Raises TrainingError if the process has ended.
        """
        packed = io.BytesIO()
        np.savez(packed, *pictures)
        data = packed.getvalue()
        try:
            self._commands.write(f"find {len(data)}\n".encode() + data)
            self._commands.flush()
        except BrokenPipeError as error:
            raise TrainingError("MediaPipe's process has ended") from error
        line = self._answers.readline()
        if not line:
            raise TrainingError("MediaPipe's process has ended")
        return [[np.array(mesh) for mesh in meshes] for meshes in json.loads(line)]


@contextmanager
def mesh_finder() -> Iterator[MeshFinder]:
    """Start MediaPipe, and end it. Raises TrainingError if it is not installed."""
    if not PYTHON.exists():
        raise TrainingError("MediaPipe is not installed: python -m bench.rivals --setup")
    with subprocess.Popen(  # noqa: S603
        [PYTHON, WORKER, "mediapipe"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # it tells of its insides
    ) as process:
        # Leaving closes its input, which ends it.
        yield MeshFinder(cast(IO[bytes], process.stdin), cast(IO[bytes], process.stdout))


def on_face(meshes: Sequence[Points], landmarks: Points) -> Points | None:
    """Of the meshes found in a picture, the one that lies on an annotated face."""
    truth = FaceBox.around(landmarks)
    best = max(meshes, key=lambda mesh: overlap(FaceBox.around(mesh), truth), default=None)
    if best is None or overlap(FaceBox.around(best), truth) <= SAME_FACE_OVERLAP:
        return None
    return best
