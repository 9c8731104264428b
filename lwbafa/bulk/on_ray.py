"""A run's shards on a Ray cluster: Ray Data hands out their numbers, and gets their marks.

Photographs never pass through Ray: the actor that has a shard reads, decodes and aligns them and
writes its part. An actor that dies is replaced, and its shards are begun anew. Needs ray,
the extra `lwbafa[ray]`.
"""

import json
import logging
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import cv2
import pyarrow
import ray
import ray.data
import ray.exceptions

from lwbafa.bulk.aligner import AlignerOptions
from lwbafa.bulk.worker import Mark, ShardWorker
from lwbafa.engine.choose import EngineOptions
from lwbafa.errors import StopRun

MOST_BLOCKS = 10_000
"""Of more shards, several are a task of Ray's: each costs the driver some kilobytes and calls."""

MOST_DEAD_AT_START = 20
"""Actors, one after the other, that may die before they have begun: nodes go at any moment, but
what no actor survives is to end the run."""


class Pool(NamedTuple):
    """How many actors work, and how many CPUs each has; `most` 0 is as many as there are CPUs."""

    fewest: int = 1
    most: int = 0
    cpus: int = 1


class _Actor:
    """One process on some node, as Ray Data makes it."""

    def __init__(self, out: str, options: AlignerOptions, cpus: int) -> None:
        cv2.setNumThreads(1)
        self._worker = ShardWorker(out, options.aligner(EngineOptions(threads=cpus)))

    def __call__(self, batch: pyarrow.Table) -> pyarrow.Table:
        marks = [self._worker.work(shard).to_json() for shard in batch["shard"].to_pylist()]
        return pyarrow.table({"mark": marks})


def marks_by_ray(
    out: str,
    shards: Sequence[int],
    options: AlignerOptions,
    address: str,
    pool: Pool,
) -> Iterator[Mark]:
    """Do shards on the cluster at an address; `local` starts one on this machine.

    Yields each mark when it is there. Raises StopRun.
    """
    try:
        ray.init(address=address, logging_level=logging.WARNING, log_to_driver=False)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise StopRun(f"no Ray cluster at {address}: {_line(error)}") from error
    # The command shows its own progress, on the same lines.
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        yield from _marks(out, shards, options, pool)
    except ray.exceptions.RayError as error:
        raise StopRun(_line(error)) from error
    finally:
        ray.shutdown()


def _marks(out: str, shards: Sequence[int], options: AlignerOptions, pool: Pool) -> Iterator[Mark]:
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    # A fixed pool with errors ignored waits for a dead actor for ever (ray issue 62746). Nothing
    # has to be ignored here: a bad photograph is a row, a store that fails is a mark.
    context.max_errored_blocks = 0
    context.max_consecutive_actor_init_deaths = MOST_DEAD_AT_START
    most = pool.most or max(1, int(ray.cluster_resources().get("CPU", 1)) // pool.cpus)
    most = min(most, len(shards))
    done = ray.data.from_items(
        [{"shard": shard} for shard in shards], override_num_blocks=min(len(shards), MOST_BLOCKS)
    ).map_batches(
        _Actor,
        fn_constructor_args=(out, options, pool.cpus),
        batch_size=1,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(min_size=min(pool.fewest, most), max_size=most),
        num_cpus=pool.cpus,
    )
    for line in done.iter_rows():
        yield Mark(**json.loads(line["mark"]))


def _line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
