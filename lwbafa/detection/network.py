"""A detector's network, run by OpenVINO on the CPU: what the detectors share.

OpenCV's own inference gives the same answers and takes nearly twice the time.
"""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lwbafa.cpus import granted_cpus
from lwbafa.errors import LoadError
from lwbafa.imaging.averaging import averaged_down
from lwbafa.quiet_openvino import ov
from lwbafa.types import Pixels

SIDE_MULTIPLE = 32

MOST_THREADS = 4

MOST_SQUARE_PX = 256

# In bfloat16, where the CPU has it, YuNet needs a quarter less time, CenterFace half. YuNet finds
# the same faces; scores differ by 0.002, boxes by 0.3 % of their width. CenterFace's boxes may move
# by some hundredths: of two neighbouring cells the other is hotter.
HAS_BF16 = "BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
OPTIONS = {
    "NUM_STREAMS": 1,
    "INFERENCE_PRECISION_HINT": "bf16" if HAS_BF16 else "f32",
    "ENABLE_CPU_PINNING": False,
    # Layers of the last shapes, which YuNet has a hundred of: cameras make few shapes, and each of
    # them costs 2 ms when it comes anew. Photographs of hundreds would take megabytes for each.
    "CPU_RUNTIME_CACHE_CAPACITY": 400,
}


class DetectorNetwork:
    """A network file for pictures of any shape, compiled once for every calling thread.

    So no thread waits for another's photograph. While one is alone, up to `threads` threads of the
    CPU work on its, 0 for all that are granted. `channels` is the order that the network was
    trained on. Raises LoadError if the file is missing or is not the one that was measured.
    """

    def __init__(
        self, path: Path, sha256: str, channels: Literal["RGB", "BGR"], threads: int
    ) -> None:
        try:
            file = path.read_bytes()
        except OSError as error:
            raise LoadError(
                f"face detector {path} is missing: python -m model_store.fetch_detectors"
            ) from error
        if hashlib.sha256(file).hexdigest() != sha256:
            raise LoadError(f"face detector {path} does not have the expected sha256")
        # Read once: what is compiled of it for each thread shares its weights.
        self._model = _read(file, channels)
        self._local = threading.local()
        threads = min(threads or granted_cpus(), MOST_THREADS)
        self._of_all = _Compiled(self._model, threads) if threads > 1 else None
        self._callers, self._counting = 0, threading.Lock()

    def __call__(self, image: Pixels) -> tuple[NDArray[np.float32], ...]:
        """The network's outputs, in its own order, for RGB pixels that `fit` has made."""
        with self._is_alone() as alone:
            compiled = self._of_all if alone and self._of_all else self._of_this_thread()
            return compiled(image)

    @contextmanager
    def _is_alone(self) -> Iterator[bool]:
        """Whether no other thread is in here; those that come later are not alone, then."""
        with self._counting:
            alone = self._callers == 0
            self._callers += 1
        try:
            yield alone
        finally:
            with self._counting:
                self._callers -= 1

    def _of_this_thread(self) -> "_Compiled":
        if not hasattr(self._local, "compiled"):
            self._local.compiled = _Compiled(self._model, 1)
        compiled: _Compiled = self._local.compiled
        return compiled


class _Compiled:
    """A model, compiled for photographs and once more for the small squares that are cut of them.

    Another shape than the last costs YuNet 2 to 3 ms: so those of one size each stay that quick.
    """

    def __init__(self, model: ov.Model, threads: int) -> None:
        options = {**OPTIONS, "INFERENCE_NUM_THREADS": threads}
        self._photographs, self._squares = (
            ov.compile_model(model, "CPU", options) for _ in range(2)
        )

    def __call__(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.float32], ...]:
        compiled = self._squares if max(image.shape) <= MOST_SQUARE_PX else self._photographs
        outputs: tuple[NDArray[np.float32], ...] = compiled([image[None]]).to_tuple()
        return outputs


def _read(file: bytes, channels: Literal["RGB", "BGR"]) -> ov.Model:
    """The network from 8-bit RGB rows on: OpenVINO reorders them faster than OpenCV does."""
    model = ov.Core().read_model(file)
    model.reshape([1, 3, -1, -1])
    steps = ov.preprocess.PrePostProcessor(model)
    pixels = steps.input()
    pixels.tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
    pixels.tensor().set_color_format(ov.preprocess.ColorFormat.RGB)
    pixels.model().set_layout(ov.Layout("NCHW"))
    pixels.preprocess().convert_element_type(ov.Type.f32)
    if channels == "BGR":
        pixels.preprocess().convert_color(ov.preprocess.ColorFormat.BGR)
    return steps.build()


def fit(image: Pixels, longest_side_px: int) -> Pixels:
    """RGB pixels H×W×3, shrunk to a longest side, both sides rounded up to SIDE_MULTIPLE."""
    height, width = image.shape[:2]
    shrink = min(1.0, longest_side_px / max(height, width))
    size = (_round_up(width * shrink), _round_up(height * shrink))
    return averaged_down(image, size)


def _round_up(side: float) -> int:
    return max(SIDE_MULTIPLE, int(np.ceil(side / SIDE_MULTIPLE)) * SIDE_MULTIPLE)
