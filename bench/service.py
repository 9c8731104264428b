"""How much of the network's own speed arrives through HTTP.

    python -m bench.service

Three in alternating rounds of one run: the bare engine at the service's largest batch, the
saturated service, and a naive service around the network as it was trained (`bench.naive`). One
face per request, its box given. Whoever is not measured idles.
"""

from functools import partial
from pathlib import Path

import click

from app.settings import read_settings
from bench.aligner import served_aligner
from bench.engine import faces_per_second, label
from bench.report import (
    Cell,
    Report,
    Spread,
    checkpoint_option,
    interleaved,
    print_machine,
    rounds_option,
)
from proof.harness.closed_loop import PROBE_EVERY_S, Load, saturate
from proof.harness.photographs import astronaut, astronaut_crop
from proof.harness.server import Caller, Server, running_service

NOT_APPLICABLE = "–"


def measure(folder: Path, rounds: int, seconds: float, connections: int) -> Report:
    """Faces per second of all; each is run for `seconds` in every round."""
    batch = read_settings().max_batch_faces
    aligner = served_aligner(folder)
    engine = aligner.engine
    engine.warm_up(batch)
    bare = partial(engine.align, [astronaut_crop(aligner.checkpoint.manifest)] * batch)
    upload = astronaut()
    loads: dict[str, list[Load]] = {"service": [], "naive": []}

    def saturated(name: str, server: Server) -> float:
        loads[name].append(saturate(server, upload, connections, seconds))
        return loads[name][-1].faces_per_second

    with (
        running_service(folder) as service,
        running_service(folder, command="bench.naive") as naive,
    ):
        speed = interleaved(
            rounds,
            {
                "bare": partial(faces_per_second, bare, batch, seconds),
                "service": partial(saturated, "service", service),
                "naive": partial(saturated, "naive", naive),
            },
            "service",
        )
        mean_batch = _mean_batch(service)
    note = (
        f"{connections} connections in a closed loop, one face per request, box given (detection "
        f"excluded). Median (least–greatest) of {rounds} rounds, ratio within each. Beside them "
        f"/livez is asked {1 / PROBE_EVERY_S:.0f} times a second in an open loop: its p99 counts "
        f"from when a probe was due, so it bounds the event loop's lag from above, and from when "
        f"it was sent; the difference is the prober's own wait for a core. The load generator "
        f"(threads of this process, the standard library's HTTP client) shares the cores: the "
        f"ratio is a lower bound. CPU in percent of one core. Engine: {label(engine)} on "
        f"{engine.device}; the service's mean batch was {mean_batch:.2f}. The naive service is "
        f"FastAPI around eager fp32, a forward pass per request."
    )
    nothing = dict.fromkeys(_columns(loads["service"]), NOT_APPLICABLE)
    return Report(
        "Services over HTTP against the bare engine, faces per second",
        note,
        [
            {
                "measured": label,
                "faces per second": Spread.of(speed[name]),
                "over the bare engine": Spread.of_ratios(speed[name], speed["bare"]),
                **(_columns(loads[name]) if name in loads else nothing),
            }
            for name, label in {
                "bare": f"bare engine, batch {batch}",
                "service": "the service",
                "naive": "naive service",
            }.items()
        ],
    )


def _columns(loads: list[Load]) -> dict[str, Cell]:
    from_due, from_sent = zip(*(load.p99_ms() for load in loads), strict=True)
    return {
        "/livez p99, ms": Spread.of(from_due),
        "from sent": Spread.of(from_sent),
        "server's CPU %": Spread.of([load.server_cpu_percent for load in loads]),
        "generator's CPU %": Spread.of([load.generator_cpu_percent for load in loads]),
    }


def _mean_batch(server: Server) -> float:
    """Faces per forward pass so far, by the service's own metrics."""
    with Caller(server) as caller:
        total, count = (caller.metric(f"lwbafa_batch_faces_{name}") for name in ("sum", "count"))
    return total / count


@click.command()
@checkpoint_option
@rounds_option
@click.option("--seconds", default=20.0, show_default=True, help="Of every measurement.")
@click.option("--connections", default=24, show_default=True, help="In a closed loop.")
def main(checkpoint: Path, rounds: int, seconds: float, connections: int) -> None:
    """Services over HTTP against the bare engine."""
    print_machine()
    print(measure(checkpoint, rounds, seconds, connections).as_text())


if __name__ == "__main__":
    main()
