"""An aligner without a network, and one that takes its process with it.

python -m tests.lwbafa.bulk.quick OUT DEADLY    # works on a run; a photograph DEADLY ends it
"""

import os
import sys
from collections.abc import Sequence
from threading import Semaphore

from lwbafa.aligner import Prepared
from lwbafa.bulk.aligner import BulkAligner, Item, Opened, Seen
from lwbafa.bulk.plan import Plan
from lwbafa.bulk.rows import aligned, failed
from lwbafa.bulk.worker import ShardWorker, done_shards
from lwbafa.errors import PackageMissing
from lwbafa.timings import Timings


class Quick(BulkAligner):
    """Answers the photograph's first byte as its width; bytes that are not there are its error."""

    def __init__(self, deadly: str = "") -> None:
        self._threads = 2
        self._deadly = deadly

    def prepare(self, item: Item, cpus: Semaphore | None = None) -> Opened:  # noqa: ARG002
        timings = Timings()
        try:
            with timings.stage("read"):
                content = item.read()
            if self._deadly and item.uri.endswith(self._deadly):
                os._exit(9)
            return Opened(item.uri, Prepared([], [], [], 0, (content[0], 1)), timings)
        except PackageMissing:
            raise
        except Exception as error:
            return Opened(item.uri, error, timings)

    def finish(self, together: Sequence[Opened], cpus: Semaphore | None = None) -> list[Seen]:  # noqa: ARG002
        return [
            Seen(
                failed(opened.uri, None, opened.outcome)
                if isinstance(opened.outcome, Exception)
                else aligned(opened.uri, None, opened.outcome.picture_size, []),
                opened.timings,
            )
            for opened in together
        ]


def main() -> None:
    out, deadly = sys.argv[1:]
    worker = ShardWorker(out, Quick(deadly))
    for shard in sorted(set(range(len(Plan(out)))) - done_shards(out)):
        worker.work(shard)


if __name__ == "__main__":
    main()
