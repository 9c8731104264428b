"""A job: one item of a caller who waits on an event loop for its result."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

from app.errors import RequestError

Item = TypeVar("Item")
Result = TypeVar("Result")


class Completed(NamedTuple, Generic[Result]):
    """An item's result, how long it waited for its batch, and how long the batch ran (seconds)."""

    result: Result
    queued_s: float
    ran_s: float


@dataclass(eq=False, slots=True)
class Job(Generic[Item, Result]):
    """An item, the future its caller waits on, and times of `time.monotonic()`."""

    item: Item
    future: "asyncio.Future[Completed[Result]]"
    deadline: float
    enqueued: float = field(default_factory=time.monotonic)


def deliver(
    jobs: Sequence[Job[Item, Result]], answers: Sequence[Completed[Result] | RequestError]
) -> None:
    """Hand answers to the jobs' event loop in one call; one answer may serve all jobs.

    May be called from any thread; who was answered already, or has left, is passed over.
    """
    if not jobs:
        return
    if len(answers) == 1:
        answers = list(answers) * len(jobs)

    def settle() -> None:
        for job, answer in zip(jobs, answers, strict=True):
            if job.future.done():
                continue
            if isinstance(answer, RequestError):
                job.future.set_exception(answer)
            else:
                job.future.set_result(answer)

    try:
        jobs[0].future.get_loop().call_soon_threadsafe(settle)
    except RuntimeError:  # the loop is closed: nobody is left to be told
        return
