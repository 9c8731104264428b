"""Who is measured in `bench.rivals`: ours in this process, the others in an environment of theirs.

Only packages that bring their weights along take part: face-alignment, InsightFace and later
MediaPipes fetch theirs when they run.
"""

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
from tqdm import tqdm

from bench.aligner import served_aligner
from bench.engine import faces_per_second, label
from lwbafa.markups import WFLW_AS_68
from lwbafa.model_store import checkpoint_folder, checkpoint_names
from lwbafa.types import Pixels, Points
from proof.harness.photographs import FACE, photograph
from training.datasets import Face
from training.mesh import fitted_map
from training.worker import ENVIRONMENT, PYTHON, Worker, worker

# The last MediaPipe that carries its weights; face-recognition-models carries dlib's.
PACKAGES = ("dlib-bin==20.0.1.post1", "face-recognition-models==0.3.0", "mediapipe==0.10.21")

AS_68 = {68: tuple(range(68)), 98: WFLW_AS_68}
"""The 68 points among those of a markup, by how many it has."""

MEDIAPIPE_68 = (
    # jaw
    *((127,), (234,), (93,), (132, 58), (58, 172), (136,), (150,), (176,), (152,)),
    *((400,), (379,), (365,), (397, 288), (361,), (323,), (454,), (356,)),
    # brows
    *((70,), (63,), (105,), (66,), (107,), (336,), (296,), (334,), (293,), (300,)),
    # nose
    *((168, 6), (197, 195), (5,), (4,), (75,), (97,), (2,), (326,), (305,)),
    # eyes
    *((33,), (160,), (158,), (133,), (153,), (144,)),
    *((362,), (385,), (387,), (263,), (373,), (380,)),
    # outer and inner lips
    *((61,), (39,), (37,), (0,), (267,), (269,), (291,), (321,), (314,), (17,), (84,), (91,)),
    *((78,), (82,), (13,), (312,), (308,), (317,), (14,), (87,)),
)
"""The nearest to the 68 points among MediaPipe's 478, as Yan's Mediapipe_2_Dlib_Landmarks has them.

Of two, the mean is taken. The meshes differ: along the jaw there is no exact counterpart.
"""

NEAR_PX = 256
"""Enough to find a face near the camera. MediaPipe's detector, for such faces, sees 128 px."""

Reduce = Callable[[Points], Points]
"""A library's own points of a face, …×2, to the 68."""


class Contender(Protocol):
    """A library that finds and aligns faces, ours among others."""

    @property
    def name(self) -> str:
        """What tables call it."""
        ...

    def landmarks(self, seconds: float) -> float:
        """Faces per second on the photograph, the face's place being known."""
        ...

    def photographs(self, seconds: float) -> float:
        """Photographs per second, finding the face included."""
        ...

    def find(self, pictures: Sequence[Pixels]) -> list[list[Points]]:
        """The points 68×2 of all faces found in every picture, in pixels."""
        ...


class Ours:
    """The service's aligner, one photograph at a time and without HTTP.

    Searches as finely as it does by itself, or at `detection_px`.
    """

    def __init__(self, checkpoint: Path, detection_px: int | None = None) -> None:
        self._aligner = served_aligner(checkpoint)
        self._align = partial(self._aligner.align, detection_px=detection_px)
        self._aligner.engine.warm_up(1)
        self._as_68 = list(AS_68[self._aligner.checkpoint.markup.landmark_count])
        self.name = f"{self._aligner.checkpoint.name}, {label(self._aligner.engine)}"
        if detection_px:
            self.name += f", searched at {detection_px} px"

    def landmarks(self, seconds: float) -> float:
        return faces_per_second(partial(self._align, photograph(), [FACE]), 1, seconds)

    def photographs(self, seconds: float) -> float:
        return faces_per_second(partial(self._align, photograph()), 1, seconds)

    def find(self, pictures: Sequence[Pixels]) -> list[list[Points]]:
        return [
            [face.landmarks[self._as_68] for face in self._align(picture)]
            for picture in tqdm(pictures, desc=self.name, unit="face", mininterval=1)
        ]


class Rival:
    """Another library, and what makes the 68 points of its own."""

    def __init__(self, name: str, worker: Worker, reduce: Reduce) -> None:
        self.name = name
        self._worker = worker
        self._reduce = reduce
        worker.tell("photograph", [photograph()])
        ((points,),) = worker.find([photograph()])
        self._reduces_per_second = faces_per_second(partial(reduce, points), 1, 0.1)

    def landmarks(self, seconds: float) -> float:
        return self._per_second("landmarks", seconds)

    def photographs(self, seconds: float) -> float:
        return self._per_second("photographs", seconds)

    def find(self, pictures: Sequence[Pixels]) -> list[list[Points]]:
        return [[self._reduce(face) for face in found] for found in self._worker.find_all(pictures)]

    def _per_second(self, what: str, seconds: float) -> float:
        """Faces a second once the 68 points are made of each."""
        per_second = float(self._worker.ask(f"{what} {seconds}"))
        return 1 / (1 / per_second + 1 / self._reduces_per_second)


@contextmanager
def contenders(checkpoint: Path, training: Sequence[Face] = ()) -> Iterator[list[Contender]]:
    """Ours, the checkpoint first, then also searched coarsely; its siblings; and the others.

    The others are left out if they are not installed.

    MediaPipe's points go through a linear map fitted on the `training` faces; without them, the
    nearest are taken. Raises LoadError, DatasetError for faces that no map can be fitted on, and
    TrainingError if a process ends.
    """
    first, *siblings = _with_siblings(checkpoint)
    found: list[Contender] = [Ours(first), Ours(first, NEAR_PX), *map(Ours, siblings)]
    with ExitStack() as processes:
        if PYTHON.exists():
            dlib = processes.enter_context(worker("dlib"))
            found.append(Rival("dlib 20.0.1", dlib, np.asarray))
            mediapipe = processes.enter_context(worker("mediapipe"))
            if training:
                name, reduce = "through a linear map", through_map(mediapipe, training)
            else:
                name, reduce = "nearest of its 478 points", nearest
            found.append(Rival(f"MediaPipe 0.10.21, {name}", mediapipe, reduce))
        yield found


def _with_siblings(checkpoint: Path) -> list[Path]:
    others = (checkpoint_folder(name) for name in checkpoint_names())
    return [checkpoint, *(other for other in others if not other.samefile(checkpoint))]


def nearest(mesh: Points) -> Points:
    """The nearest of MediaPipe's 478 points to the 68."""
    return np.array([mesh[list(some)].mean(axis=0) for some in MEDIAPIPE_68])


def through_map(mediapipe: Worker, training: Sequence[Face]) -> Reduce:
    """MediaPipe's 478 points through one linear map, fitted on annotated faces, to the 68."""
    linear_map = fitted_map(mediapipe, training)
    as_68 = list(AS_68[len(training[0].landmarks)])
    return lambda mesh: linear_map.points(mesh)[as_68]


def set_up() -> None:
    """Install the others into an environment of their own."""
    subprocess.run([sys.executable, "-m", "venv", ENVIRONMENT], check=True)
    subprocess.run([PYTHON, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
