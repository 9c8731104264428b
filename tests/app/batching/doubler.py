"""A network that doubles numbers, and ways to keep its device busy."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from app.batching import Batcher, BatchReport, Completed, Device

# Long enough for the busiest machine; reached only by a test that fails.
PATIENCE_S = 60

Numbers = Batcher[int, int]
Answers = list[Completed[int]]


class Doubler:
    """Doubles numbers, notes its batches, stays in one while held, and fails on some numbers."""

    def __init__(self, *, held: bool = False, fails_on: frozenset[int] = frozenset()) -> None:
        self.device = Device()
        self.batches: list[list[int]] = []
        self.threads: set[int] = set()
        self.reports: list[BatchReport] = []
        self.entered = threading.Event()
        self.released = threading.Event()
        self._fails_on = fails_on
        if not held:
            self.released.set()

    def run(self, items: Sequence[int]) -> list[int]:
        self.batches.append(list(items))
        self.threads.add(threading.get_ident())
        self.entered.set()
        if not self.released.wait(PATIENCE_S):
            raise TimeoutError("the test did not release it")
        if self._fails_on & set(items):
            raise ValueError("a number that it fails on")
        return [2 * item for item in items]


@asynccontextmanager
async def serving(
    doubler: Doubler,
    *,
    run: Callable[[Sequence[int]], Sequence[int]] | None = None,
    max_batch: int = 8,
    max_queue: int = 1000,
    prepare: Callable[[], None] = lambda: None,
    on_batch: Callable[[BatchReport], None] | None = None,
) -> AsyncIterator[Numbers]:
    """A started batcher; after the block it is closed, and `doubler.reports` is complete."""
    batcher: Numbers = Batcher(
        doubler.device,
        run or doubler.run,
        max_batch=max_batch,
        max_queue=max_queue,
        prepare=prepare,
        on_batch=on_batch or doubler.reports.append,
    )
    doubler.device.start()
    try:
        async with asyncio.timeout(PATIENCE_S):
            yield batcher
    finally:
        doubler.released.set()
        await doubler.device.close(PATIENCE_S)


async def happened(event: threading.Event) -> None:
    assert await asyncio.to_thread(event.wait, PATIENCE_S)


async def enqueue(batcher: Numbers, *calls: Sequence[int]) -> list[asyncio.Task[Answers]]:
    """Calls made at once, each waiting for its answers."""
    tasks = [asyncio.create_task(batcher.submit(call)) for call in calls]
    await asyncio.sleep(0)
    return tasks


async def occupy(batcher: Numbers, doubler: Doubler) -> asyncio.Task[Answers]:
    """A call with the number 0 that keeps a held one busy."""
    (task,) = await enqueue(batcher, [0])
    await happened(doubler.entered)
    assert doubler.batches == [[0]]
    assert batcher.queued == 0
    return task


def numbers(answers: Answers) -> list[int]:
    return [answer.result for answer in answers]
