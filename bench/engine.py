"""What each engine gains over the network as it was trained.

    python -m bench.engine

Side by side in one run: the network in eager fp32, as trained (contiguous, BatchNorm on its own),
and every engine that runs here. All take the same uint8 crops to points on the host; the engines
compute scores and the merged heatmap besides.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from app.settings import read_settings
from bench.report import Report, Spread, interleaved, parser, print_machine
from lwbafa.checkpoint import Checkpoint, EngineName, load_checkpoint
from lwbafa.cpus import granted_cpus
from lwbafa.engine import Engine
from lwbafa.engine.choose import FASTEST_FIRST, choose_device, create_engine
from lwbafa.engine.cuda_engine import halved
from lwbafa.network import normalise
from lwbafa.network.scored import ScoredNetwork
from lwbafa.types import Pixels
from proof.harness.photographs import astronaut_crop

BATCHES = (1, 4, 8, 16)
EAGER = "PyTorch eager fp32, as trained"
LABELS: dict[EngineName, str] = {
    "torch": "PyTorch fp32, folded, channels_last",
    "openvino": "OpenVINO fp32",
    "openvino-int8": "OpenVINO int8",
}
"""The engines by what runs in them."""

HALF_GRAPHS = "PyTorch fp16, CUDA graphs"

Align = Callable[[Sequence[Pixels]], object]


def measure(checkpoint_dir: Path, rounds: int, seconds: float) -> Report:
    """Faces per second of all, by batch; each is run for `seconds` in every round."""
    device = choose_device(read_settings())
    checkpoint = load_checkpoint(checkpoint_dir)
    engines = _on_cuda(checkpoint) if device == "cuda" else _on_cpu(checkpoint)
    crop = astronaut_crop()
    measurements: dict[str, Callable[[], float]] = {
        f"{name} {batch}": partial(faces_per_second, partial(align, [crop] * batch), batch, seconds)
        for batch in BATCHES
        for name, align in engines.items()
    }
    speed = interleaved(rounds, measurements, "engine")
    note = f"Ratio within each round; median (least–greatest) of {rounds}. Device: {device}"
    note += f", {_threads()} threads." if device == "cpu" else "."
    return Report(
        "Engines against the network as trained, faces per second",
        note,
        [
            {
                "engine": name,
                "batch": str(batch),
                "faces per second": Spread.of(speed[f"{name} {batch}"]),
                "ratio": Spread.of_ratios(speed[f"{name} {batch}"], speed[f"{EAGER} {batch}"]),
            }
            for name in engines
            for batch in BATCHES
        ],
    )


def label(engine: Engine) -> str:
    """What runs in an engine."""
    return HALF_GRAPHS if engine.device == "cuda" else LABELS[engine.name]


def faces_per_second(run: Callable[[], object], faces: int, seconds: float) -> float:
    """Speed of `run`, which works on so many faces a pass and returns when they are done."""
    run()  # the caches belong to whatever ran before
    passes, started = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - started) < seconds:
        run()
        passes += 1
    return passes * faces / elapsed


def _on_cpu(checkpoint: Checkpoint) -> dict[str, Align]:
    torch.set_num_threads(_threads())
    engines: dict[str, Align] = {EAGER: partial(_align_eagerly, checkpoint.load_network(), "cpu")}
    for name in reversed(FASTEST_FIRST):
        if name != "openvino-int8" or checkpoint.manifest.int8_model:
            settings = read_settings().model_copy(update={"engine": name, "device": "cpu"})
            engines[LABELS[name]] = create_engine(checkpoint, settings).align
    return engines


def _on_cuda(checkpoint: Checkpoint) -> dict[str, Align]:
    eager = checkpoint.load_network().cuda()
    half = ScoredNetwork(halved(checkpoint.load_network()), checkpoint.markup)
    half = half.to("cuda", memory_format=torch.channels_last)  # type: ignore[call-overload]
    engine = create_engine(checkpoint, read_settings())
    engine.warm_up(max(BATCHES))
    return {
        EAGER: partial(_align_eagerly, eager, "cuda"),
        "PyTorch fp16, folded, channels_last": partial(_align_in_half, half),
        HALF_GRAPHS: engine.align,
    }


@torch.inference_mode()
def _align_eagerly(network: nn.Module, device: str, crops: Sequence[Pixels]) -> None:
    batch = normalise(torch.from_numpy(np.stack(crops)).to(device)).contiguous()
    network(batch).points.cpu()  # waits for the device


@torch.inference_mode()
def _align_in_half(aligner: nn.Module, crops: Sequence[Pixels]) -> None:
    for answer in aligner(torch.from_numpy(np.stack(crops)).to("cuda")):
        answer.cpu()


def _threads() -> int:
    """The CPU threads that the service would take here."""
    return read_settings().network_threads or granted_cpus()


def main() -> None:
    """Command line: print the table."""
    options = parser("Engines against the network as trained.")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--seconds", type=float, default=3, help="of every measurement")
    arguments = options.parse_args()
    print_machine()
    print(measure(arguments.checkpoint, arguments.rounds, arguments.seconds).as_text())


if __name__ == "__main__":
    main()
