"""Which engine runs the network: the one asked for, or the fastest that keeps the accuracy."""

import ctypes
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Literal

from lwbafa.checkpoint import Checkpoint, EngineName
from lwbafa.cpus import granted_cpus, has_vnni
from lwbafa.engine import Engine
from lwbafa.errors import LoadError

ENGINES: Mapping[EngineName, str] = {
    "openvino-int8": "lwbafa.engine.openvino_engine",
    "openvino": "lwbafa.engine.openvino_engine",
    "torch": "lwbafa.engine.torch_engine",
}
"""The engines for CPUs, fastest first, and the modules whose `create(name, checkpoint, threads)`
makes them. A module is imported when its engine is made: only one of them needs PyTorch."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EngineOptions:
    """What is asked of an engine.

    `engine` is `auto` or one of `ENGINES`; `threads` are the CPU's, 0 for all that are granted.
    """

    engine: EngineName = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int = 0


def create_engine(checkpoint: Checkpoint, options: EngineOptions = EngineOptions()) -> Engine:
    """The engine for a checkpoint that the options ask for.

    `auto` takes PyTorch on CUDA, else the fastest on this CPU of those that keep the accuracy.
    Raises LoadError if what is asked for is not at hand.
    """
    if choose_device(options) == "cuda":
        from lwbafa.engine.cuda_engine import create

        return create(checkpoint)
    if options.engine != "auto":
        return _on_cpu(options.engine, checkpoint, options)
    for name in ENGINES:
        measured = checkpoint.manifest.keeps_accuracy(name)
        if not (measured and checkpoint.has_model(name) and _suits_cpu(name)):
            continue
        try:
            return _on_cpu(name, checkpoint, options)
        except LoadError:  # a file that is not what the manifest states
            raise
        except Exception as error:
            logger.warning("engine %s does not run here: %s", name, error)
    raise LoadError(f"no engine runs the checkpoint {checkpoint.name} here")


def choose_device(options: EngineOptions) -> Literal["cpu", "cuda"]:
    """Where the engine will run. Raises LoadError if the options cannot be met together or here."""
    cpu_only = options.engine not in ("auto", "torch")
    if options.device == "cuda" and cpu_only:
        raise LoadError(f"engine {options.engine} runs on the CPU, but device is set to cuda")
    if options.device == "cpu" or cpu_only:
        return "cpu"
    if has_cuda():
        return "cuda"
    if options.device == "cuda":
        raise LoadError("device is set to cuda, but PyTorch sees no CUDA device")
    return "cpu"


def has_cuda() -> bool:
    """Whether PyTorch sees a CUDA device; it is not even imported where there is no driver."""
    try:
        ctypes.CDLL("libcuda.so.1")
        import torch
    except (OSError, ImportError):
        return False
    return torch.cuda.is_available()


def _on_cpu(name: EngineName, checkpoint: Checkpoint, options: EngineOptions) -> Engine:
    if name not in ENGINES:
        raise LoadError(f"there is no engine {name}; there are: {', '.join(ENGINES)}")
    try:
        create: Callable[[EngineName, Checkpoint, int], Engine]
        create = import_module(ENGINES[name]).create
    except ModuleNotFoundError as error:
        raise LoadError(
            f"engine {name} needs the package {error.name}, which is not installed"
        ) from error
    return create(name, checkpoint, options.threads or granted_cpus())


def _suits_cpu(name: EngineName) -> bool:
    """Whether the engine's accuracy was measured on instructions that this CPU has."""
    return name != "openvino-int8" or has_vnni()
