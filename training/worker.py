"""Other libraries that find faces, each in a process of an environment of their own.

`python -m bench.rivals --setup` makes that environment, since MediaPipe wants older packages than
this project has. The bench measures them, and MediaPipe teaches in `training.teach`.
"""

import io
import json
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from tqdm import tqdm

from lwbafa.types import Pixels, Points
from training.errors import TrainingError

ENVIRONMENT = Path(__file__).resolve().parent.parent / ".venv-rivals"
PYTHON = ENVIRONMENT / "bin" / "python"
WORKER = Path(__file__).with_name("rival_worker.py")

PORTION = 16
"""Pictures sent to a process at once."""


class Worker:
    """Another library in another process; `training.rival_worker` tells what it obeys."""

    def __init__(self, library: str, process: "subprocess.Popen[bytes]", said: IO[bytes]) -> None:
        """`said`: the file that the process writes its errors to."""
        self._library, self._process, self._said = library, process, said

    def find(self, pictures: Sequence[Pixels]) -> list[list[Points]]:
        """The library's own points of all faces found in each picture, in its pixels.

        Raises TrainingError if the process has ended.
        """
        answer = self.ask("find", pictures)
        return [[np.array(points) for points in found] for found in answer]

    def find_all(self, pictures: Sequence[Pixels]) -> list[list[Points]]:
        """As `find`, for any number of pictures, with a progress bar."""
        found: list[list[Points]] = []
        with tqdm(total=len(pictures), desc=self._library, unit="face", mininterval=1) as bar:
            for start in range(0, len(pictures), PORTION):
                portion = pictures[start : start + PORTION]
                found += self.find(portion)
                bar.update(len(portion))
        return found

    def ask(self, command: str, pictures: Sequence[Pixels] | None = None) -> Any:
        """What the process answers. Raises TrainingError if it has ended."""
        self.tell(command, pictures)
        line = cast(IO[bytes], self._process.stdout).readline()
        if not line:
            raise self._ended()
        return json.loads(line)

    def tell(self, command: str, pictures: Sequence[Pixels] | None = None) -> None:
        """Send a command that has no answer. Raises TrainingError if the process has ended."""
        data = b"" if pictures is None else _packed(pictures)
        line = command if pictures is None else f"{command} {len(data)}"
        try:
            commands = cast(IO[bytes], self._process.stdin)
            commands.write(f"{line}\n".encode() + data)
            commands.flush()
        except BrokenPipeError as error:
            raise self._ended() from error

    def _ended(self) -> TrainingError:
        self._process.wait()
        self._said.seek(0)
        last = self._said.read().decode(errors="replace").strip().splitlines()[-1:]
        return TrainingError(": ".join([f"the process of {self._library} has ended", *last]))


@contextmanager
def worker(library: str) -> Iterator[Worker]:
    """Start `mediapipe` or `dlib`, and end it. Raises TrainingError if they are not installed."""
    if not PYTHON.exists():
        raise TrainingError(f"{library} is not installed: python -m bench.rivals --setup")
    with tempfile.TemporaryFile() as said:  # MediaPipe tells of its insides
        process = subprocess.Popen(  # noqa: S603
            [PYTHON, WORKER, library], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said
        )
        try:
            yield Worker(library, process, said)
        finally:
            # Its input's end ends it. What a dead one did not take cannot be flushed either.
            with suppress(BrokenPipeError):
                cast(IO[bytes], process.stdin).close()
            process.wait()
            cast(IO[bytes], process.stdout).close()


def _packed(pictures: Sequence[Pixels]) -> bytes:
    file = io.BytesIO()
    np.savez(file, *pictures)
    return file.getvalue()
