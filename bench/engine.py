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

import click
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from app.service import engine_options
from app.settings import read_settings
from bench.report import (
    Report,
    Spread,
    checkpoint_option,
    interleaved,
    print_machine,
    rounds_option,
)
from lwbafa.checkpoint import Checkpoint, EngineName
from lwbafa.cpus import granted_cpus
from lwbafa.engine import Engine
from lwbafa.engine.choose import ENGINES, EngineOptions, choose_device, create_engine
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


def measure(folder: Path, rounds: int, seconds: float) -> Report:
    """Faces per second of all, by batch; each is run for `seconds` in every round."""
    device = choose_device(engine_options(read_settings()))
    checkpoint = Checkpoint.load(folder)
    engines = _on_cuda(checkpoint) if device == "cuda" else _on_cpu(checkpoint)
    crop = astronaut_crop(checkpoint.manifest)
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
    """Speed of `run`, which works on `faces` a pass and returns when they are done."""
    run()  # the caches belong to whatever ran before
    passes, started = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - started) < seconds:
        run()
        passes += 1
    return passes * faces / elapsed


def _on_cpu(checkpoint: Checkpoint) -> dict[str, Align]:
    torch.set_num_threads(_threads())
    engines: dict[str, Align] = {EAGER: Eager(checkpoint, "cpu").align}
    for name in reversed(list(ENGINES)):
        if checkpoint.has_model(name):
            options = EngineOptions(engine=name, device="cpu", threads=_threads())
            engines[LABELS[name]] = create_engine(checkpoint, options).align
    return engines


def _on_cuda(checkpoint: Checkpoint) -> dict[str, Align]:
    contract = checkpoint.manifest.input
    half = ScoredNetwork(halved(checkpoint.load_network()), checkpoint.markup, contract)
    half = half.to("cuda", memory_format=torch.channels_last)  # type: ignore[call-overload]
    engine = create_engine(checkpoint, EngineOptions(device="cuda"))
    engine.warm_up(max(BATCHES))
    return {
        EAGER: Eager(checkpoint, "cuda").align,
        "PyTorch fp16, folded, channels_last": partial(_align_in_half, half),
        HALF_GRAPHS: engine.align,
    }


class Eager:
    """The network as it was trained."""

    def __init__(self, checkpoint: Checkpoint, device: str) -> None:
        self._network = checkpoint.load_network().to(device)
        contract = checkpoint.manifest.input
        self._normalise = partial(normalise, mean=contract.mean, divisor=contract.divisor)
        self._device = device

    @torch.inference_mode()
    def align(self, crops: Sequence[Pixels]) -> NDArray[np.float32]:
        """Points B×N×2 of crops, 0 to 1."""
        pixels = torch.from_numpy(np.stack(crops)).to(self._device)
        points: Tensor = self._network(self._normalise(pixels).contiguous()).points
        return points.cpu().numpy()  # waits for the device


@torch.inference_mode()
def _align_in_half(network: nn.Module, crops: Sequence[Pixels]) -> None:
    for answer in network(torch.from_numpy(np.stack(crops)).to("cuda")):
        answer.cpu()


def _threads() -> int:
    """The CPU threads that the service would take here."""
    return read_settings().network_threads or granted_cpus()


@click.command()
@checkpoint_option
@rounds_option
@click.option("--seconds", default=3.0, show_default=True, help="Of every measurement.")
def main(checkpoint: Path, rounds: int, seconds: float) -> None:
    """Engines against the network as trained."""
    print_machine()
    print(measure(checkpoint, rounds, seconds).as_text())


if __name__ == "__main__":
    main()
