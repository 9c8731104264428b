"""From a photograph to the landmarks of its faces: what a user of the library calls.

decode → detect → crop │ network │ map back
prepare                │ engine  │ finish
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from lwbafa.checkpoint import Checkpoint
from lwbafa.detection import Detection
from lwbafa.detection.choose import DetectorOptions, create_detector
from lwbafa.detection.search import FaceSearch
from lwbafa.engine import Alignment, Engine
from lwbafa.engine.choose import EngineOptions, create_engine
from lwbafa.errors import InferenceFailed, InvalidBox
from lwbafa.face import AlignedFace
from lwbafa.imaging.crop import Crop
from lwbafa.imaging.photograph import Photograph, Picture, Source
from lwbafa.model_store import DEFAULT_CHECKPOINT, checkpoint_folder
from lwbafa.timings import Timings
from lwbafa.types import FaceBox, Pixels

LARGEST_BOX = 4.0
"""A box may reach past the picture, but is at most this many times the picture's longer side."""

DECODED_TO_SEARCH = 2
"""Pixels along a side that a JPEG is decoded to, over those that the detector reads of them.

With as many as it reads its boxes differ from those of the full photograph. A crop has enough with
those it reads: points move by 0.09 % of the inter-ocular distance on average, with no more error.
"""

BoxAndScore = tuple[FaceBox, float | None]
"""A face's box in the upright photograph and the detector's score, None for a caller's box."""


class Prepared(NamedTuple):
    """A photograph's faces before the network: boxes, crops, and each crop's pixels S×S×3.

    `found` is how many faces were detected, which may be more; None if the boxes were given.
    `picture_size` is the upright photograph's width and height.
    """

    boxes: list[BoxAndScore]
    crops: list[Crop]
    pixels: list[Pixels]
    found: int | None
    picture_size: tuple[int, int]


class FaceAligner:
    """A checkpoint, a detector and an engine, ready to align photographs.

    Safe to call from several threads: photographs are prepared side by side, and the engine takes
    the faces of one photograph at a time.
    """

    def __init__(self, checkpoint: Checkpoint, detector: FaceSearch, engine: Engine) -> None:
        self.checkpoint = checkpoint
        self.detector = detector
        self.engine = engine
        self._input_px = checkpoint.manifest.input.size_px
        self._crop_scale = checkpoint.manifest.box_convention.crop_scale
        self._engine_turn = Lock()

    @classmethod
    def load(
        cls,
        checkpoint: str | Path = DEFAULT_CHECKPOINT,
        *,
        detector: DetectorOptions = DetectorOptions(),  # noqa: B008
        engine: EngineOptions = EngineOptions(),  # noqa: B008
    ) -> Self:
        """An aligner for a checkpoint of the model store, by its name, or for a folder.

        The engine is the fastest that keeps the accuracy on this machine. The detector has as many
        threads as the engine where it is not told. Raises LoadError.
        """
        loaded = Checkpoint.load(checkpoint_folder(checkpoint))
        detector = replace(detector, threads=detector.threads or engine.threads)
        return cls(loaded, create_detector(detector), create_engine(loaded, engine))

    def align(
        self,
        photograph: Source | Photograph,
        boxes: Sequence[FaceBox | Sequence[float]] | None = None,
        max_faces: int = 16,
        timings: Timings | None = None,
        detection_px: int | None = None,
    ) -> list[AlignedFace]:
        """The faces of a path, an encoded image or upright RGB pixels H×W×3 (uint8), or one opened.

        Without `boxes` the `max_faces` largest faces are found and answered, largest first; with
        them, those faces in their order. A box is left, top, width, height in upright pixels,
        around the landmarks, and the degrees that it is turned, if it is. `timings` are filled with
        what each stage took. `detection_px` is the longer side at which faces are searched, the
        detector's own without it: more finds smaller faces and takes longer. Raises
        PhotographError, OSError for a path, InvalidBox, InferenceFailed, DeviceLost, and ValueError
        for an array that is no picture, for too fine a search and for `max_faces` below 1.
        """
        refuse_no_faces(max_faces)
        opened = photograph if isinstance(photograph, Photograph) else Photograph.open(photograph)
        timings = timings or Timings()
        prepared = self.prepare(opened, boxes, max_faces, timings, detection_px)
        with timings.stage("network"):
            alignments = self.run(prepared.pixels)
        return self.finish(prepared, alignments)

    def prepare(
        self,
        photograph: Photograph,
        boxes: Sequence[FaceBox | Sequence[float]] | None,
        max_faces: int,
        timings: Timings | None = None,
        detection_px: int | None = None,
    ) -> Prepared:
        """All that comes before the network. Raises TruncatedImage, InvalidBox."""
        timings = timings or Timings()
        if boxes is None:
            picture, detected = self._detect(photograph, timings, detection_px)
            found, chosen = len(detected), detected[:max_faces]
        else:
            picture, found = None, None
            given = [_box(index, box) for index, box in enumerate(boxes)]
            refuse_misplaced(given, photograph.upright_size)
            chosen = [(box, None) for box in given]
        crops = [Crop.around(box, self._crop_scale) for box, _ in chosen]
        with timings.stage("decode"):
            picture = self._fine_enough(picture, photograph, crops)
        with timings.stage("crop"):
            pixels = [picture.crop_from(crop).cut(picture.pixels, self._input_px) for crop in crops]
        return Prepared(chosen, crops, pixels, found, photograph.upright_size)

    def run(self, pixels: Sequence[Pixels]) -> list[Alignment]:
        """The engine's answers for crops, which may be of several photographs.

        Raises InferenceFailed, DeviceLost.
        """
        with self._engine_turn:
            return self.engine.align(pixels) if pixels else []

    def finish(self, prepared: Prepared, alignments: Sequence[Alignment]) -> list[AlignedFace]:
        """The engine's answers in the upright photograph's pixels.

        Raises InferenceFailed for points that are not numbers.
        """
        # Weights whose values outgrow half precision would answer so.
        if not all(np.isfinite(alignment.points).all() for alignment in alignments):
            raise InferenceFailed("The network's answer for a face is not a number.")
        return [
            AlignedFace(
                landmarks=crop.to_image(alignment.points),
                scores=self._scores(alignment.map_values),
                map_values=alignment.map_values,
                heatmap=alignment.heatmap,
                crop=crop,
                pixels=pixels,
                picture_size=prepared.picture_size,
                box=box,
                box_score=score,
                markup=self.checkpoint.markup,
            )
            for (box, score), crop, pixels, alignment in zip(
                prepared.boxes, prepared.crops, prepared.pixels, alignments, strict=True
            )
        ]

    def _scores(self, map_values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities, or without a calibration the values themselves."""
        calibration = self.checkpoint.calibration
        return map_values if calibration is None else calibration.probabilities(map_values)

    def _detect(
        self, photograph: Photograph, timings: Timings, detection_px: int | None
    ) -> tuple[Picture, list[BoxAndScore]]:
        """The faces, largest first, and the picture they were found in: as the detector reads."""
        with timings.stage("decode"):
            longest = max(photograph.upright_size)
            read_px = detection_px or self.detector.longest_side_px
            shrink = photograph.shrink_for(longest, DECODED_TO_SEARCH * read_px)
            picture = photograph.picture(shrink)
        with timings.stage("detect"):
            found = largest_first(self.detector.detect(picture.pixels, detection_px))
        return picture, [(picture.box_to_full(face.box), face.score) for face in found]

    def _fine_enough(
        self, picture: Picture | None, photograph: Photograph, crops: list[Crop]
    ) -> Picture:
        """The picture at hand if it is as fine as the smallest crop needs it, else one that is."""
        smallest = min((crop.side for crop in crops), default=math.inf)
        shrink = photograph.shrink_for(smallest, self._input_px)
        return picture if picture and picture.shrink <= shrink else photograph.picture(shrink)


def refuse_no_faces(max_faces: int) -> None:
    """Raise ValueError for a limit that leaves no face."""
    if max_faces < 1:
        raise ValueError(f"max_faces is 1 or more, not {max_faces}")


def largest_first(detections: list[Detection]) -> list[Detection]:
    """Detections by the area of their boxes."""
    return sorted(detections, key=lambda face: -face.box.width * face.box.height)


def _box(index: int, values: Sequence[float]) -> FaceBox:
    """The box of four or five numbers. Raises InvalidBox, which names it, for anything else."""
    try:
        return FaceBox(*map(float, values))
    except (TypeError, ValueError) as error:
        raise InvalidBox(
            f"boxes[{index}] is not x, y, width, height and, for a turned face, its degrees."
        ) from error


def refuse_misplaced(boxes: Sequence[FaceBox], upright_size: tuple[int, int]) -> None:
    """Raise InvalidBox, which names it, if a box is none, lies outside the picture or dwarfs it."""
    width, height = upright_size
    for index, box in enumerate(boxes):
        if not all(map(math.isfinite, box)) or min(box.width, box.height) <= 0:
            raise InvalidBox(f"boxes[{index}] is no box of finite numbers with sides above 0.")
        # Pixel centres are at integers: the picture begins at −0.5 and ends half a pixel early.
        if not box.meets(FaceBox(-0.5, -0.5, width, height)):
            raise InvalidBox(f"boxes[{index}] lies outside the {width} × {height} image.")
        if max(box.width, box.height) > LARGEST_BOX * max(width, height):
            raise InvalidBox(
                f"boxes[{index}] is more than {LARGEST_BOX:g} times the image's longer side."
            )
