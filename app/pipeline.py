"""A request's path: decode → detect → crop → batch → network → map back.

The event loop only hands over: one hop to a worker thread for everything before the batch, the
batcher for the network, arithmetic on a few hundred numbers after it.
"""

import asyncio
import math
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.batching import Batcher
from app.detection import Detection, FaceDetector
from app.engine import Alignment
from app.errors import InferenceFailed, InvalidParameter
from app.imaging.crop import Crop, FaceBox, Image
from app.imaging.photograph import Photograph, Picture
from app.lwbafa import INPUT_PX

# A box may reach past the picture, but not by more than this many times the picture.
LARGEST_BOX = 4.0

BoxAndScore = tuple[FaceBox, float | None]
"""A face's box in the upright photograph and the detector's score, None for a caller's box."""


@dataclass
class Timings:
    """Seconds by stage, in the order the stages happened."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the block under a name; what is timed twice is added up."""
        started = time.perf_counter()
        try:
            yield
        finally:
            took = time.perf_counter() - started
            self.seconds[name] = self.seconds.get(name, 0.0) + took


class AlignedFace(NamedTuple):
    """One face in the upright frame: the box it came from, the crop, and the network's answer.

    `detection_score` is None for a caller's box; `points` N×2 in upright image pixels, unclamped.
    """

    box: FaceBox
    detection_score: float | None
    crop: Crop
    points: NDArray[np.float64]
    alignment: Alignment


class AlignedPhotograph(NamedTuple):
    """A photograph with its faces, largest first, or in the order of the caller's boxes."""

    photograph: Photograph
    faces: list[AlignedFace]


class _Prepared(NamedTuple):
    photograph: Photograph
    boxes: list[BoxAndScore]
    crops: list[Crop]
    pixels: list[Image]


class Pipeline:
    """Aligns encoded photographs on shared workers and a shared batcher."""

    def __init__(
        self,
        detector: FaceDetector,
        batcher: Batcher[Image, Alignment],
        workers: Executor,
        max_image_pixels: int,
        max_image_side_px: int,
    ) -> None:
        self._detector = detector
        self._batcher = batcher
        self._workers = workers
        self._max_image_pixels = max_image_pixels
        self._max_image_side_px = max_image_side_px

    async def align(
        self,
        data: bytes,
        boxes: Sequence[FaceBox] | None,
        boxes_are_stored: bool,
        max_faces: int,
        deadline: float,
        timings: Timings,
    ) -> AlignedPhotograph:
        """Find and align the faces of an encoded image.

        `boxes` replace detection, in the upright frame or, if `boxes_are_stored`, the file's own;
        without them the `max_faces` largest faces found are aligned. `deadline` is a
        `time.monotonic()`. Raises the RequestErrors of decoding and batching, InvalidParameter for
        a box that does not touch the image, InferenceFailed for points that are not numbers.
        """
        loop = asyncio.get_running_loop()
        prepared = await loop.run_in_executor(
            self._workers, self._prepare, data, boxes, boxes_are_stored, max_faces, timings
        )
        if not prepared.crops:
            return AlignedPhotograph(prepared.photograph, [])
        completed = await self._batcher.submit(prepared.pixels, deadline=deadline)
        # Weights whose values outgrow half precision would answer so.
        if not all(np.isfinite(face.result.points).all() for face in completed):
            raise InferenceFailed("The network's answer for a face is not a number.")
        timings.seconds["queue"] = max(face.queued_s for face in completed)
        timings.seconds["network"] = max(face.ran_s for face in completed)
        with timings.stage("map_back"):
            faces = [
                AlignedFace(box, score, crop, crop.to_image(face.result.points), face.result)
                for (box, score), crop, face in zip(
                    prepared.boxes, prepared.crops, completed, strict=True
                )
            ]
        return AlignedPhotograph(prepared.photograph, faces)

    def _prepare(
        self,
        data: bytes,
        boxes: Sequence[FaceBox] | None,
        boxes_are_stored: bool,
        max_faces: int,
        timings: Timings,
    ) -> _Prepared:
        """All the work before the batch, on a worker thread."""
        with timings.stage("decode"):
            photograph = Photograph.of_upload(data, self._max_image_pixels, self._max_image_side_px)
        if boxes is None:
            picture, chosen = self._detect(photograph, max_faces, timings)
        else:
            picture = None
            chosen = [(box, None) for box in _upright(boxes, boxes_are_stored, photograph)]
        crops = [Crop.around(box) for box, _ in chosen]
        with timings.stage("decode"):
            picture = _fine_enough(picture, photograph, crops)
        with timings.stage("crop"):
            pixels = [picture.crop_from(crop).cut(picture.pixels, INPUT_PX) for crop in crops]
        return _Prepared(photograph, chosen, crops, pixels)

    def _detect(
        self, photograph: Photograph, max_faces: int, timings: Timings
    ) -> tuple[Picture, list[BoxAndScore]]:
        """The largest faces, and the picture they were found in: as fine as the detector reads."""
        with timings.stage("decode"):
            longest = max(photograph.upright_size)
            shrink = photograph.shrink_for(longest, self._detector.longest_side_px)
            picture = photograph.picture(shrink)
        with timings.stage("detect"):
            found = largest_first(self._detector.detect(picture.pixels))[:max_faces]
        return picture, [(picture.box_to_full(face.box), face.score) for face in found]


def _fine_enough(picture: Picture | None, photograph: Photograph, crops: list[Crop]) -> Picture:
    """The picture at hand if it is as fine as the smallest crop needs it, else one that is."""
    smallest = min((crop.side for crop in crops), default=math.inf)
    shrink = photograph.shrink_for(smallest, INPUT_PX)
    return picture if picture and picture.shrink <= shrink else photograph.picture(shrink)


def largest_first(detections: list[Detection]) -> list[Detection]:
    """Detections by the area of their boxes."""
    return sorted(detections, key=lambda face: -face.box.width * face.box.height)


def _upright(boxes: Sequence[FaceBox], stored: bool, photograph: Photograph) -> list[FaceBox]:
    """The caller's boxes in the upright frame. Raises InvalidParameter that names the wrong one."""
    width, height = photograph.upright_size
    upright = []
    for index, box in enumerate(boxes):
        if stored:
            box = photograph.orientation.box_to_upright(box, (width, height))
        # Pixel centres are at integers: the picture begins at −0.5 and ends half a pixel early.
        right, bottom = box.x + box.width, box.y + box.height
        touches = box.x < width - 0.5 and box.y < height - 0.5 and min(right, bottom) > -0.5
        if not touches:
            raise InvalidParameter(f"boxes[{index}] lies outside the {width} × {height} image.")
        if max(box.width, box.height) > LARGEST_BOX * max(width, height):
            raise InvalidParameter(
                f"boxes[{index}] is more than {LARGEST_BOX:g} times the image's longer side."
            )
        upright.append(box)
    return upright
