"""`python -m bench`: every bench that needs no data, as tables and one JSON file.

Nothing is asserted: figures are ratios within this run, with the absolute values beside them.
With `--data`, which names the folder that holds `300w/`, `wflw/` or both, accuracy is measured
beside the rivals'. The file is written after each bench, so that one that fails costs no other.
`bench.detection_size` needs 300-W and is a command of its own.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.settings import ROOT
from bench import batcher, engine, idle, latency, memory, rivals, service
from bench.report import Report, machine, parser, print_machine


def main() -> None:
    """Command line: run everything, print, write."""
    options = parser("All benches of the service.")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--out", type=Path, default=ROOT / "bench" / "results" / "latest.json")
    options.add_argument("--only", nargs="+", metavar="BENCH", help="some of them")
    options.add_argument("--data", type=Path, help="folder that holds 300w/, wflw/ or both")
    options.add_argument("--engine-seconds", type=float, default=3, help="per measurement")
    options.add_argument("--service-seconds", type=float, default=20, help="per measurement")
    options.add_argument("--connections", type=int, default=24, help="of the service bench")
    options.add_argument("--latency-requests", type=int, default=20, help="per round")
    options.add_argument("--batcher-items", type=int, default=20_000, help="per measurement")
    options.add_argument("--idle-seconds", type=float, default=20, help="per measurement")
    options.add_argument("--requests", type=int, default=2000, help="of the memory bench")
    arguments = options.parse_args()
    checkpoint, rounds = arguments.checkpoint, arguments.rounds
    sources = [source for source, *_ in rivals.SETS.values()]
    if arguments.data and not any((arguments.data / source).exists() for source in sources):
        options.error(f"--data {arguments.data}: holds neither {' nor '.join(sources)}")
    before = machine()  # its load average is that of the machine without the benches
    print_machine()
    benches: dict[str, Callable[[], Report]] = {
        "engine": lambda: engine.measure(checkpoint, rounds, arguments.engine_seconds),
        "service": lambda: service.measure(
            checkpoint, rounds, arguments.service_seconds, arguments.connections
        ),
        "latency": lambda: latency.measure(checkpoint, rounds, arguments.latency_requests),
        "batcher": lambda: batcher.measure(rounds, arguments.batcher_items),
        "idle": lambda: idle.measure(checkpoint, rounds, arguments.idle_seconds),
        "rivals": lambda: rivals.measure(checkpoint, rounds, arguments.engine_seconds),
        "memory": lambda: memory.measure(checkpoint, arguments.requests),
    }
    if arguments.data:
        benches["accuracy"] = lambda: rivals.measure_accuracy(checkpoint, arguments.data)
    chosen = arguments.only or list(benches)
    if unknown := set(chosen) - set(benches):
        options.error(f"no such bench: {min(unknown)}; there are {', '.join(benches)}")
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    reports: dict[str, Any] = {}
    result = {"machine": before, "rounds": rounds, "benches": reports}
    for name in chosen:
        report = benches[name]()
        print(report.as_text(), flush=True)
        reports[name] = report.as_json()
        arguments.out.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
