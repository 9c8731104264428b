"""What a model costs: memory and time to ready of a service, by its models and its engine.

python -m bench.models
"""

import tempfile
import time
from pathlib import Path

import click
from tqdm import tqdm

from bench.report import Cell, Report, Spread, checkpoint_option, print_machine, rounds_option
from proof.harness.checkpoints import renamed_checkpoint
from proof.harness.photographs import astronaut
from proof.harness.server import Caller, running_service

ENGINES = ("auto", "torch")
REQUESTS = 8
REST_S = 2.0


def measure(folder: Path, rounds: int) -> Report:
    """MiB and seconds of one model and of two, by engine; a fresh process in every round."""
    with tempfile.TemporaryDirectory() as temporary:
        second = renamed_checkpoint(Path(temporary) / "second", "second", of=folder)
        cases = [(engine, models) for engine in ENGINES for models in ([folder], [folder, second])]
        rows: list[dict[str, Cell]] = []
        for engine, models in cases:
            measured = [
                _measure(engine, models)
                for _ in tqdm(range(rounds), desc=f"{engine}, {len(models)}")
            ]
            started, ready, asked = (list(values) for values in zip(*measured, strict=True))
            rows.append(
                {
                    "engine": engine,
                    "models": str(len(models)),
                    "ready after, s": Spread.of(started),
                    "ready, MiB": Spread.of(ready),
                    f"after {REQUESTS} requests to each, MiB": Spread.of(asked),
                }
            )
    note = (
        "Resident memory and time from the process's start to /readyz of a service with one "
        "checkpoint, and with a second of the same weights under another name, whose engine is its "
        f"own. Median (least–greatest) of {rounds} rounds. auto takes the fastest engine that "
        "keeps the accuracy here."
    )
    return Report("What a model costs", note, rows)


def _measure(engine: str, models: list[Path]) -> tuple[float, float, float]:
    """Seconds to ready; MiB when ready, and after some requests to every model."""
    began = time.perf_counter()
    with running_service(*models, engine=engine) as server, Caller(server) as caller:
        started = time.perf_counter() - began
        time.sleep(REST_S)
        ready = server.resident_mib()
        for model in caller.models():
            for _ in range(REQUESTS):
                caller.align(astronaut(), with_box=False, model=model)
        time.sleep(REST_S)
        return started, ready, server.resident_mib()


@click.command()
@checkpoint_option
@rounds_option
def main(checkpoint: Path, rounds: int) -> None:
    """Memory and time to ready by models and engine."""
    print_machine()
    print(measure(checkpoint, rounds).as_text())


if __name__ == "__main__":
    main()
