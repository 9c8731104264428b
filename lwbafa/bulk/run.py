"""The run itself: a bounded number of pictures at a time, each row written when it is there."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path
from typing import NamedTuple

from lwbafa.bulk.formats import written_aside
from lwbafa.bulk.part import PartFile
from lwbafa.bulk.rows import Align, Row, aligned, failed
from lwbafa.bulk.sources import Source, place_of
from lwbafa.bulk.video import frames
from lwbafa.errors import StopRun, UnreadableVideo
from lwbafa.types import Pixels


class Task(NamedTuple):
    """One picture, or one frame with its pixels."""

    source: Source
    frame: int | None = None
    pixels: Pixels | None = None

    @property
    def place(self) -> Path:
        """Where its results lie below a folder, without suffix."""
        return place_of(self.source, self.frame)


def align_all(
    sources: Sequence[Source],
    align: Align,
    part: PartFile,
    *,
    workers: int,
    draw: Path | None = None,
    on_row: Callable[[Row], None] = lambda _: None,
) -> None:
    """Align all that has no row in the part file yet, `workers` pictures at a time.

    Drawn pictures go below the folder `draw`. `on_row` is called with each new row. Raises StopRun,
    and OSError where nothing can be written.
    """
    work = partial(_row, align=align, draw=draw)
    running: set[Future[Row]] = set()
    with ThreadPoolExecutor(workers) as threads:
        try:
            for task in _tasks(sources, part):
                # One more than can be worked on, so that no worker waits for this thread.
                if len(running) > workers:
                    running = _collect(running, part, on_row)
                running.add(
                    threads.submit(work, task) if isinstance(task, Task) else _settled(task)
                )
            while running:
                running = _collect(running, part, on_row)
        except BaseException:
            threads.shutdown(cancel_futures=True)
            raise


def _tasks(sources: Sequence[Source], part: PartFile) -> Iterator[Task | Row]:
    """What is to be done, and the rows of videos that cannot be read."""
    for source in sources:
        if (source.name, None) in part:
            continue
        if not source.is_video:
            yield Task(source)
            continue
        try:
            done = set(part.frames_of(source.name))
            for number, pixels in frames(source.path, done):
                yield Task(source, number, pixels)
        except UnreadableVideo as error:
            yield failed(source.name, None, error)


def _collect(
    running: set[Future[Row]], part: PartFile, on_row: Callable[[Row], None]
) -> set[Future[Row]]:
    """Write the rows that are there, at least one; what still runs."""
    finished, running = wait(running, return_when=FIRST_COMPLETED)
    for future in finished:
        row = future.result()
        part.append(row)
        on_row(row)
    return running


def _settled(row: Row) -> Future[Row]:
    future: Future[Row] = Future()
    future.set_result(row)
    return future


def _row(task: Task, *, align: Align, draw: Path | None) -> Row:
    """Align one picture: whatever is wrong with it becomes its row."""
    try:
        image = task.source.path.read_bytes() if task.pixels is None else task.pixels
        answer = align(image)
        drawn = None if draw is None else answer.draw()
    except StopRun:
        raise
    except Exception as error:
        return failed(task.source.name, task.frame, error)
    if draw is not None and drawn is not None:
        with written_aside(draw / task.place.with_name(f"{task.place.name}.png")) as file:
            file.write(drawn)
    size = answer.width, answer.height
    return aligned(task.source.name, task.frame, size, answer.faces)
