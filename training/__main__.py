"""`python -m training COMMAND`: from annotated faces to a checkpoint that can be served."""

from pathlib import Path
from typing import Any

import click

from lwbafa.engine.choose import ENGINES
from lwbafa.errors import LwbafaError
from training.errors import TrainingError

TEST_SOURCES = ("300w/helen/testset",)

FOLDER = click.Path(path_type=Path, file_okay=False)
FILE = click.Path(path_type=Path, dir_okay=False)

data = click.option("--data", type=FOLDER, required=True, help="Folder that holds the sources.")
checkpoint = click.option("--checkpoint", type=FOLDER, required=True, help="A checkpoint's folder.")
recipe = click.option("--recipe", type=FILE, required=True, help="TOML file of `training/recipes`.")
test_sources = click.option(
    "--test-source",
    "test_sources",
    multiple=True,
    default=TEST_SOURCES,
    show_default=True,
    help="Faces to measure on, below the data's folder; may be given again.",
)


class Tool(click.Group):
    """Ends with one line and status 1 where a file or a setting is wrong."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (LwbafaError, TrainingError, OSError) as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=Tool, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Train LW-BAFA, measure it, and make checkpoints that can be served."""


@main.command()
@recipe
@data
@click.option("--run", type=FOLDER, required=True, help="Folder for the run's state and logs.")
@click.option("--init", type=FILE, help="Weights (safetensors) that a new run starts from.")
@click.option("--resume", is_flag=True, help="Go on with a run that was killed.")
def train(**options: Any) -> None:
    """Train a network by a recipe; killed at any moment, it can be resumed."""
    from training.train import train

    train(**options)


@main.command()
@checkpoint
@data
@click.option("--photographs", type=FOLDER, required=True, help="Folder of unlabelled faces.")
@click.option(
    "--true-source",
    "true_sources",
    multiple=True,
    required=True,
    help="Labelled faces below the data's folder, to fit the map on; may be given again.",
)
@click.option(
    "--evaluation-source",
    "evaluation_sources",
    multiple=True,
    required=True,
    help="Faces that must not be learnt from, below the data's folder; may be given again.",
)
@click.option(
    "--out", type=FOLDER, required=True, help="Folder for the labels; run again, goes on."
)
@click.option(
    "--most-disagreement",
    type=click.FloatRange(min=0, min_open=True),
    default=6.0,
    show_default=True,
    help="Between the teachers, in percent of the inter-ocular distance.",
)
def teach(**options: Any) -> None:
    """Label a folder of photographs, by MediaPipe and a checkpoint, where both agree."""
    from training.teach import teach

    teach(**options)


@main.command()
@checkpoint
@data
@click.option("--engine", type=click.Choice(["auto", *ENGINES]), default="torch", show_default=True)
@test_sources
@click.option("--curve", type=FILE, help="Draw the cumulative error distribution into this PNG.")
@click.option("--worst", type=FILE, help="Draw the ten worst faces into this picture.")
def evaluate(**options: Any) -> None:
    """Measure a checkpoint on annotated faces, from the landmarks' box and the detector's."""
    from training.evaluate import evaluate

    evaluate(**options)


@main.command()
@click.option("--run", type=FOLDER, required=True, help="Folder of a finished run.")
@recipe
@data
@test_sources
@click.option("--version", required=True, help="Of the checkpoint, such as 1.0.0.")
@click.option("--terms", required=True, help="On what terms the weights may be used.")
@click.option("--hardware", required=True, help="What it was trained on, for the manifest.")
@click.option("--out", type=FOLDER, required=True, help="The checkpoint's folder; names it.")
def export(**options: Any) -> None:
    """Turn a finished run into a checkpoint folder, its accuracy measured."""
    from training.export import export

    export(**options)


@main.command()
@checkpoint
@recipe
@data
@test_sources
def quantise(**options: Any) -> None:
    """Add the int8 model to a checkpoint, calibrated on the recipe's training faces."""
    from training.quantise import quantise

    quantise(**options)


@main.command()
@checkpoint
@data
@click.option("--engine", type=click.Choice(["auto", *ENGINES]), default="auto", show_default=True)
@click.option(
    "--source",
    "sources",
    multiple=True,
    help="Faces to fit on, below the data's folder; may be given again. By default the markup's.",
)
@click.option(
    "--test-source",
    "test_sources",
    multiple=True,
    help="Faces to measure on; may be given again. By default the markup's.",
)
@click.option("--diagram", type=FILE, help="Draw the reliability diagram into this PNG.")
def calibrate(**options: Any) -> None:
    """Fit what makes a checkpoint's scores probabilities; to be run after new weights."""
    from training.calibrate import calibrate

    calibrate(**options)


@main.command()
@checkpoint
@data
@test_sources
def measure_engines(**options: Any) -> None:
    """Convert and measure every CPU engine of a checkpoint again, under the same weights."""
    from training.measure_engines import remeasure

    remeasure(**options)


@main.command()
@click.option(
    "--checkpoint",
    "checkpoints",
    type=FOLDER,
    multiple=True,
    required=True,
    help="A checkpoint's folder; may be given again, for the other markup.",
)
@data
@click.option("--rivals", type=FILE, help="What the benches `rivals` and `accuracy` wrote.")
@click.option("--markdown", type=FILE, help="Write the tables into this page too.")
def tables(**options: Any) -> None:
    """Print the paper's tables with our own rows, measured now."""
    from training.paper.tables import print_tables

    print_tables(**options)


@main.command()
@recipe
@data
@click.option("--runs", type=FOLDER, required=True, help="Folder for the runs.")
@click.option("--steps", type=int, default=200, show_default=True, help="Of each run.")
def ablation(**options: Any) -> None:
    """Measure, by short runs, what each departure from the paper's recipe brings."""
    from training.paper.ablation import measure_departures

    measure_departures(**options)


if __name__ == "__main__":
    main(prog_name="python -m training")
