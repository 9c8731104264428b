"""What a user would pick instead: speed and accuracy beside ours, on the same pictures.

    python -m bench.rivals --setup
    python -m bench.rivals [--data DIR]

`--setup` installs the others into `.venv-rivals`. Accuracy needs the Helen test faces of 300-W, and
takes WFLW's held-back list where it is at hand: DIR holds `300w/` and `wflw/`. A user who has the
training faces of a set would put MediaPipe's points through a linear map to that set's: with the
training faces at hand, so does the bench.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
from numpy.typing import NDArray

from bench.contenders import AS_68, NEAR_PX, Contender, Ours, contenders, set_up
from bench.report import (
    Cell,
    Report,
    Spread,
    checkpoint_option,
    interleaved,
    print_machine,
    rounds_option,
)
from lwbafa.markups import MARKUP_68
from lwbafa.types import Points
from training.datasets import Face, load_faces
from training.mesh import on_face
from training.metrics import landmark_errors

JAW = slice(0, 17)


class FaceSet(NamedTuple):
    """Annotated faces: the sources below the data's folder, and how many points they have."""

    test: str
    training: tuple[str, ...]
    landmark_count: int

    def test_faces(self, data: Path) -> list[Face]:
        """The faces to measure on, with the 68 points. Raises DatasetError."""
        as_68 = list(AS_68[self.landmark_count])
        return [
            face._replace(landmarks=face.landmarks[as_68])
            for face in load_faces(data, [self.test], self.landmark_count)
        ]

    def training_faces(self, data: Path) -> list[Face]:
        """The faces to fit on, with all points; none if they are not at hand."""
        at_hand = all((data / source).exists() for source in self.training)
        return load_faces(data, self.training, self.landmark_count) if at_hand else []


WFLW = "wflw/WFLW_annotations/list_98pt_rect_attr"
SETS = {
    "Helen test": FaceSet(
        "300w/helen/testset", ("300w/afw", "300w/helen/trainset", "300w/lfpw/trainset"), 68
    ),
    "WFLW held back": FaceSet(f"{WFLW}_val.txt", (f"{WFLW}_train.txt",), 98),
}


def measure(checkpoint: Path, rounds: int, seconds: float, data: Path | None = None) -> Report:
    """Speed of all; each is run for `seconds` in every round.

    With `data`, MediaPipe's points go through a map fitted on the first set's training faces.
    """
    training = next(iter(SETS.values())).training_faces(data) if data else []
    with contenders(checkpoint, training) as all_of_them:
        speed = interleaved(
            rounds,
            {
                **{f"{c.name} landmarks": partial(c.landmarks, seconds) for c in all_of_them},
                **{f"{c.name} photographs": partial(c.photographs, seconds) for c in all_of_them},
            },
            "rivals",
        )
    ours = all_of_them[0].name
    rows: list[dict[str, Cell]] = [
        {
            "library": c.name,
            "landmarks alone": Spread.of(speed[f"{c.name} landmarks"]),
            "ratio alone": Spread.of_ratios(
                speed[f"{c.name} landmarks"], speed[f"{ours} landmarks"]
            ),
            "with its detector": Spread.of(speed[f"{c.name} photographs"]),
            "ratio with it": Spread.of_ratios(
                speed[f"{c.name} photographs"], speed[f"{ours} photographs"]
            ),
        }
        for c in all_of_them
    ]
    note = (
        "On the photograph of 512 × 512 with one face, one at a time: the face's place known "
        "(MediaPipe: a film that stands still), then found by each library's own detector. Ours "
        f"sees all pixels, or {NEAR_PX} × {NEAR_PX}; MediaPipe's, for near faces, 128 × 128. "
        f"Median (least–greatest) of {rounds} rounds, ratio within each. Each takes as many cores "
        "as it does by itself: dlib one."
    )
    title = "What a user would pick instead, faces per second"
    return Report(title, f"{note} {_absent(all_of_them)}", rows)


def measure_accuracy(checkpoint: Path, data: Path) -> Report:
    """Errors of all on the sets that lie below `data`. Raises DatasetError if one is broken."""
    rows: list[dict[str, Cell]] = []
    for name, of_set in SETS.items():
        if not (data / of_set.test).exists():
            continue
        faces = of_set.test_faces(data)
        with contenders(checkpoint, of_set.training_faces(data)) as all_of_them:
            pictures = [face.image for face in faces]
            errors = {c.name: errors_of(c.find(pictures), faces) for c in all_of_them}
        rows += [
            {
                "faces": f"{name}, {len(faces)}",
                "library": library,
                **accuracy(of_one, [*errors.values()]),
            }
            for library, of_one in errors.items()
        ]
    note = (
        "Faces found by each library's own detector. NME over the inter-ocular distance, of the "
        "faces it found, of those that all found, and of these without the jaw. MediaPipe's linear "
        "map is a ridge regression fitted on each set's own training faces, none of which are "
        "measured; where these are not at hand, the nearest of its points are taken, and along "
        "the jaw there are no exact counterparts. dlib's card says that its model was trained on "
        "300-W, not on which part: it errs as little on Helen's training faces as on its test "
        "faces, so it has most likely seen both. WFLW is no part of 300-W; of its 98 points, the "
        "68 were measured."
    )
    return Report("What a user would pick instead, accuracy", note, rows)


def errors_of(found: Sequence[Sequence[Points]], faces: Sequence[Face]) -> NDArray[np.float64]:
    """Each landmark's error P×68 as a share of the inter-ocular distance; NaN: not found.

    `found` are all faces in each picture: the one that lies on the annotated face counts.
    """
    errors = np.full((len(faces), MARKUP_68.landmark_count), np.nan)
    for row, candidates, face in zip(errors, found, faces, strict=True):
        if (points := on_face(candidates, face)) is not None:
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


def _absent(present: Sequence[Contender]) -> str:
    """Who was not measured, and why."""
    reason = (
        "face-alignment and InsightFace are not measured: their packages hold no weights, which "
        "are fetched from elsewhere when they run."
    )
    missing = " The others are not installed: python -m bench.rivals --setup."
    alone = all(isinstance(contender, Ours) for contender in present)
    return reason + missing if alone else reason


@click.command()
@checkpoint_option
@rounds_option
@click.option("--setup", is_flag=True, help="Install the others, and no more.")
@click.option("--seconds", default=3.0, show_default=True, help="Of every measurement.")
@click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder that holds 300w/ and wflw/.",
)
def main(checkpoint: Path, rounds: int, setup: bool, seconds: float, data: Path | None) -> None:
    """What a user would pick instead."""
    if setup:
        set_up()
        return
    print_machine()
    print(measure(checkpoint, rounds, seconds, data).as_text())
    if data:
        print(measure_accuracy(checkpoint, data).as_text())


if __name__ == "__main__":
    main()
