"""Photographs in, rows out: what one process of a large run does, on one machine or on many.

It is made where it works: it is pickled as the arguments that it was made with. As a class for
Ray Data's `map_batches` it takes and answers tables, which needs pyarrow.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from pathlib import Path
from threading import Semaphore
from typing import TYPE_CHECKING, Any, NamedTuple

from lwbafa.aligner import FaceAligner, Prepared, refuse_no_faces
from lwbafa.bulk import store
from lwbafa.bulk.rows import Row, aligned, failed
from lwbafa.cpus import granted_cpus
from lwbafa.detection.choose import DetectorOptions
from lwbafa.engine import Alignment
from lwbafa.engine.choose import EngineOptions
from lwbafa.errors import DeviceLost, InferenceFailed, PackageMissing
from lwbafa.imaging.photograph import Photograph
from lwbafa.model_store import DEFAULT_CHECKPOINT
from lwbafa.timings import Timings
from lwbafa.types import Pixels

if TYPE_CHECKING:
    import pyarrow

Boxes = Sequence[Sequence[float]]

READERS = 8
"""Threads that read beside those that align: a store answers slower than a disk."""

TOGETHER = 8
"""Photographs or faces given to the engine at once, which takes a quick one a quarter less time."""


class Item(NamedTuple):
    """A photograph that is to be read; `boxes` are the faces, where they are known."""

    uri: str
    read: Callable[[], bytes]
    boxes: Boxes | None = None


class Opened(NamedTuple):
    """A photograph that was read and searched, or the error that came of it."""

    uri: str
    outcome: Prepared | Exception
    timings: Timings

    @property
    def pixels(self) -> list[Pixels]:
        """The crops for the engine."""
        return self.outcome.pixels if isinstance(self.outcome, Prepared) else []


class Seen(NamedTuple):
    """A photograph's row, and the seconds of each stage."""

    row: Row
    timings: Timings


class BulkAligner:
    """`FaceAligner.load` with these arguments, over many photographs at a time.

    `threads` photographs are decoded and searched side by side, by default as many as the engine
    has threads; each is searched on one, unless `detector` tells. `detection_px` is how finely
    faces are searched for, as of `FaceAligner.align`. Nothing about one photograph raises: it
    becomes the row's error. Raises LoadError and, for too fine a search and for `max_faces` below
    1, ValueError when it is made; later DeviceLost, and PackageMissing for a URI whose store this
    machine cannot read.
    """

    def __init__(
        self,
        checkpoint: str | Path = DEFAULT_CHECKPOINT,
        detector: DetectorOptions = DetectorOptions(),  # noqa: B008
        engine: EngineOptions = EngineOptions(),  # noqa: B008
        max_faces: int = 16,
        threads: int = 0,
        detection_px: int | None = None,
    ) -> None:
        refuse_no_faces(max_faces)
        self._arguments = (checkpoint, detector, engine, max_faces, threads, detection_px)
        # One that is searched alone would take threads from those that are decoded beside it.
        detector = replace(detector, threads=detector.threads or 1)
        self._aligner = FaceAligner.load(checkpoint, detector=detector, engine=engine)
        self._aligner.detector.refuse_too_fine(detection_px)
        self._max_faces, self._detection_px = max_faces, detection_px
        self._threads = threads or engine.threads or granted_cpus()

    def __reduce__(self) -> tuple[type["BulkAligner"], tuple[Any, ...]]:
        return type(self), self._arguments

    def __call__(self, batch: "pyarrow.Table") -> "pyarrow.Table":
        """A table with the column `uri`, `bytes` or both, and `boxes` if they are known.

        For `map_batches(BulkAligner, batch_format="pyarrow")`. The answer has `nested.SCHEMA`.
        """
        from lwbafa.bulk.nested import nested, table_of

        columns = {name: batch[name].to_pylist() for name in batch.column_names}
        uris = [
            f"#{index}" if uri is None else uri
            for index, uri in enumerate(columns.get("uri") or [None] * len(batch))
        ]
        contents = columns.get("bytes") or uris
        sources = [
            uri if content is None else content for uri, content in zip(uris, contents, strict=True)
        ]
        rows = self.rows(sources, columns.get("boxes"), uris)
        return table_of(map(nested, rows))

    def rows(
        self,
        photographs: Sequence[str | Path | bytes],
        boxes: Sequence[Boxes | None] | None = None,
        uris: Sequence[str] | None = None,
    ) -> list[Row]:
        """A row for each path, URI or encoded photograph, in their order.

        `uris` are the names that the rows have, by default the paths, and `#0`, `#1`… for bytes.
        """
        items = [
            item_of(photograph, f"#{index}", boxes[index] if boxes else None)
            for index, photograph in enumerate(photographs)
        ]
        if uris is not None:
            items = [item._replace(uri=uri) for item, uri in zip(items, uris, strict=True)]
        return [seen.row for seen in self.each(items)]

    def each(self, items: Iterable[Item]) -> Iterator[Seen]:
        """What each photograph has shown, in their order; so many are read ahead, and no more.

        Faces of several photographs go to the engine together.
        """
        cpus = Semaphore(self._threads)
        together: list[Opened] = []
        for opened in self._in_order(items, cpus):
            together.append(opened)
            if _are_enough(together):
                yield from self.finish(together, cpus)
                together = []
        yield from self.finish(together, cpus)

    def one(self, item: Item) -> Seen:
        """What one photograph has shown."""
        (seen,) = self.finish([self.prepare(item)])
        return seen

    def prepare(self, item: Item, cpus: Semaphore | None = None) -> Opened:
        """Read a photograph at once, search it when one of the CPUs is free."""
        timings = Timings()
        try:
            with timings.stage("read"):
                content = item.read()
            with cpus or Semaphore():
                photograph = Photograph.of_bytes(content)
                prepared = self._aligner.prepare(
                    photograph, item.boxes, self._max_faces, timings, self._detection_px
                )
        except PackageMissing:
            raise
        except Exception as error:
            return Opened(item.uri, error, timings)
        return Opened(item.uri, prepared, timings)

    def finish(self, together: Sequence[Opened], cpus: Semaphore | None = None) -> list[Seen]:
        """What the photographs have shown; one by one if the engine fails on all of them."""
        pixels = [face for opened in together for face in opened.pixels]
        begun = time.perf_counter()
        try:
            with cpus or Semaphore():
                alignments = iter(self._aligner.run(pixels))
        except DeviceLost:
            raise
        except Exception as error:
            if len(together) > 1:
                return [seen for opened in together for seen in self.finish([opened], cpus)]
            return [Seen(failed(opened.uri, None, error), opened.timings) for opened in together]
        a_face_s = (time.perf_counter() - begun) / max(1, len(pixels))
        return [self._seen(opened, alignments, a_face_s) for opened in together]

    def _in_order(self, items: Iterable[Item], cpus: Semaphore) -> Iterator[Opened]:
        """The photographs, prepared on threads ahead of the one that is asked for."""
        workers = self._threads + READERS
        with ThreadPoolExecutor(workers) as threads:
            running: deque[Future[Opened]] = deque()
            try:
                for item in items:
                    running.append(threads.submit(self.prepare, item, cpus))
                    if len(running) > workers:
                        yield running.popleft().result()
                while running:
                    yield running.popleft().result()
            finally:
                threads.shutdown(cancel_futures=True)

    def _seen(self, opened: Opened, alignments: Iterator[Alignment], a_face_s: float) -> Seen:
        """A photograph's row, with the next alignments, one for each of its faces."""
        uri, outcome, timings = opened
        if isinstance(outcome, Exception):
            return Seen(failed(uri, None, outcome), timings)
        timings.seconds["network"] = a_face_s * len(outcome.pixels)
        own = list(islice(alignments, len(outcome.pixels)))
        try:
            values = [face.as_dict() for face in self._aligner.finish(outcome, own)]
        except InferenceFailed as error:
            return Seen(failed(uri, None, error), timings)
        return Seen(aligned(uri, None, outcome.picture_size, values), timings)


def _are_enough(together: Sequence[Opened]) -> bool:
    """Whether the engine should have them now."""
    return max(len(together), sum(len(opened.pixels) for opened in together)) >= TOGETHER


class AlignerOptions(NamedTuple):
    """What a run asks of each of its aligners: plain values, which travel to other machines."""

    model: str
    detector: str
    max_faces: int
    detection_px: int | None = None

    def aligner(self, engine: EngineOptions = EngineOptions()) -> BulkAligner:  # noqa: B008
        """One of them. Raises as `BulkAligner`."""
        return BulkAligner(
            self.model,
            DetectorOptions(self.detector),
            engine,
            self.max_faces,
            detection_px=self.detection_px,
        )


def item_of(photograph: str | Path | bytes | None, uri: str, boxes: Boxes | None = None) -> Item:
    """An item of what there is: a path or a URI, which are its name too, or bytes with a name."""
    if isinstance(photograph, str | Path):
        path = str(photograph)
        return Item(path, lambda: store.read(path), boxes)
    return Item(uri, lambda: photograph or b"", boxes)
