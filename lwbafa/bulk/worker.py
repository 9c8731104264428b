"""One process of a run by shards: a shard's number in, its part and its mark on the disk.

    OUT/plan.parquet            the shards, by number
    OUT/parts/part-000017.parquet   the rows of shard 17
    OUT/done/000017.json        its mark: it is done, and what it was
    OUT/tries/000017.json       while it is not done: how often it was begun

A part's name is its shard's number. So whatever is done again takes the place of what was there.
"""

import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import NamedTuple, Self

from lwbafa.bulk import store
from lwbafa.bulk.aligner import BulkAligner, Item, Seen
from lwbafa.bulk.nested import nested, part_of
from lwbafa.bulk.plan import Plan
from lwbafa.bulk.rows import Row, failed
from lwbafa.bulk.shards import items_of
from lwbafa.bulk.tries import Tries
from lwbafa.errors import PackageMissing, WorkerDied
from lwbafa.timings import Timings


class Mark(NamedTuple):
    """What a shard was. `failures` are counted by code, `seconds` by stage, over all threads.

    `left` says why it could not be done now; it has no part then.
    """

    shard: int
    photographs: int = 0
    faces: int = 0
    failures: dict[str, int] = {}  # noqa: RUF012 - never changed
    seconds: dict[str, float] = {}  # noqa: RUF012
    wall_s: float = 0.0
    left: str = ""

    @classmethod
    def read(cls, out: str, shard: int) -> Self | None:
        """The mark of a shard that is done. Raises OSError."""
        with suppress(FileNotFoundError):
            return cls(**json.loads(store.read(_mark(out, shard))))
        return None

    def to_json(self) -> str:
        """As the file has it."""
        return json.dumps(self._asdict())


class ShardWorker:
    """Does shards of a run's plan, one at a time."""

    def __init__(self, out: str, aligner: BulkAligner) -> None:
        """Raises OSError for a plan that cannot be read."""
        self._out = out
        self._aligner = aligner
        self._plan = Plan(out)
        settings = self._plan.settings
        self._columns = str(settings["column"]), str(settings["boxes_column"])

    def work(self, shard: int) -> Mark:
        """Do a shard unless it is done: its part, then its mark.

        A store that fails, or that this machine cannot read, is no reason to end: the mark says
        that the shard is left. Raises DeviceLost.
        """
        try:
            return Mark.read(self._out, shard) or self._do(shard)
        except (OSError, PackageMissing) as error:
            return Mark(shard, left=f"{type(error).__name__}: {error}")

    def _do(self, shard: int) -> Mark:
        begun = time.perf_counter()
        tries = Tries(store.join(self._out, "tries", f"{shard:06d}.json"))
        items = items_of(self._plan[shard], *self._columns)
        seen = self._carefully(items, tries) if tries.careful else self._aligner.each(items)
        counts = _Counts()
        part = part_of(shard, counts.over(seen))
        store.write(store.join(self._out, "parts", f"{part_name(shard)}"), part)
        mark = Mark(
            shard,
            counts.photographs,
            counts.faces,
            dict(counts.failures),
            {stage: round(took, 3) for stage, took in counts.timings.seconds.items()},
            round(time.perf_counter() - begun, 3),
        )
        store.write(_mark(self._out, shard), mark.to_json().encode())
        tries.forget()
        return mark

    def _carefully(self, items: Iterable[Item], tries: Tries) -> Iterator[Seen]:
        for index, item in enumerate(items):
            if tries.to_blame(index):
                error = WorkerDied("The process ended each time that it was tried.")
                yield Seen(failed(item.uri, None, error), Timings())
            else:
                tries.trying(index)
                yield self._aligner.one(item)


def done_shards(out: str) -> set[int]:
    """The shards that have their mark and their part. Raises OSError."""
    marks = store.names_in(store.join(out, "done"))
    parts = store.names_in(store.join(out, "parts"))
    numbers = (int(name.removesuffix(".json")) for name in marks if name.endswith(".json"))
    done, lost = set[int](), list[int]()
    for number in numbers:
        (done.add if part_name(number) in parts else lost.append)(number)
    for number in lost:
        store.remove(_mark(out, number))
    return done


def part_name(shard: int) -> str:
    """The name of a shard's part below `parts`."""
    return f"part-{shard:06d}.parquet"


class _Counts:
    """What a shard's rows are, counted as they go by."""

    def __init__(self) -> None:
        self.photographs = self.faces = 0
        self.failures: Counter[str] = Counter()
        self.timings = Timings()

    def over(self, seen: Iterable[Seen]) -> Iterator[Row]:
        for row, timings in seen:
            self.photographs += 1
            self.faces += len(row["faces"])
            if row["status"] != "ok":
                self.failures[row["error"]["code"]] += 1
            for stage, took in timings.seconds.items():
                self.timings.seconds[stage] = self.timings.seconds.get(stage, 0.0) + took
            yield nested(row)


def _mark(out: str, shard: int) -> str:
    return store.join(out, "done", f"{shard:06d}.json")
