"""What the figures were measured on."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import cv2

from lwbafa.cpus import granted_cpus
from lwbafa.engine.choose import has_cuda


def machine() -> dict[str, Any]:
    """What the figures were measured on; the load average tells whether it was quiet."""
    return {
        "cpu": _cpu_model(),
        "cores_granted": granted_cpus(),
        "gpu": _gpu_name(),
        "load_average_1_min": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "torch": _version("torch"),
        "openvino": _version("openvino"),
        "opencv": cv2.__version__,
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _gpu_name() -> str:
    if not has_cuda():
        return "none"
    import torch

    return torch.cuda.get_device_name()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"
