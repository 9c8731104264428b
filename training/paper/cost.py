"""What our LW-BAFA and BAFA cost, for table 4: measured side by side, one crop a pass."""

import time
from statistics import median

import torch
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from lwbafa.checkpoint import InputContract
from lwbafa.cpus import granted_cpus
from lwbafa.markups import MARKUP_98
from lwbafa.network import ARCHITECTURES, BoundaryAwareNetwork
from training.paper.table import Row

FPS_ROUNDS = 30


def cost_rows() -> list[Row]:
    """Both networks with 98 points, eager, alternating on one device: a GPU if there is one."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_num_threads(granted_cpus())
    size_px = InputContract().size_px
    crop = torch.rand(1, 3, size_px, size_px, device=device)
    networks = {
        name: BoundaryAwareNetwork(ARCHITECTURES[name], MARKUP_98).to(device).eval()
        for name in ("bafa", "lwbafa")
    }
    seconds: dict[str, list[float]] = {name: [] for name in networks}
    for _ in tqdm(range(FPS_ROUNDS), desc="timing", unit="round", mininterval=1):
        for name, network in networks.items():
            seconds[name].append(_seconds(network, crop))
    where = torch.cuda.get_device_name() if device.type == "cuda" else f"{granted_cpus()} CPU cores"
    rows = []
    for name, network in networks.items():
        network.to("meta")  # the operations are counted, not run
        with FlopCounterMode(display=False) as counter:
            network(crop.to("meta"))
        figures = {
            "parameters, M": f"{sum(p.numel() for p in network.parameters()) / 1e6:.2f}",
            "GMACs": f"{counter.get_total_flops() / 2e9:.2f}",
            "FPS": f"{1 / median(seconds[name]):.3g}",
        }
        rows.append(Row(f"{name}, ours", figures, "measured", f"{where}, eager PyTorch"))
    return rows


@torch.inference_mode()
def _seconds(network: BoundaryAwareNetwork, crop: torch.Tensor) -> float:
    started = time.perf_counter()
    network(crop).points.cpu()
    return time.perf_counter() - started
