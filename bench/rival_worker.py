"""Runs another library in its own environment, at the command of `bench.rivals`.

    PYTHON rival_worker.py dlib|mediapipe

Imports nothing of the project. Standard input brings the pictures, as the length in bytes of an
.npz on a line, then the .npz: a photograph for speed, then pictures, all H×W×3 uint8 RGB. Then a
command a line, answered by a line of JSON: `landmarks SECONDS` and `photographs SECONDS` with a
speed on the photograph, `find` with the points of all faces of every picture.
"""

import importlib.util
import io
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Points = list[tuple[float, float]]

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
"""The 68 points among MediaPipe's 478, as Yan's Mediapipe_2_Dlib_Landmarks has them.

Of two, the mean is taken. The meshes differ: along the jaw there is no exact counterpart.
"""

MOST_FACES = 4


class Dlib:
    """dlib's HOG detector and its regression trees of 68 points, as its example runs them."""

    def __init__(self) -> None:
        import dlib  # type: ignore[import-not-found]

        self._find = dlib.get_frontal_face_detector()
        # Not imported: the package asks for a module that newer environments do not have.
        package = importlib.util.find_spec("face_recognition_models")
        assert package
        assert package.origin
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
        """All faces of a picture, reduced to the 68 points."""
        size = np.array(picture.shape[1::-1])
        found = self._single.process(picture).multi_face_landmarks or []
        meshes = [np.array([(p.x, p.y) for p in face.landmark]) * size - 0.5 for face in found]
        return [
            [tuple(mesh[list(some)].mean(axis=0).tolist()) for some in MEDIAPIPE_68]
            for mesh in meshes
        ]


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
    photograph, *pictures = np.load(io.BytesIO(stdin.read(int(stdin.readline())))).values()
    landmarks_alone = library.landmarks_alone(photograph)
    for line in stdin:
        command, *seconds = line.decode().split()
        answer: Any
        if command == "landmarks":
            answer = per_second(landmarks_alone, float(seconds[0]))
        elif command == "photographs":
            answer = per_second(lambda: library.faces(photograph), float(seconds[0]))
        else:
            answer = [library.faces(picture) for picture in pictures]
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
