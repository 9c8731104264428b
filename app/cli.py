"""The command `lwbafa`."""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import click

from app.keys import new_key
from lwbafa.errors import LwbafaError
from lwbafa.model_store import DEFAULT_CHECKPOINT


class _Result(click.Path):
    """Where a result goes: a name, at which no device and no pipe stands, nor a file above it.

    A result is written aside and renamed, so it would take the place of what stands there.
    """

    def __init__(self, *, file_okay: bool = True, dir_okay: bool = True) -> None:
        super().__init__(file_okay=file_okay, dir_okay=dir_okay, path_type=Path)

    def convert(
        self,
        value: str | os.PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Path:
        _named(ctx, param, str(value))
        path = Path(str(super().convert(value, param, ctx)))
        try:
            if path.exists() and not (path.is_file() or path.is_dir()):
                self.fail(f"{path} is neither a file nor a folder.", param, ctx)
            above = next(folder for folder in path.absolute().parents if folder.exists())
        except OSError as error:
            self.fail(str(error), param, ctx)
        if not above.is_dir():
            self.fail(f"{path} would lie below {above}, which is a file.", param, ctx)
        # What a link leads to is replaced, not the link: of a shell's `>`, that is /dev/stdout.
        return Path(os.path.realpath(path)) if path.is_symlink() else path


def _named(ctx: click.Context | None, param: click.Parameter | None, value: str) -> str:
    """A name as it is; an unset variable's is empty, and `-` is no file to go on with."""
    if value in ("", "-"):
        raise click.BadParameter(f"{value!r} names nothing to write.", ctx, param)
    return value


class _Command(click.Group):
    """Ends with one line and status 1 where what it has to say cannot be written."""

    def main(self, *arguments: Any, **named: Any) -> Any:
        try:
            return super().main(*arguments, **named)
        except OSError as error:
            sys.exit(f"Error: {error}")


@click.group(cls=_Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="lwbafa")
def main() -> None:
    """Facial landmarks in named groups, each scored, for every face in a photograph."""


@main.command()
def serve() -> None:
    """Serve over HTTP until told to stop.

    Every setting is an environment variable, such as LWBAFA_PORT=9000; docs/reference.md has all.
    """
    # A container's first process ignores what it does not handle, and the libraries load for long.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))

    from app.server.start import main as start

    start()


@main.command()
@click.option(
    "--onnx",
    "path",
    type=_Result(dir_okay=False),
    required=True,
    help="File to write.",
)
@click.option(
    "--model",
    "--checkpoint",
    "checkpoint",
    default=DEFAULT_CHECKPOINT,
    show_default=True,
    help="Name of a checkpoint of the model store, or a checkpoint's folder.",
)
def export(path: Path, checkpoint: str) -> None:
    """Write a checkpoint's network as ONNX, for other runtimes.

    Needs PyTorch and the extra lwbafa[onnx]; docs/onnx.md says how to run what is written.
    """
    from lwbafa.checkpoint import Checkpoint
    from lwbafa.model_store import checkpoint_folder

    try:
        from lwbafa.network.to_onnx import write_onnx

        write_onnx(Checkpoint.load(checkpoint_folder(checkpoint)), path)
    except ModuleNotFoundError as error:
        needed = f"{error.name} is not installed: pip install 'lwbafa[onnx]'"
        raise click.ClickException(needed) from error
    except (LwbafaError, OSError) as error:
        raise click.ClickException(str(error)) from error


@main.command()
@click.argument("sources", metavar="SRC…", nargs=-1, required=True)
@click.option("--out", type=_Result(), help="File of the result; folder of .pts")
@click.option(
    "--format",
    "format_name",
    type=click.Choice(["jsonl", "csv", "parquet", "pts", "coco"]),
    help="By default what the suffix of --out says",
)
@click.option(
    "--model",
    help=f"Checkpoint by its name, or its folder; by default {DEFAULT_CHECKPOINT}, with --url the "
    "service's",
)
@click.option("--detector", help="What finds the faces; by default yunet")
@click.option(
    "--max-faces",
    type=click.IntRange(1),
    default=16,
    show_default=True,
    help="Most faces of a picture, the largest first",
)
@click.option(
    "--detection-px",
    type=click.IntRange(64),
    help="Longer side at which faces are searched for: more finds smaller ones",
)
@click.option(
    "--workers",
    type=click.IntRange(1),
    help="Pictures at a time; by default one for each CPU, and 8 with --url",
)
@click.option("--url", help="Address of a running service that aligns, instead of this process")
@click.option("--key", help="Its API key")
@click.option("--draw", type=_Result(file_okay=False), help="Folder of the pictures, drawn over")
def align(sources: tuple[str, ...], **options: Any) -> None:
    """Align the faces of files, folders, globs and videos.

    Killed and given again, the same command goes on where it was. The exit status is 0, or 1 if
    some file failed, which its row tells.
    """
    from app.bulk import run

    sys.exit(run(sources, **options))


@main.command()
@click.argument("sources", metavar="SRC…", nargs=-1, required=True)
@click.option(
    "--out",
    required=True,
    callback=_named,
    help="Folder of the run: its plan, its parts, its marks",
)
@click.option(
    "--model",
    default=DEFAULT_CHECKPOINT,
    show_default=True,
    help="Checkpoint by its name, or its folder",
)
@click.option("--detector", default="yunet", show_default=True, help="What finds the faces")
@click.option(
    "--max-faces",
    type=click.IntRange(1),
    default=16,
    show_default=True,
    help="Most faces of a photograph, the largest first",
)
@click.option(
    "--detection-px",
    type=click.IntRange(64),
    help="Longer side at which faces are searched for: more finds smaller ones",
)
@click.option(
    "--shard-size",
    type=click.IntRange(1),
    default=1000,
    show_default=True,
    help="Photographs of a shard, which is done anew if its process dies; a tar is one shard",
)
@click.option(
    "--column",
    default="bytes",
    show_default=True,
    help="Of Parquet: encoded photographs, or their URIs",
)
@click.option(
    "--boxes-column",
    default="boxes",
    show_default=True,
    help="Of Parquet, if it is there: the boxes of the faces",
)
@click.option("--only-plan", is_flag=True, help="Write the plan, and align nothing")
@click.option("--rank", type=int, default=0, help="Which of --world processes this is, from 0")
@click.option("--world", type=click.IntRange(1), default=1, help="Processes that share the run")
@click.option("--address", help="Of a Ray cluster that does the run; auto, or local for a new one")
@click.option(
    "--actors",
    type=(click.IntRange(1), click.IntRange(1)),
    help="Fewest and most of Ray's processes",
)
@click.option("--cpus-per-actor", type=click.IntRange(1), default=1, show_default=True)
def bulk(sources: tuple[str, ...], **options: Any) -> None:
    """Align millions of photographs: folders, globs, tars and Parquet, into Parquet.

    Killed and given again, the same command goes on where it was. The exit status is 0 if its
    shards are done, photographs that failed included, and 1 if the same command has more to do.
    """
    from app.bulk_shards import run

    sys.exit(run(sources, **options))


@main.command()
def models() -> None:
    """List the checkpoints of the model store, with their accuracy."""
    from app.bulk import models_table

    click.echo(models_table())


@main.group()
def keys() -> None:
    """API keys: who may call the service."""


@keys.command()
@click.argument("name")
def new(name: str) -> None:
    """Print a fresh key to standard error and its entry for the key file to standard output.

    NAME tells who calls with it; it is shown in metrics and logs.
    """
    try:
        key, entry = new_key(name)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    click.echo(entry)  # first: a key whose entry is lost opens nothing
    click.echo(key, err=True)


if __name__ == "__main__":
    main(prog_name="lwbafa")
