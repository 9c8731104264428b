"""One request: prepare → batch → finish.

The event loop only hands over: one hop to a worker thread for everything before the batch, the
batcher for the network, arithmetic on a few hundred numbers after it.
"""

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from app.models import LoadedModel
from app.preparation import Preparation
from lwbafa.aligner import Prepared
from lwbafa.face import AlignedFace
from lwbafa.imaging.header import ImageLimits
from lwbafa.imaging.photograph import Frame, Photograph
from lwbafa.timings import Timings
from lwbafa.types import FaceBox

FINISHING_S = 0.02
"""What mapping back and rendering take of a deadline."""


@dataclass(frozen=True)
class AlignRequest:
    """What a caller asks: an encoded image, and how to align it.

    `boxes` replace detection and are in `frame`; without them the `max_faces` largest faces found
    are aligned. `deadline` is a `time.monotonic()`. `detection_px` is how finely faces are searched
    for. `timings` takes down what each stage took.
    """

    data: bytes
    model: LoadedModel
    boxes: Sequence[FaceBox] | None
    frame: Frame
    max_faces: int
    deadline: float
    detection_px: int | None = None
    timings: Timings = field(default_factory=Timings)


class AlignedPhotograph(NamedTuple):
    """A photograph with its faces, largest first, or in the order of the caller's boxes.

    `found` is how many were detected, which may be more; None if there were boxes.
    """

    photograph: Photograph
    faces: list[AlignedFace]
    found: int | None


class Pipeline:
    """Aligns encoded photographs on shared workers and a model's batcher."""

    def __init__(self, workers: Executor, worker_count: int, limits: ImageLimits) -> None:
        self.preparation = Preparation(workers, worker_count)
        self._limits = limits

    async def align(self, request: AlignRequest) -> AlignedPhotograph:
        """Find and align the faces of the request's image.

        Raises PhotographError, InvalidBox, InferenceFailed, and the RequestErrors of preparation
        and batching.
        """
        model, timings, size = request.model, request.timings, _size(request)
        preparation = self.preparation
        expected = preparation.refuse_if_late(model.batcher, request.deadline, size)
        in_time = request.deadline - FINISHING_S
        with preparation.learning(expected, request.deadline):
            photograph, prepared = await preparation.run(
                partial(self._prepare, request), size, request.deadline
            )
            preparation.observe_faces(len(prepared.pixels))
            if not prepared.pixels:
                return AlignedPhotograph(photograph, [], prepared.found)
            completed = await model.batcher.submit(prepared.pixels, deadline=in_time)
        timings.seconds["queue"] = max(face.queued_s for face in completed)
        timings.seconds["network"] = max(face.ran_s for face in completed)
        with timings.stage("map_back"):
            faces = model.aligner.finish(prepared, [face.result for face in completed])
        return AlignedPhotograph(photograph, faces, prepared.found)

    def _prepare(self, request: AlignRequest) -> tuple[Photograph, Prepared]:
        """All the work before the batch, on a worker thread."""
        timings, boxes = request.timings, request.boxes
        with timings.stage("decode"):
            photograph = Photograph.of_bytes(request.data, self._limits)
        if boxes is not None:
            boxes = [photograph.box_to_upright(box, request.frame) for box in boxes]
        aligner = request.model.aligner
        return photograph, aligner.prepare(
            photograph, boxes, request.max_faces, timings, request.detection_px
        )


def _size(request: AlignRequest) -> int:
    """The bytes, as many times over as a finer search sees more pixels: both make work."""
    finer = (request.detection_px or 0) / request.model.aligner.detector.longest_side_px
    times = max(1.0, finer) ** 2 if request.boxes is None else 1.0
    return round(times * len(request.data))
