"""What `lwbafa bulk` does: a plan, its shards here or on a Ray cluster, and a summary."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import click

from app.bulk_aligners import refuse_too_fine
from app.bulk_progress import sum_up
from app.bulk_totals import Totals
from lwbafa.bulk import store
from lwbafa.bulk.aligner import AlignerOptions
from lwbafa.checkpoint import Checkpoint
from lwbafa.detection.choose import DetectorOptions, create_detector
from lwbafa.errors import (
    DeviceLost,
    LoadError,
    NoSources,
    PartMismatch,
    StopRun,
    StoreError,
)
from lwbafa.model_store import checkpoint_folder

if TYPE_CHECKING:
    from lwbafa.bulk.worker import Mark

MARKS_AT_A_TIME = 16

MOST_NAMED_SHARDS = 10


def run(
    named: tuple[str, ...],
    out: str,
    model: str,
    detector: str,
    max_faces: int,
    detection_px: int | None,
    shard_size: int,
    column: str,
    boxes_column: str,
    only_plan: bool,
    rank: int,
    world: int,
    address: str | None,
    actors: tuple[int, int] | None,
    cpus_per_actor: int,
) -> int:
    """Do the shards of a run; 1 if some are left for another attempt, else 0.

    Of millions some are always bad: that a photograph failed is its row's and the summary's to
    say. Raises click.ClickException.
    """
    if not 0 <= rank < world:
        raise click.UsageError(f"--rank is one of 0 to {world - 1}, below --world")
    if address is not None and world > 1:
        raise click.UsageError("--rank and --world are for runs without --address")
    try:
        from lwbafa.bulk.plan import Plan
        from lwbafa.bulk.worker import done_shards
    except ModuleNotFoundError as error:
        raise click.UsageError("bulk needs pyarrow: pip install 'lwbafa[parquet]'") from error
    out = store.absolute(out)
    try:
        folder = checkpoint_folder(model)
        # A folder is the same for all processes, wherever they were started; a name stays one.
        model = str(folder.absolute()) if folder == Path(model) else model
        manifest = Checkpoint.load(folder).manifest
        # Before there is a plan, which would hold the run to a wrong name or number.
        refuse_too_fine(create_detector(DetectorOptions(detector)), detection_px)
        settings: dict[str, str | int | list[str]] = {
            "model": manifest.name,
            "version": manifest.version,
            "detector": detector,
            "max_faces": max_faces,
            "shard_size": shard_size,
            "column": column,
            "boxes_column": boxes_column,
        }
        if detection_px is not None:  # not named otherwise: older runs go on
            settings["detection_px"] = detection_px
        plan = Plan.of_run(out, named, settings, alone=only_plan or world == 1)
        if only_plan:
            click.echo(f"{len(plan)} shards")
            return 0
        done = done_shards(out)
        shards = [n for n in range(rank, len(plan), world) if n not in done]
        options = AlignerOptions(model, detector, max_faces, detection_px)
        marks: Iterable[Mark] = ()
        if shards and address is not None:
            marks = _on_ray(out, shards, options, address, actors, cpus_per_actor)
        elif shards:
            marks = _here(out, shards, options)
        new = sum_up(marks, len(shards))
        earlier = Totals()
        for mark in _read_marks(out, done):
            earlier.add(mark)
        _say(new, earlier, len(plan))
        return 1 if new.left else 0
    except (LoadError, NoSources, PartMismatch, StoreError) as error:
        raise click.UsageError(str(error)) from error
    except (StopRun, DeviceLost, OSError) as error:
        raise click.ClickException(f"{error}; the same command goes on from here") from error


def _here(out: str, shards: Sequence[int], options: AlignerOptions) -> Iterator["Mark"]:
    """This process, on all CPUs that it is granted."""
    from lwbafa.bulk.worker import ShardWorker

    worker = ShardWorker(out, options.aligner())
    for shard in shards:
        yield worker.work(shard)


def _on_ray(
    out: str,
    shards: Sequence[int],
    options: AlignerOptions,
    address: str,
    actors: tuple[int, int] | None,
    cpus: int,
) -> Iterator["Mark"]:
    try:
        from lwbafa.bulk.on_ray import Pool, marks_by_ray
    except ModuleNotFoundError as error:
        raise click.UsageError("--address needs Ray: pip install 'lwbafa[ray]'") from error
    fewest, most = actors or (1, 0)
    return marks_by_ray(out, shards, options, address, Pool(fewest, most, cpus))


def _read_marks(out: str, shards: Iterable[int]) -> Iterator["Mark"]:
    """The marks of shards that were done before."""
    from lwbafa.bulk.worker import Mark

    with ThreadPoolExecutor(MARKS_AT_A_TIME) as threads:
        for mark in threads.map(lambda shard: Mark.read(out, shard), shards):
            if mark is not None:
                yield mark


def _say(new: Totals, earlier: Totals, shards: int) -> None:
    """The summary, on standard output; what is left, on standard error."""
    failures = new.failures + earlier.failures
    click.echo(
        f"{new.photographs + earlier.photographs} photographs, {new.faces + earlier.faces} faces, "
        f"{failures.total()} failed; {new.shards + earlier.shards} of {shards} shards are done"
    )
    for code, count in failures.most_common():
        click.echo(f"  {code}: {count}")
    if new.photographs:
        total = sum(new.seconds.values()) or 1
        shares = ", ".join(f"{stage} {took / total:.0%}" for stage, took in new.seconds.items())
        click.echo(f"now {new.photographs}, {new.rate:.1f}/s; of the threads' time: {shares}")
    for text in new.left[:MOST_NAMED_SHARDS]:
        click.echo(text, err=True)
    if new.left:
        click.echo(f"{len(new.left)} shards are left: the same command tries them again", err=True)
