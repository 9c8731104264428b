"""A Ray cluster of this machine, the command that runs on it, and who is who among processes."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psutil

from proof.harness import ROOT

STALLED_S = 900
"""A run without progress for so long has failed."""

OBJECT_STORE = {"object_store_memory": 100 * 2**20}

ENVIRONMENT = {
    "PYTHONPATH": str(ROOT),
    "RAY_USAGE_STATS_ENABLED": "0",
    # It kills by the whole machine's memory, which is others' too.
    "RAY_memory_monitor_refresh_ms": "0",
    # Its workers yield to all others by default, which a comparison with others must not.
    "RAY_worker_niceness": "0",
}


@contextmanager
def nodes(count: int = 2) -> Iterator[Any]:
    """`ray.cluster_utils.Cluster` of nodes of one CPU each, every one with its own raylet."""
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 1, "include_dashboard": False, **OBJECT_STORE}
    with patch.dict(os.environ, ENVIRONMENT):
        cluster = Cluster(initialize_head=True, head_node_args=head)
        try:
            for _ in range(count - 1):
                add_node(cluster)
            cluster.wait_for_nodes()
            yield cluster
        finally:
            cluster.shutdown()


def add_node(cluster: Any) -> Any:
    """One more, of one CPU, as the cluster names it."""
    return cluster.add_node(num_cpus=1, **OBJECT_STORE)


class Command:
    """`lwbafa bulk` in a process of its own; what it says goes into files beside its folder."""

    def __init__(self, source: Path | str, out: Path, *options: object) -> None:
        self.out = out
        out.parent.mkdir(parents=True, exist_ok=True)
        self._said = out.with_name(f"{out.name}.said")
        self._errors = out.with_name(f"{out.name}.errors")
        line = [sys.executable, "-m", "app.cli", "bulk", str(source), "--out", str(out)]
        with self._said.open("w") as said, self._errors.open("w") as errors:
            self.process = subprocess.Popen(
                [*line, *map(str, options)], cwd=ROOT, stdout=said, stderr=errors
            )

    def marks(self) -> int:
        """How many shards are done."""
        return len(list((self.out / "done").glob("*.json")))

    def wait_for(self, there: Callable[[], bool]) -> bool:
        """Until it is there; False if the command ended first. Raises RuntimeError if it stalls."""
        marks, since = self.marks(), time.monotonic()
        while not there():
            if self.process.poll() is not None:
                return there()
            if (now := self.marks()) != marks:
                marks, since = now, time.monotonic()
            if time.monotonic() - since > STALLED_S:
                raise RuntimeError(f"the run makes no progress at {marks} shards")
            time.sleep(0.05)
        return True

    def ended(self) -> tuple[int, str, str]:
        """Its exit status, and what it said on standard output and standard error."""
        self.wait_for(lambda: self.process.poll() is not None)
        return self.process.returncode, self._said.read_text(), self._errors.read_text()


def actors() -> list[psutil.Process]:
    """The processes below this one that align."""
    return [process for process, line in _below() if "MapWorker" in line]


def workers() -> list[psutil.Process]:
    """Ray's other worker processes: tasks, Ray Data's own actors, and those that wait.

    A node's agents are no workers: it ends with them.
    """
    return [
        process
        for process, line in _below()
        if line.startswith("ray::") and not any(other in line for other in ("MapWorker", "Agent"))
    ]


def memory_mib(drivers: Sequence[psutil.Process]) -> dict[str, float]:
    """Resident memory by kind: the actors', the driver's, and that of the rest of Ray."""
    sums = {"actors": 0.0, "driver": 0.0, "Ray": 0.0}
    for process, line in _below():
        kind = "actors" if "MapWorker" in line else "Ray"
        kind = "driver" if process in drivers else kind
        with suppress(psutil.Error):
            sums[kind] += process.memory_info().rss / 2**20
    return sums


def cpu_s() -> float:
    """CPU time that all processes below this one have taken, as far as they live."""
    total = 0.0
    for process, _ in _below():
        with suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system
    return total


def _below() -> Iterator[tuple[psutil.Process, str]]:
    for process in psutil.Process().children(recursive=True):
        try:
            yield process, " ".join(process.cmdline())
        except psutil.Error:
            continue
