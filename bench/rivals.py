"""What a user would pick instead: speed and accuracy beside ours, on the same pictures.

    python -m bench.rivals --setup
    python -m bench.rivals [--data DIR]

`--setup` installs the others into `.venv-rivals`, an environment of their own, since they want
older versions of what the service uses. Only packages that bring their weights along take part:
face-alignment, InsightFace and later MediaPipes fetch theirs when they run.
Accuracy needs the Helen test faces of 300-W, and takes WFLW's held-back list where it is at hand:
DIR holds `300w/` and `wflw/`.
"""

import io
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from app.settings import ROOT, read_settings
from bench.engine import faces_per_second, label
from bench.report import Cell, Report, Spread, interleaved, parser, print_machine
from lwbafa.checkpoint import INPUT_PX, load_checkpoint
from lwbafa.detection.centerface import CenterFace
from lwbafa.engine.choose import create_engine
from lwbafa.imaging.crop import Crop
from lwbafa.markups import MARKUP_68
from lwbafa.types import FaceBox, Pixels, Points
from proof.harness.photographs import FACE, photograph
from training.datasets import Face, load_faces
from training.evaluate import TEST_SOURCES, overlap
from training.metrics import landmark_errors

ENVIRONMENT = ROOT / ".venv-rivals"
PYTHON = ENVIRONMENT / "bin" / "python"
# The last MediaPipe that carries its weights; face-recognition-models carries dlib's.
PACKAGES = ("dlib-bin==20.0.1.post1", "face-recognition-models==0.3.0", "mediapipe==0.10.21")
RIVALS = {"dlib": "dlib 20.0.1, 68 points", "mediapipe": "MediaPipe 0.10.21, 478 points"}
SAME_FACE_OVERLAP = 0.3
JAW = slice(0, 17)

WFLW_68 = (
    *range(0, 33, 2),  # jaw
    *(*range(33, 38), *range(42, 47)),  # brows, their upper edges
    *range(51, 60),  # nose
    *(60, 61, 63, 64, 65, 67, 68, 69, 71, 72, 73, 75),  # eyes
    *range(76, 96),  # lips
)
"""300-W's 68 points among WFLW's 98."""

SETS = {
    "Helen test": (TEST_SOURCES[0], 68, tuple(range(68))),
    "WFLW held back": ("wflw/WFLW_annotations/list_98pt_rect_attr_val.txt", 98, WFLW_68),
}
"""Where the faces lie, how many points they have, and which of these are the 68."""

Pictures = Sequence[Pixels]


class Contender(Protocol):
    """A library that finds and aligns faces, ours among others."""

    def landmarks(self, seconds: float) -> float:
        """Faces per second on the photograph, the face's place being known."""
        ...

    def photographs(self, seconds: float) -> float:
        """Photographs per second, finding the face included."""
        ...

    def find(self) -> list[list[Points]]:
        """The points 68×2 of all faces found in every picture, in pixels."""
        ...


class Ours:
    """The service's detector, crop and engine, one photograph at a time and without HTTP."""

    def __init__(self, checkpoint_dir: Path, pictures: Pictures) -> None:
        settings = read_settings()
        cv2.setNumThreads(1)  # as the service does
        self._engine = create_engine(load_checkpoint(checkpoint_dir), settings)
        self._engine.warm_up(1)
        self._detector = CenterFace.of_settings(settings)
        self._pictures = pictures
        self._photograph = photograph()
        self.name = f"LW-BAFA, {label(self._engine)}, 68 points"

    def landmarks(self, seconds: float) -> float:
        return faces_per_second(lambda: self._align(self._photograph, FACE), 1, seconds)

    def photographs(self, seconds: float) -> float:
        return faces_per_second(lambda: self._faces(self._photograph), 1, seconds)

    def find(self) -> list[list[Points]]:
        return [self._faces(picture) for picture in self._pictures]

    def _faces(self, picture: Pixels) -> list[Points]:
        return [self._align(picture, found.box) for found in self._detector.detect(picture)]

    def _align(self, picture: Pixels, box: FaceBox) -> Points:
        crop = Crop.around(box)
        return crop.to_image(self._engine.align([crop.cut(picture, INPUT_PX)])[0].points)


class Rival:
    """Another library, in a process of its own environment; see `bench.rival_worker`."""

    def __init__(self, process: "subprocess.Popen[bytes]", pictures: Pictures) -> None:
        self._process = process
        packed = io.BytesIO()
        np.savez(packed, photograph(), *pictures)
        self._write(f"{packed.tell()}\n".encode() + packed.getvalue())

    def landmarks(self, seconds: float) -> float:
        return float(self._ask(f"landmarks {seconds}"))

    def photographs(self, seconds: float) -> float:
        return float(self._ask(f"photographs {seconds}"))

    def find(self) -> list[list[Points]]:
        return [[np.array(face) for face in picture] for picture in self._ask("find")]

    def _ask(self, command: str) -> Any:
        self._write(f"{command}\n".encode())
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a rival ended at the command {command!r}")
        return json.loads(line)

    def _write(self, data: bytes) -> None:
        assert self._process.stdin
        self._process.stdin.write(data)
        self._process.stdin.flush()


def measure(checkpoint_dir: Path, rounds: int, seconds: float) -> Report:
    """Speed of all; each is run for `seconds` in every round."""
    with contenders(checkpoint_dir, []) as all_of_them:
        speed = interleaved(
            rounds,
            {
                **{f"{name} landmarks": partial(c.landmarks, seconds) for name, c in all_of_them},
                **{
                    f"{name} photographs": partial(c.photographs, seconds)
                    for name, c in all_of_them
                },
            },
            "rivals",
        )
    ours = all_of_them[0][0]
    rows: list[dict[str, Cell]] = [
        {
            "library": name,
            "landmarks alone": Spread.of(speed[f"{name} landmarks"]),
            "ratio alone": Spread.of_ratios(speed[f"{name} landmarks"], speed[f"{ours} landmarks"]),
            "with its detector": Spread.of(speed[f"{name} photographs"]),
            "ratio with it": Spread.of_ratios(
                speed[f"{name} photographs"], speed[f"{ours} photographs"]
            ),
        }
        for name, _ in all_of_them
    ]
    note = (
        "On the photograph of 512 × 512 with one face, one at a time: the face's place known "
        "(MediaPipe: a film that stands still), then found by each library's own detector; median "
        f"(least–greatest) of {rounds} rounds, ratio within each. Each takes as many cores as it "
        "does by itself: dlib one."
    )
    title = "What a user would pick instead, faces per second"
    return Report(title, f"{note} {_absent(all_of_them)}", rows)


def measure_accuracy(checkpoint_dir: Path, data: Path) -> Report:
    """Errors of all on the sets that lie below `data`. Raises DatasetError if one is broken."""
    rows: list[dict[str, Cell]] = []
    for name, (source, count, indices) in SETS.items():
        if not (data / source).exists():
            continue
        faces = [
            face._replace(landmarks=face.landmarks[list(indices)])
            for face in load_faces(data, [source], count)
        ]
        with contenders(checkpoint_dir, [face.image for face in faces]) as all_of_them:
            errors = {library: errors_of(c.find(), faces) for library, c in all_of_them}
        rows += [
            {
                "faces": f"{name}, {len(faces)}",
                "library": library,
                **accuracy(of_one, [*errors.values()]),
            }
            for library, of_one in errors.items()
        ]
    note = (
        "Faces found by each library's own detector. NME over the inter-ocular distance: of the "
        "faces it found, of those that all found, and of these without the jaw. MediaPipe has "
        "other points, above all along the jaw: the nearest were taken. LW-BAFA, as shipped, saw "
        "none of these faces. dlib's card says that its model was trained on 300-W, not on which "
        "part: it errs as little on Helen's training faces as on its test faces, so it has most "
        "likely seen both. WFLW is no part of 300-W; of its 98 points, the 68 were measured."
    )
    return Report("What a user would pick instead, accuracy", note, rows)


@contextmanager
def contenders(checkpoint_dir: Path, pictures: Pictures) -> Iterator[list[tuple[str, Contender]]]:
    """Ours, and the others if they are installed, by name."""
    ours = Ours(checkpoint_dir, pictures)
    found: list[tuple[str, Contender]] = [(ours.name, ours)]
    with ExitStack() as processes:
        for library, name in RIVALS.items() if PYTHON.exists() else ():
            process = subprocess.Popen(
                [PYTHON, ROOT / "bench" / "rival_worker.py", library],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # MediaPipe tells of its insides
            )
            processes.enter_context(process)  # closes its input, which ends it
            found.append((name, Rival(process, pictures)))
        yield found


def errors_of(found: Sequence[Sequence[Points]], faces: Sequence[Face]) -> NDArray[np.float64]:
    """Each landmark's error P×68 as a share of the inter-ocular distance; NaN: not found.

    `found` are all faces in each picture: the one that lies on the annotated face counts.
    """
    errors = np.full((len(faces), MARKUP_68.landmark_count), np.nan)
    for row, candidates, face in zip(errors, found, faces, strict=True):
        truth = FaceBox.around(face.landmarks)
        overlaps = [overlap(FaceBox.around(points), truth) for points in candidates]
        if overlaps and max(overlaps) > SAME_FACE_OVERLAP:
            points = candidates[int(np.argmax(overlaps))]
            row[:] = landmark_errors(points, face.landmarks, MARKUP_68)
    return errors


def accuracy(errors: NDArray[np.float64], of_all: Sequence[NDArray[np.float64]]) -> dict[str, Cell]:
    """One contender's columns; `of_all` are the errors of every contender."""
    found = ~np.isnan(errors[:, 0])
    by_all = np.all([~np.isnan(others[:, 0]) for others in of_all], axis=0)
    return {
        "missed": str((~found).sum()),
        "NME %": 100 * float(errors[found].mean()),
        "NME %, found by all": 100 * float(errors[by_all].mean()),
        "without jaw": 100 * float(np.delete(errors[by_all], JAW, axis=1).mean()),
    }


def _absent(present: Sequence[object]) -> str:
    """Who was not measured, and why."""
    reason = (
        "face-alignment and InsightFace are not measured: their packages hold no weights, which "
        "are fetched from elsewhere when they run."
    )
    missing = " The others are not installed: python -m bench.rivals --setup."
    return reason if len(present) > 1 else reason + missing


def set_up() -> None:
    """Install the others into an environment of their own."""
    subprocess.run([sys.executable, "-m", "venv", ENVIRONMENT], check=True)
    subprocess.run([PYTHON, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)


def main() -> None:
    """Command line: print the table, or install the others."""
    options = parser("What a user would pick instead.")
    options.add_argument("--setup", action="store_true", help="install the others, and no more")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--seconds", type=float, default=3, help="of every measurement")
    options.add_argument("--data", type=Path, help="folder that holds 300w/ and wflw/")
    arguments = options.parse_args()
    if arguments.setup:
        set_up()
        return
    print_machine()
    print(measure(arguments.checkpoint, arguments.rounds, arguments.seconds).as_text())
    if arguments.data:
        print(measure_accuracy(arguments.checkpoint, arguments.data).as_text())


if __name__ == "__main__":
    main()
