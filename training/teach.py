"""Label photographs that nobody has labelled: a source to train on, out of any folder.

    python -m training teach --photographs FOLDER --checkpoint model_store/NAME --data DIR \
        --true-source 300w/afw --evaluation-source 300w/helen/testset --out DIR/taught

`out` gets the faces as small pictures below `WFLW_images`, the list `list_Npt_taught.txt` of those
on which both teachers agree, `faces.jsonl` with what became of every photograph, from which a run
that was killed goes on, and `sheet.jpg` to look at.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from tqdm import tqdm

from lwbafa.aligner import FaceAligner
from lwbafa.errors import PhotographError
from lwbafa.imaging.photograph import Photograph
from lwbafa.markups import MARKUPS, Markup
from lwbafa.types import Pixels
from training.datasets import Face, landmark_count_of, load_faces
from training.errors import DatasetError
from training.face_store import packed
from training.leaks import LeakGuard
from training.linear_map import LinearMap
from training.mesh import fitted_map
from training.pictures import write_picture
from training.taught import DISAGREE, KEPT, LEAK, Records, replacing
from training.teacher import Opinion, Teacher
from training.worker import Worker, worker

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
LONGEST_PX = 1600
"""Longer photographs are reduced to it first."""

STORED_PX = 288
PORTION = 8
"""Photographs between two writings of what is done."""


class Photo(NamedTuple):
    """A photograph by its path below the folder, with its upright pixels."""

    name: str
    pixels: Pixels


def teach(
    photographs: Path,
    checkpoint: Path,
    data: Path,
    true_sources: Sequence[str],
    evaluation_sources: Sequence[str],
    out: Path,
    most_disagreement: float,
) -> None:
    """Label all faces of a folder in the checkpoint's markup, or go on where that was stopped.

    `most_disagreement` is in percent of the inter-ocular distance. Raises LoadError, DatasetError,
    RunError if `out` holds other labels, and TrainingError without MediaPipe.
    """
    files = _files(photographs, out)
    if not files:
        raise DatasetError(f"{photographs}: no photographs ({', '.join(SUFFIXES)})")
    aligner = FaceAligner.load(checkpoint)
    markup = aligner.checkpoint.markup
    settings = {
        "photographs": photographs.as_posix(),
        "checkpoint": f"{aligner.checkpoint.name} {aligner.checkpoint.manifest.version}",
        "true_sources": list(true_sources),
        "evaluation_sources": list(evaluation_sources),
        "most_disagreement": most_disagreement,
    }
    records = Records(out, settings)
    todo = [path for path in files if path.relative_to(photographs).as_posix() not in records.done]
    if todo:
        with worker("mediapipe") as mediapipe:
            guard = _guard(data, evaluation_sources)
            linear_map = _map(out / "map.npy", mediapipe, data, true_sources, markup)
            records.begin()
            with replacing(out / "map.npy") as draft, draft.open("wb") as file:
                np.save(file, linear_map.weights)
            teacher = Teacher(linear_map, aligner)
            school = _School(mediapipe, teacher, guard, markup, most_disagreement / 100, out)
            _label(photographs, todo, school, records)
    records.write_list(markup)
    records.draw(markup)
    print(records.summary())


def _label(root: Path, paths: Sequence[Path], school: "_School", records: Records) -> None:
    with tqdm(total=len(paths), desc="teaching", unit="photograph", mininterval=1) as bar:
        for start in range(0, len(paths), PORTION):
            photos = []
            for path in paths[start : start + PORTION]:
                name = path.relative_to(root).as_posix()
                try:
                    photos.append(Photo(name, _pixels(path)))
                except (PhotographError, OSError) as error:
                    records.add(name, {"error": str(error)})
            for photo, faces in school.label(photos):
                records.add(photo.name, {"faces": faces})
            bar.update(min(PORTION, len(paths) - start))
            bar.set_postfix(records.counts())


class _School:
    """What labels photographs, one portion after another."""

    def __init__(
        self,
        mediapipe: Worker,
        teacher: Teacher,
        guard: LeakGuard,
        markup: Markup,
        most_disagreement: float,
        out: Path,
    ) -> None:
        self._mediapipe, self._teacher, self._guard = mediapipe, teacher, guard
        self._markup, self._most_disagreement, self._out = markup, most_disagreement, out

    def label(self, photos: Sequence[Photo]) -> Iterator[tuple[Photo, list[dict[str, Any]]]]:
        """Each photograph with what became of its faces; those that are kept are written."""
        if not photos:
            return
        found = self._mediapipe.find([photo.pixels for photo in photos])
        for photo, meshes in zip(photos, found, strict=True):
            opinions = self._teacher.opinions(photo.pixels, meshes)
            yield photo, [self._judged(photo, n, opinion) for n, opinion in enumerate(opinions)]

    def _judged(self, photo: Photo, number: int, opinion: Opinion) -> dict[str, Any]:
        record: dict[str, Any] = {"disagreement": round(opinion.disagreement, 4)}
        corners = self._markup.outer_eye_corners
        near = self._guard.near(photo.pixels, opinion.points, corners)
        if near is not None:
            return record | {"verdict": LEAK, "near": near}
        if not opinion.disagreement <= self._most_disagreement:
            return record | {"verdict": DISAGREE}
        # Digits alone, so that faces of one photograph are known as such by their names.
        digest = int(hashlib.sha256(os.fsencode(photo.name)).hexdigest()[:13], 16)
        name = f"taught/{digest:016}_{number}.webp"
        face = Face(name, photo.pixels, opinion.points.astype(np.float32))
        square, points = packed(face, STORED_PX)
        write_picture(self._out / "WFLW_images" / name, square)
        return record | {"verdict": KEPT, "picture": name, "points": points.round(2).tolist()}


def _files(photographs: Path, out: Path) -> list[Path]:
    """The photographs of a folder; what an earlier run wrote into it is none of them."""
    pictures, drawn = (out / "WFLW_images").resolve(), (out / "sheet.jpg").resolve()
    return sorted(
        path
        for path in photographs.rglob("*")
        if path.suffix.lower() in SUFFIXES and path.is_file()
        if not (path.resolve().is_relative_to(pictures) or path.resolve() == drawn)
    )


def _pixels(path: Path) -> Pixels:
    pixels = Photograph.open(path).picture().pixels
    reduced = LONGEST_PX / max(pixels.shape[:2])
    if reduced >= 1:
        return pixels
    height, width = (max(1, round(side * reduced)) for side in pixels.shape[:2])
    return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


def _guard(data: Path, sources: Sequence[str]) -> LeakGuard:
    """A guard of evaluation faces, whatever the markup of each source."""
    by_count = {markup.landmark_count: markup for markup in MARKUPS.values()}
    faces: list[tuple[Face, tuple[int, int]]] = []
    for source in sources:
        count = landmark_count_of(data, source)
        if count not in by_count:
            raise DatasetError(f"{data / source}: {count} points are of no known markup")
        corners = by_count[count].outer_eye_corners
        faces += [(face, corners) for face in load_faces(data, [source], count)]
    return LeakGuard.of(faces)


def _map(
    path: Path, mediapipe: Worker, data: Path, sources: Sequence[str], markup: Markup
) -> LinearMap:
    """The map that an earlier run saved, or one fitted now."""
    if path.exists():
        return LinearMap(np.load(path))
    return fitted_map(mediapipe, load_faces(data, sources, markup.landmark_count))
