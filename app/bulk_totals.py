"""The sums of a run by shards: of what is done now, or was done before."""

import time
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lwbafa.bulk.worker import Mark


class Totals:
    """The sums of marks, and how long it took to get them."""

    def __init__(self) -> None:
        self.shards = self.photographs = self.faces = 0
        self.failures: Counter[str] = Counter()
        self.seconds: Counter[str] = Counter()
        self.left: list[str] = []
        self._begun = self._last = time.monotonic()

    def add(self, mark: "Mark") -> None:
        """Add a shard that is done, or one that is left."""
        self._last = time.monotonic()
        if mark.left:
            self.left.append(f"shard {mark.shard}: {mark.left}")
            return
        self.shards += 1
        self.photographs += mark.photographs
        self.faces += mark.faces
        self.failures.update(mark.failures)
        for stage, took in mark.seconds.items():
            self.seconds[stage] += took  # type: ignore[assignment]

    @property
    def tried(self) -> int:
        """Shards that are done and shards that are left."""
        return self.shards + len(self.left)

    @property
    def took_s(self) -> float:
        """Seconds until the last mark."""
        return self._last - self._begun

    @property
    def rate(self) -> float:
        """Photographs a second."""
        return self.photographs / max(self.took_s, 1e-3)
