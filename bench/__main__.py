"""`python -m bench`: every bench that needs no data, as tables and one JSON file.

Nothing is asserted: figures are ratios within this run, with the absolute values beside them.
With `--data`, which names the folder that holds `300w/`, `wflw/` or both, accuracy is measured
beside the rivals'. The file is written after each bench, so that one that fails costs no other.
`bench.detectors` needs 300-W and is a command of its own.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from bench import batcher, engine, idle, latency, memory, models, rivals, service
from bench.report import Report, checkpoint_option, print_machine, rounds_option
from proof.harness import ROOT
from proof.harness.machine import machine

NAMES = (
    "engine",
    "service",
    "latency",
    "batcher",
    "idle",
    "rivals",
    "memory",
    "models",
    "accuracy",
)


@click.command()
@checkpoint_option
@rounds_option
@click.option("--only", type=click.Choice(NAMES), multiple=True, help="May be repeated.")
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder that holds 300w/, wflw/ or both.",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    default=ROOT / "bench" / "results" / "latest.json",
    help="Where the JSON goes.",
)
@click.option("--engine-seconds", default=3.0, show_default=True, help="Per measurement.")
@click.option("--service-seconds", default=20.0, show_default=True, help="Per measurement.")
@click.option("--connections", default=24, show_default=True, help="Of the service bench.")
@click.option("--latency-requests", default=20, show_default=True, help="Per round.")
@click.option("--batcher-items", default=20_000, show_default=True, help="Per measurement.")
@click.option("--idle-seconds", default=20.0, show_default=True, help="Per measurement.")
@click.option("--requests", default=2000, show_default=True, help="Of the memory bench.")
def main(
    checkpoint: Path,
    rounds: int,
    only: Sequence[str],
    data: Path | None,
    out: Path,
    engine_seconds: float,
    service_seconds: float,
    connections: int,
    latency_requests: int,
    batcher_items: int,
    idle_seconds: float,
    requests: int,
) -> None:
    """Run the benches, print their tables, write them."""
    sources = [faces.test for faces in rivals.SETS.values()]
    if data and not any((data / source).exists() for source in sources):
        raise click.UsageError(f"--data {data}: holds neither {' nor '.join(sources)}")
    before = machine()  # its load average is that of the machine without the benches
    print_machine()
    benches: dict[str, Callable[[], Report]] = {
        "engine": lambda: engine.measure(checkpoint, rounds, engine_seconds),
        "service": lambda: service.measure(checkpoint, rounds, service_seconds, connections),
        "latency": lambda: latency.measure(checkpoint, rounds, latency_requests),
        "batcher": lambda: batcher.measure(rounds, batcher_items),
        "idle": lambda: idle.measure(checkpoint, rounds, idle_seconds),
        "rivals": lambda: rivals.measure(checkpoint, rounds, engine_seconds, data),
        "memory": lambda: memory.measure(checkpoint, requests),
        "models": lambda: models.measure(checkpoint, rounds),
    }
    if data:
        benches["accuracy"] = lambda: rivals.measure_accuracy(checkpoint, data)
    elif "accuracy" in only:
        raise click.UsageError("accuracy needs --data")
    out.parent.mkdir(parents=True, exist_ok=True)
    reports: dict[str, Any] = {}
    result = {"machine": before, "rounds": rounds, "benches": reports}
    for name in only or benches:
        report = benches[name]()
        print(report.as_text(), flush=True)
        reports[name] = report.as_json()
        out.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
