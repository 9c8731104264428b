"""What the engine gains over the network as it was trained.

    python -m bench.engine

Side by side in one run: the network in eager fp32, as trained (contiguous, BatchNorm on its own);
and the service's engine (BatchNorm folded, channels_last). Both take the same uint8 crops to
points on the host; the engine computes scores and the merged heatmap besides.
"""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from app.checkpoints import load_checkpoint
from app.engine.torch_engine import TorchEngine, choose_device
from app.imaging.crop import Image
from app.lwbafa import BoundaryAwareNetwork, normalise
from app.settings import granted_cpus, read_settings
from bench.photographs import astronaut_crop
from bench.report import Report, Spread, interleaved, parser, print_machine

BATCHES = (1, 4, 8)


def measure(checkpoint_dir: Path, rounds: int, seconds: float) -> Report:
    """Faces per second of both, by batch; each is run for `seconds` in every round."""
    device, threads = bench_device()
    as_trained = load_checkpoint(checkpoint_dir).network.to(device)
    checkpoint = load_checkpoint(checkpoint_dir)
    engine = TorchEngine(checkpoint.network, checkpoint.markup, device, threads)
    crop = astronaut_crop()
    measurements: dict[str, Callable[[], float]] = {}
    for batch in BATCHES:
        crops = [crop] * batch
        for name, run in (
            ("eager", partial(_align_eagerly, as_trained, crops, device)),
            ("engine", partial(engine.align, crops)),
        ):
            measurements[f"{name} {batch}"] = partial(faces_per_second, run, batch, seconds)
    speed = interleaved(rounds, measurements, "engine")
    note = f"Ratio within each round; median (least–greatest) of {rounds}. Device: {device.type}"
    note += f", {threads} threads." if device.type == "cpu" else "."
    return Report(
        "Engine against the network as trained, faces per second",
        note,
        [
            {
                "batch": str(batch),
                "eager fp32": Spread.of(speed[f"eager {batch}"]),
                "engine": Spread.of(speed[f"engine {batch}"]),
                "ratio": Spread.of_ratios(speed[f"engine {batch}"], speed[f"eager {batch}"]),
            }
            for batch in BATCHES
        ],
    )


def bench_device() -> tuple[torch.device, int]:
    """The device and the number of CPU threads that the service would take here."""
    settings = read_settings()
    return choose_device(settings.device), settings.network_threads or granted_cpus()


def faces_per_second(run: Callable[[], object], faces: int, seconds: float) -> float:
    """Speed of `run`, which works on so many faces a pass and returns when they are done."""
    run()  # the caches belong to whatever ran before
    passes, started = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - started) < seconds:
        run()
        passes += 1
    return passes * faces / elapsed


@torch.inference_mode()
def _align_eagerly(
    network: BoundaryAwareNetwork, crops: list[Image], device: torch.device
) -> torch.Tensor:
    batch = normalise(torch.from_numpy(np.stack(crops)).to(device)).contiguous()
    return network(batch).points.cpu()  # type: ignore[no-any-return]  # waits for the device


def main() -> None:
    """Command line: print the table."""
    options = parser("Engine against the network as trained.")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--seconds", type=float, default=3, help="of every measurement")
    arguments = options.parse_args()
    print_machine()
    print(measure(arguments.checkpoint, arguments.rounds, arguments.seconds).as_text())


if __name__ == "__main__":
    main()
