"""How much of the network's own speed arrives through HTTP.

    python -m bench.service

A saturated service, one face per request and its box given, against the bare engine at the
service's largest batch, in alternating rounds of one run. The service idles while the engine is
measured.
"""

import asyncio
import re
import time
from functools import partial
from pathlib import Path

import httpx

from app.checkpoints import load_checkpoint
from app.engine.choose import create_engine
from app.settings import read_settings
from bench.engine import faces_per_second
from bench.photographs import Upload, astronaut, astronaut_crop
from bench.report import Report, Spread, interleaved, parser, print_machine
from bench.server import DEADLINE_S, Server, running_service

RAMP_S = 5.0
"""Until all connections are open and the batches are full."""


def measure(checkpoint_dir: Path, rounds: int, seconds: float, connections: int) -> Report:
    """Faces per second of both; each is run for `seconds` in every round."""
    settings = read_settings()
    batch = settings.max_batch_faces
    engine = create_engine(load_checkpoint(checkpoint_dir), settings)
    engine.warm_up(batch)
    bare = partial(engine.align, [astronaut_crop()] * batch)
    upload = astronaut()
    with running_service(checkpoint_dir) as server:
        speed = interleaved(
            rounds,
            {
                "bare": partial(faces_per_second, bare, batch, seconds),
                "http": lambda: asyncio.run(_load(server.align_url, upload, connections, seconds)),
            },
            "service",
        )
        mean_batch = _mean_batch(server)
    note = (
        f"{connections} connections in a closed loop, one face per request, box given (detection "
        f"excluded). Median (least–greatest) of {rounds} rounds, ratio within each. The load "
        f"generator shares the service's cores, so the ratio is a lower bound. Engine: "
        f"{engine.name} on {engine.device}."
    )
    return Report(
        "Service over HTTP against the bare engine, faces per second",
        note,
        [
            {
                f"bare engine, batch {batch}": Spread.of(speed["bare"]),
                "through HTTP": Spread.of(speed["http"]),
                "ratio": Spread.of_ratios(speed["http"], speed["bare"]),
                "mean batch in the service": mean_batch,
            }
        ],
    )


async def _load(url: str, upload: Upload, connections: int, seconds: float) -> float:
    """Faces answered per second, after a ramp; every connection sends as soon as it may."""
    begin = time.perf_counter() + RAMP_S
    end = begin + seconds
    answered: list[float] = []

    async def caller(client: httpx.AsyncClient) -> None:
        while time.perf_counter() < end:
            response = await client.post(
                url, content=upload.body, headers=upload.headers, params=upload.boxes
            )
            response.raise_for_status()
            answered.append(time.perf_counter())

    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
    async with httpx.AsyncClient(limits=limits, timeout=DEADLINE_S, trust_env=False) as client:
        await asyncio.gather(*(caller(client) for _ in range(connections)))
    return _rate(answered, begin, end)


def _rate(answered: list[float], begin: float, end: float) -> float:
    """Answers per second between the last one before `begin` and the last one before `end`.

    Answers come a whole batch at a time; a window that began and ended anywhere could be wrong by
    a batch, which on a slow machine is much.
    """
    first = max((moment for moment in answered if moment <= begin), default=begin)
    within = [moment for moment in answered if begin < moment <= end]
    return len(within) / (max(within) - first) if within else 0.0


def _mean_batch(server: Server) -> float:
    """Faces per forward pass so far, by the service's own metrics."""
    text = httpx.get(f"{server.url}/metrics", trust_env=False).text
    total, count = (
        float(re.findall(rf"^lwbafa_batch_faces_{name} (\S+)", text, re.MULTILINE)[0])
        for name in ("sum", "count")
    )
    return total / count


def main() -> None:
    """Command line: print the table."""
    options = parser("Service over HTTP against the bare forward pass.")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--seconds", type=float, default=20, help="of every measurement")
    options.add_argument("--connections", type=int, default=24)
    arguments = options.parse_args()
    print_machine()
    report = measure(
        arguments.checkpoint, arguments.rounds, arguments.seconds, arguments.connections
    )
    print(report.as_text())


if __name__ == "__main__":
    main()
