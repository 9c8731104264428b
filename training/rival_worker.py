"""Runs another library in its own environment, at the command of `training.worker`.

    PYTHON rival_worker.py dlib|mediapipe

Imports nothing of the project. Standard input brings a command a line. `photograph BYTES` and
`find BYTES` are followed by an .npz of that length that holds pictures, H×W×3 uint8 RGB: the one
for speed, which has no answer, or those to find all faces in, answered by a line of JSON with their
points in pixels, picture by picture. `landmarks SECONDS` and `photographs SECONDS` are answered by
a speed on the photograph.
"""

import importlib.util
import io
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Points = list[tuple[float, float]]

MOST_FACES = 4


class Dlib:
    """dlib's HOG detector and its regression trees of 68 points, as its example runs them."""

    def __init__(self) -> None:
        import dlib  # type: ignore[import-not-found]

        self._find = dlib.get_frontal_face_detector()
        # Not imported: the package asks for a module that newer environments do not have.
        package = importlib.util.find_spec("face_recognition_models")
        if package is None or package.origin is None:
            raise ModuleNotFoundError("face_recognition_models is not installed")
        model = Path(package.origin).parent / "models" / "shape_predictor_68_face_landmarks.dat"
        self._predict = dlib.shape_predictor(str(model))

    def landmarks_alone(self, photograph: Image) -> Callable[[], Any]:
        """Align the photograph's face again and again, its box given."""
        (box,) = self._find(photograph, 0)
        return lambda: self._predict(photograph, box)

    def faces(self, picture: Image) -> list[Points]:
        """All faces of a picture, 68 points each."""
        predictions = [self._predict(picture, box) for box in self._find(picture, 0)]
        return [[(point.x, point.y) for point in found.parts()] for found in predictions]


class MediaPipe:
    """Face Mesh with refined landmarks; its detector finds the faces in single pictures."""

    def __init__(self) -> None:
        from mediapipe.python.solutions.face_mesh import (  # type: ignore[import-not-found]
            FaceMesh,
        )

        self._single = FaceMesh(
            static_image_mode=True, max_num_faces=MOST_FACES, refine_landmarks=True
        )
        self._video = FaceMesh(static_image_mode=False, refine_landmarks=True)

    def landmarks_alone(self, photograph: Image) -> Callable[[], Any]:
        """Align again and again as in a film that stands still, in which nothing is detected."""
        return lambda: self._video.process(photograph)

    def faces(self, picture: Image) -> list[Points]:
        """All faces of a picture, 478 points each."""
        size = np.array(picture.shape[1::-1])
        found = self._single.process(picture).multi_face_landmarks or []
        meshes = [np.array([(p.x, p.y) for p in face.landmark]) * size - 0.5 for face in found]
        return [mesh.round(3).tolist() for mesh in meshes]


def per_second(run: Callable[[], object], seconds: float) -> float:
    """Passes a second; the first is not counted."""
    run()
    passes, started = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - started) < seconds:
        run()
        passes += 1
    return passes / elapsed


def main() -> None:
    """Obey until standard input ends."""
    libraries: dict[str, Callable[[], Dlib | MediaPipe]] = {"dlib": Dlib, "mediapipe": MediaPipe}
    library = libraries[sys.argv[1]]()
    stdin = sys.stdin.buffer
    for line in stdin:
        command, argument = line.decode().split()
        answer: Any
        if command in ("photograph", "find"):
            pictures = list(np.load(io.BytesIO(stdin.read(int(argument)))).values())
        if command == "photograph":
            (photograph,) = pictures
            landmarks_alone = library.landmarks_alone(photograph)
            continue
        if command == "find":
            answer = [library.faces(picture) for picture in pictures]
        elif command == "landmarks":
            answer = per_second(landmarks_alone, float(argument))
        else:
            answer = per_second(partial(library.faces, photograph), float(argument))
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
