"""What the service keeps: resident memory at rest, after a long mixture of requests.

python -m bench.memory
"""

import asyncio
import functools
import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import httpx
from tqdm import tqdm

from bench.report import Report, checkpoint_option, print_machine
from proof.harness.photographs import Upload, astronaut
from proof.harness.server import DEADLINE_S, Server, running_service

SIDES_PX = (256, 512, 1024, 2048)
FORMATS = ("jpeg", "png", "webp")
HEIGHT_SHARES = tuple(share / 20 for share in range(8, 21))
"""Of the width: libraries keep things for each shape that they have seen."""
# Shares nothing with the number of kinds, so that each of them comes without a box in its turn.
DETECTION_EVERY = 5
CONNECTIONS = 8
REST_S = 2.0


def measure(folder: Path, requests: int) -> Report:
    """MiB at rest: once ready, after half of the requests, and after all of them."""
    encoded = functools.cache(astronaut)
    kinds = itertools.product(SIDES_PX, FORMATS, HEIGHT_SHARES)
    uploads = (encoded(*kind) for kind in itertools.cycle(kinds))
    with (
        running_service(folder) as server,
        tqdm(total=requests, desc="memory", unit="request", mininterval=1) as bar,
    ):
        ready = _at_rest(server)
        halves = []
        for part in (range(requests // 2), range(requests // 2, requests)):
            asyncio.run(_send(server, zip(part, uploads, strict=False), bar))
            halves.append(_at_rest(server))
    note = (
        f"{requests} requests over {CONNECTIONS} connections: {' '.join(FORMATS)}, sides "
        f"{', '.join(map(str, SIDES_PX))} px, {len(HEIGHT_SHARES)} shapes, one in "
        f"{DETECTION_EVERY} with detection. What grows in the second half as in the first is a "
        "leak; buffers that stay are not."
    )
    half, full = halves
    return Report(
        "Resident memory of the service, MiB",
        note,
        [
            {
                "ready": ready,
                f"after {requests // 2}": half,
                f"after {requests}": full,
                "growth of the second half": full - half,
            }
        ],
    )


async def _send(server: Server, numbered: Iterator[tuple[int, Upload]], bar: "tqdm[Any]") -> None:
    """Send everything; a few connections share the one iterator."""

    async def caller(client: httpx.AsyncClient) -> None:
        for number, upload in numbered:
            response = await client.post(
                f"{server.url}/v1/align",
                content=upload.body,
                headers=upload.headers,
                params={} if number % DETECTION_EVERY == 0 else upload.boxes,
            )
            response.raise_for_status()
            bar.update()

    async with httpx.AsyncClient(timeout=DEADLINE_S, trust_env=False) as client:
        await asyncio.gather(*(caller(client) for _ in range(CONNECTIONS)))


def _at_rest(server: Server) -> float:
    time.sleep(REST_S)
    return server.resident_mib()


@click.command()
@checkpoint_option
@click.option("--requests", default=2000, show_default=True, help="In all.")
def main(checkpoint: Path, requests: int) -> None:
    """Resident memory of the service."""
    print_machine()
    print(measure(checkpoint, requests).as_text())


if __name__ == "__main__":
    main()
