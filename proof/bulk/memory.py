"""The memory of a run's processes over time, and its picture."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event, Thread
from typing import NamedTuple, Self

import numpy as np
import psutil
from matplotlib.figure import Figure

from proof.bulk.cluster import memory_mib

EVERY_S = 1.0


class Sample(NamedTuple):
    """Seconds from the beginning, and MiB by kind of process."""

    at_s: float
    mib: dict[str, float]


class Watch:
    """Looks at the memory, from a thread of its own, until it is left."""

    def __init__(self, drivers: Callable[[], list[psutil.Process]]) -> None:
        """`drivers` tells which process is the driver now, if there is one."""
        self.samples: list[Sample] = []
        self._drivers = drivers
        self._begun = time.monotonic()
        self._over = Event()
        self._thread = Thread(target=self._look)

    def now_s(self) -> float:
        """Seconds from the beginning."""
        return time.monotonic() - self._begun

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(EVERY_S):
            self.samples.append(Sample(round(self.now_s(), 1), memory_mib(self._drivers())))


def growth_mib(samples: Sequence[Sample], begin_s: float, end_s: float) -> float:
    """How much more all take in the last quarter of that time than in the first, in the mean."""
    sums = [sum(sample.mib.values()) for sample in samples if begin_s <= sample.at_s <= end_s]
    quarter = max(len(sums) // 4, 1)
    return float(np.mean(sums[-quarter:]) - np.mean(sums[:quarter])) if sums else 0.0


def draw(samples: Sequence[Sample], strikes: Sequence[tuple[float, str, str]], path: Path) -> None:
    """Memory by kind of process, stacked, with a line for each kill."""
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    axes = figure.add_subplot(xlabel="seconds", ylabel="resident memory, MiB")
    kinds = list(samples[0].mib)
    values = [[sample.mib[kind] for sample in samples] for kind in kinds]
    axes.stackplot([sample.at_s for sample in samples], *values, labels=kinds, alpha=0.7)
    styles = {"driver": "-", "actor": "--", "worker": ":"}
    for kind, style in styles.items():
        at = [when for when, what, _ in strikes if what == kind]
        for index, when in enumerate(at):
            label = f"kill -9 of {kind}" if index == 0 else None
            axes.axvline(when, color="black", linewidth=0.8, linestyle=style, label=label)
    axes.set_ylim(bottom=0)
    axes.legend(fontsize="small", ncols=2, loc="lower left")
    figure.savefig(path, dpi=110)
