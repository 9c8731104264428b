"""Where an idle service spends the time of a request.

    python -m bench.latency

One request after the other, with the face's box given and with detection, by the answers'
Server-Timing headers and the client's clock.
"""

import statistics
import time
from pathlib import Path

import httpx
from tqdm import tqdm

from bench.photographs import Upload, astronaut
from bench.report import Cell, Report, Spread, parser, print_machine
from bench.server import DEADLINE_S, running_service

CASES = {"box given": True, "detection": False}
OVERHEAD = "total − network − decode"
CLIENT = "client's total"


def measure(checkpoint_dir: Path, rounds: int, requests: int) -> Report:
    """Milliseconds by stage; every round has so many requests of each case."""
    upload = astronaut()
    medians: dict[str, list[dict[str, float]]] = {case: [] for case in CASES}
    with (
        running_service(checkpoint_dir) as server,
        httpx.Client(timeout=DEADLINE_S, trust_env=False) as client,
        tqdm(total=rounds * requests, desc="latency", unit="pair") as bar,
    ):
        for _ in range(rounds):
            # The cases take turns request by request: what disturbs one disturbs the other.
            samples: dict[str, list[dict[str, float]]] = {case: [] for case in CASES}
            for _ in range(requests):
                for case, with_boxes in CASES.items():
                    samples[case].append(_stages(client, server.align_url, upload, with_boxes))
                bar.update()
            for case in CASES:
                medians[case].append(_median_of_each(samples[case]))
    stages = list(medians["detection"][0])
    rows: list[dict[str, Cell]] = [
        {
            "stage": stage,
            **{case: Spread.of([row[stage] for row in medians[case]]) for case in CASES},
        }
        for stage in stages
    ]
    note = (
        f"A JPEG of 512 × 512 with one face. Median of {requests} requests per round; of those "
        f"the median (least–greatest) over {rounds} rounds."
    )
    return Report("Latency of an idle service by stage, milliseconds", note, rows)


def _stages(client: httpx.Client, url: str, upload: Upload, with_boxes: bool) -> dict[str, float]:
    params = upload.boxes if with_boxes else {}
    started = time.perf_counter()
    response = client.post(url, content=upload.body, headers=upload.headers, params=params)
    took = 1000 * (time.perf_counter() - started)
    response.raise_for_status()
    entries = (entry.split(";dur=") for entry in response.headers["Server-Timing"].split(", "))
    stages = {name: float(duration) for name, duration in entries}
    overhead = stages["total"] - stages["network"] - stages["decode"]
    return {**stages, OVERHEAD: overhead, CLIENT: took}


def _median_of_each(samples: list[dict[str, float]]) -> dict[str, float]:
    return {stage: statistics.median(s[stage] for s in samples) for stage in samples[0]}


def main() -> None:
    """Command line: print the table."""
    options = parser("Latency of an idle service by stage.")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--requests", type=int, default=20, help="per round, of each case")
    arguments = options.parse_args()
    print_machine()
    print(measure(arguments.checkpoint, arguments.rounds, arguments.requests).as_text())


if __name__ == "__main__":
    main()
