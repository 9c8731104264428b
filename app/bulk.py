"""What `lwbafa align` does: from its arguments to a run, its result and its exit status."""

import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

import click

from app.bulk_aligners import by_service, in_process
from lwbafa.bulk.formats import WRITERS, Write, written_aside
from lwbafa.bulk.part import PartFile
from lwbafa.bulk.pts import already_there, write_pts_files
from lwbafa.bulk.rows import Align, Row
from lwbafa.bulk.run import align_all
from lwbafa.bulk.sources import Source, find_sources, left_out_of
from lwbafa.bulk.video import frame_count
from lwbafa.checkpoint import Accuracy, Checkpoint
from lwbafa.cpus import granted_cpus
from lwbafa.errors import NoSources, PartMismatch, StopRun
from lwbafa.markups import MARKUPS
from lwbafa.model_store import DEFAULT_CHECKPOINT, checkpoint_folder, checkpoint_names

SUFFIXES = {".jsonl": "jsonl", ".csv": "csv", ".parquet": "parquet", ".json": "coco"}
"""The format that a file's suffix asks for."""

REQUESTS_AT_A_TIME = 8
"""Where a service aligns: enough to fill a batch of it."""

MOST_NAMED_FAILURES = 20

LEAST_SHARE_OF_FRAMES = 0.99
"""Of those that a video says it has, which some formats only guess: fewer are worth a line."""


def run(
    named: tuple[str, ...],
    out: Path | None,
    format_name: str | None,
    model: str | None,
    detector: str | None,
    max_faces: int,
    detection_px: int | None,
    workers: int | None,
    draw: Path | None,
    url: str | None,
    key: str | None,
) -> int:
    """Align what is named; 1 if something failed, else 0. Raises click.ClickException."""
    if out is None and format_name != "pts":
        raise click.UsageError("--out names the file of the result, or the folder of .pts files")
    format_name = format_name or _format_of(out)
    _refuse_misplaced(out, format_name)
    write = _writer(format_name)
    try:
        sources = find_sources(named, without=draw)
    except (NoSources, OSError) as error:
        raise click.UsageError(str(error)) from error
    if out is not None and any(source.path.absolute() == out.absolute() for source in sources):
        raise click.UsageError(f"{out} is one of the sources: --out would replace it")
    part_path = _part_path(out, format_name)
    if write is None and not part_path.exists():
        _refuse_to_overwrite(sources, out)
    detector = _detector_name(url, key, detector)
    with closing(
        in_process(model or DEFAULT_CHECKPOINT, detector, max_faces, detection_px)
        if url is None
        else by_service(url, key, model, max_faces, detection_px)
    ) as aligner:
        settings: dict[str, str | int] = {
            "model": aligner.model,
            "version": aligner.version,
            "markup": aligner.markup,
            "detector": detector,
            "max_faces": max_faces,
            "detection_px": detection_px or 0,
        }
        try:
            with PartFile(part_path, settings) as part:
                _align(sources, aligner.align, part, workers or _usual_workers(url), draw)
                done = Counter[str]()
                rows = _counted(part.rows(source.name for source in sources), done)
                if write is None:
                    write_pts_files(rows, sources, out)
                elif out is not None:
                    with written_aside(out) as file:
                        write(rows, file, MARKUPS[aligner.markup])
                part.remove()
                _sum_up(done, left_out_of(named), out)
                return 1 if part.failed else 0
        except PartMismatch as error:
            raise click.UsageError(str(error)) from error
        except (StopRun, OSError) as error:
            raise click.ClickException(f"{error}; the same command goes on from here") from error


def _detector_name(url: str | None, key: str | None, detector: str | None) -> str:
    """What finds the faces, as the part file remembers it."""
    if url is None and key:
        raise click.UsageError("--key is for a service: name it with --url")
    if url is not None and detector:
        raise click.UsageError("the service at --url has its own detector")
    return detector or ("yunet" if url is None else "the service's")


def _usual_workers(url: str | None) -> int:
    return granted_cpus() if url is None else REQUESTS_AT_A_TIME


def _align(
    sources: list[Source], align: Align, part: PartFile, workers: int, draw: Path | None
) -> None:
    """The run, with its progress and its failures on standard error."""
    videos = {source.name: frame_count(source.path) for source in sources if source.is_video}
    total = len(sources) - len(videos) + sum(videos.values())
    failures: list[Row] = []
    begun, new = time.monotonic(), 0

    def rate(_: object) -> str:
        return f"{new / max(time.monotonic() - begun, 1e-3):.1f}/s"

    with click.progressbar(
        length=total, label="aligning", show_pos=True, item_show_func=rate, file=sys.stderr
    ) as bar:
        bar.update(len(part))

        def on_row(row: Row) -> None:
            nonlocal new
            new += 1
            if row["status"] != "ok":
                failures.append(row)
            bar.update(1, row)

        align_all(sources, align, part, workers=workers, draw=draw, on_row=on_row)
    _name(failures)
    for name, count in videos.items():
        read = len(part.frames_of(name))
        if 0 < read < LEAST_SHARE_OF_FRAMES * count:
            click.echo(f"{name}: only {read} of its {count} frames could be read", err=True)


def _counted(rows: Iterable[Row], done: Counter[str]) -> Iterator[Row]:
    for row in rows:
        done["pictures"] += 1
        done["faces"] += len(row["faces"])
        done["failed"] += row["status"] != "ok"
        yield row


def _sum_up(done: Counter[str], left_out: str, out: Path | None) -> None:
    pictures, faces = (
        f"{done[name]} {name if done[name] != 1 else name[:-1]}" for name in ("pictures", "faces")
    )
    where = out or "beside the pictures"
    click.echo(f"{pictures}, {faces}, {done['failed']} failed: {where}", err=True)
    if left_out:
        click.echo(left_out, err=True)


def _name(failures: list[Row]) -> None:
    for row in failures[:MOST_NAMED_FAILURES]:
        frame = f", frame {row['frame']}" if "frame" in row else ""
        text = f"{row['file']}{frame}: {row['error']['code']}: {row['error']['text']}"
        click.echo(text, err=True)
    if len(failures) > MOST_NAMED_FAILURES:
        click.echo(f"and {len(failures) - MOST_NAMED_FAILURES} more", err=True)


def _format_of(out: Path | None) -> str:
    if out is None or out.is_dir() or not out.suffix:
        return "pts"
    if out.suffix.lower() not in SUFFIXES:
        raise click.UsageError(f"no format is known by {out.suffix}: name it with --format")
    return SUFFIXES[out.suffix.lower()]


def _refuse_misplaced(out: Path | None, format_name: str) -> None:
    """Before hours of work, not after them."""
    if out is not None and format_name != "pts" and out.is_dir():
        raise click.UsageError(f"--out is a file for {format_name}, and {out} is a folder")
    if out is not None and format_name == "pts" and out.exists() and not out.is_dir():
        raise click.UsageError(f"--out is a folder for pts, and {out} is a file")


def _writer(format_name: str) -> Write | None:
    """What writes the format's one file; None for `.pts`, which are many."""
    if format_name != "parquet":
        return WRITERS.get(format_name)
    try:
        from lwbafa.bulk.parquet import write_parquet
    except ModuleNotFoundError as error:
        raise click.UsageError("parquet needs pyarrow: pip install 'lwbafa[parquet]'") from error
    return write_parquet


def _part_path(out: Path | None, format_name: str) -> Path:
    """Beside the result; without one, where the command is given."""
    if out is None:
        return Path("lwbafa-align.part")
    return out / "lwbafa-align.part" if format_name == "pts" else out.with_name(f"{out.name}.part")


def _refuse_to_overwrite(sources: Iterable[Source], out: Path | None) -> None:
    """Annotations that somebody made lie beside pictures under the same names.

    Beside them is also where a folder leads that holds the pictures themselves.
    """
    beside = [
        source
        for source in sources
        if out is None or (out / source.place).parent.resolve() == source.path.parent.resolve()
    ]
    for path in already_there(beside):
        raise click.UsageError(f"{path} is there already: name another folder with --out")


def _measured(row: Accuracy) -> tuple[object, ...]:
    return f"{row.nme_percent:.2f}", row.faces, row.box, row.dataset


def models_table() -> str:
    """The checkpoints of the model store, one a line for each accuracy that was measured."""
    head = ("name", "version", "markup", "points", "NME %", "faces", "box", "dataset")
    lines: list[tuple[object, ...]] = [head]
    for name in checkpoint_names():
        checkpoint = Checkpoint.load(checkpoint_folder(name))
        manifest, points = checkpoint.manifest, checkpoint.markup.landmark_count
        lines += [
            (*(name, manifest.version, manifest.markup, points), *_measured(row))
            for row in manifest.accuracy
        ]
    widths = [max(len(str(line[i])) for line in lines) for i in range(len(head))]
    return "\n".join(
        "  ".join(f"{value!s:<{width}}" for value, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
