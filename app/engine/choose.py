"""Which engine answers: the one that is asked for, or the fastest that keeps the accuracy."""

import logging

import torch

from app.checkpoints import Checkpoint
from app.engine import Engine, EngineName
from app.engine.cuda_engine import CudaEngine
from app.engine.openvino_engine import OpenVinoEngine
from app.engine.openvino_model import fp32_model, int8_model
from app.engine.torch_engine import TorchEngine
from app.errors import StartupError
from app.settings import Settings, granted_cpus

FASTEST_FIRST: tuple[EngineName, ...] = ("openvino-int8", "openvino", "torch")

logger = logging.getLogger(__name__)


def create_engine(checkpoint: Checkpoint, settings: Settings) -> Engine:
    """The engine that `settings.engine` and `settings.device` ask for.

    `auto` takes PyTorch on CUDA, else the fastest on this CPU of those that keep the accuracy.
    Raises StartupError if what is asked for is not at hand.
    """
    if choose_device(settings) == "cuda":
        return CudaEngine(checkpoint.load_network(), checkpoint.markup)
    if settings.engine != "auto":
        return _on_cpu(settings.engine, checkpoint, settings)
    for name in FASTEST_FIRST[:-1]:
        if not checkpoint.manifest.keeps_accuracy(name) or not _suits_cpu(name):
            continue
        try:
            return _on_cpu(name, checkpoint, settings)
        except StartupError:  # a file that is not what the manifest states
            raise
        except Exception as error:
            logger.warning("engine %s does not run here: %s", name, error)
    return _on_cpu(FASTEST_FIRST[-1], checkpoint, settings)


def choose_device(settings: Settings) -> str:
    """`cpu` or `cuda`. Raises StartupError if the settings cannot be met together or here."""
    openvino = settings.engine.startswith("openvino")
    if settings.device == "cuda" and openvino:
        raise StartupError(f"engine {settings.engine} runs on the CPU, but device is set to cuda")
    has_cuda = torch.cuda.is_available()
    if settings.device == "cuda" and not has_cuda:
        raise StartupError("device is set to cuda, but PyTorch sees no CUDA device")
    return "cuda" if has_cuda and settings.device != "cpu" and not openvino else "cpu"


def _on_cpu(name: EngineName, checkpoint: Checkpoint, settings: Settings) -> Engine:
    threads = settings.network_threads or granted_cpus()
    if name == "openvino-int8":
        return OpenVinoEngine(name, int8_model(checkpoint), threads)
    if name == "openvino":
        return OpenVinoEngine(name, fp32_model(checkpoint, settings.cache_dir), threads)
    return TorchEngine(checkpoint.load_network(), checkpoint.markup, threads)


def _suits_cpu(name: EngineName) -> bool:
    """Whether the engine's accuracy was measured on instructions that this CPU has.

    VNNI adds products of int8 up exactly. Older x86-64 CPUs saturate on the way; others were not
    measured.
    """
    capabilities = torch.cpu.get_capabilities()
    vnni = capabilities.get("avx512_vnni") or capabilities.get("avx_vnni")
    return name != "openvino-int8" or bool(vnni)
