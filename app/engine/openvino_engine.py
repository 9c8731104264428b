"""The OpenVINO engine: an OpenVINO model on the CPU."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from app.engine import Alignment, EngineName, split
from app.imaging.crop import Image
from app.lwbafa import INPUT_PX
from app.quiet_openvino import ov

SIZES = (4, 1)
"""Batches are run in parts of these sizes.

Several faces at once let the threads meet less often than one by one: a batch of eight took about
a seventh less on two busy cores; that four are enough is an assumption. Compiled for any size, the
network is no quicker and keeps half a gigabyte more once batches of one to eight have run.
"""


class OpenVinoEngine:
    """One inference at a time over all threads, which keeps a lone caller's wait short."""

    device: Literal["cpu"] = "cpu"

    def __init__(self, name: EngineName, model: ov.Model, threads: int) -> None:
        self.name = name
        options = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
            # Where the CPU has bf16, that would be taken unasked.
            "INFERENCE_PRECISION_HINT": "f32",
            # Two processes on one machine would pin their threads to the same cores.
            "ENABLE_CPU_PINNING": False,
        }
        core = ov.Core()
        self._requests = []
        for size in SIZES:
            model.reshape([size, INPUT_PX, INPUT_PX, 3])
            compiled = core.compile_model(model, "CPU", options)
            self._requests.append((size, compiled.create_infer_request()))

    def warm_up(self, max_batch: int) -> None:
        """Run the smallest and the largest batch, so that no caller pays for the first time."""
        black = np.zeros((INPUT_PX, INPUT_PX, 3), np.uint8)
        for size in {1, max_batch}:
            self.align([black] * size)

    def align(self, crops: Sequence[Image]) -> list[Alignment]:
        """Align crops of 256×256×3 uint8 RGB, in order."""
        answers: list[Alignment] = []
        for size, request in self._requests:
            while len(crops) - len(answers) >= size:
                part = np.stack(crops[len(answers) : len(answers) + size])
                answers += split(*request.infer([part], share_inputs=True).values())
        return answers
