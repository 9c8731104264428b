"""CenterFace (Xu et al., 2019), an anchor-free detector, run by OpenVINO on the CPU.

OpenCV's own inference gives the same boxes and takes nearly twice the time. The network's file is
fetched by `python -m model_store.fetch_centerface`.
"""

import hashlib
import threading
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lwbafa.detection import Detection
from lwbafa.detection.choose import DetectorOptions
from lwbafa.errors import LoadError
from lwbafa.model_store import MODEL_STORE
from lwbafa.quiet_openvino import ov
from lwbafa.types import FaceBox, Pixels

SHA256 = "09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc"
STRIDE = 4
SIDE_MULTIPLE = 32
OVERLAP_THRESHOLD = 0.3

OPTIONS = {
    # Concurrency comes from the callers' threads.
    "INFERENCE_NUM_THREADS": 1,
    "NUM_STREAMS": 1,
    "INFERENCE_PRECISION_HINT": "f32",
    "ENABLE_CPU_PINNING": False,
    # Photographs come in hundreds of shapes, and what is kept for each is megabytes a thread.
    "CPU_RUNTIME_CACHE_CAPACITY": 0,
}

# CenterFace's boxes begin at the hairline, the landmarks' at the brows: the mean over 503 training
# faces. Widths agree within 1 % and chins within 1 % of the box's height.
FOREHEAD_SHARE = 0.23


FILE = MODEL_STORE / "centerface" / "centerface.onnx"


def create(options: DetectorOptions) -> "CenterFace":
    """The detector that the options describe. Raises LoadError."""
    return CenterFace(options.file or FILE, options.longest_side_px, options.score_threshold)


class CenterFace:
    """The detector on the CPU, with one network per calling thread.

    Raises LoadError if the file is missing or is not the one that was measured.
    """

    def __init__(self, path: Path, longest_side_px: int, score_threshold: float) -> None:
        try:
            self._model = path.read_bytes()
        except OSError as error:
            raise LoadError(
                f"face detector {path} is missing: python -m model_store.fetch_centerface"
            ) from error
        if hashlib.sha256(self._model).hexdigest() != SHA256:
            raise LoadError(f"face detector {path} does not have the expected sha256")
        self.longest_side_px = longest_side_px
        self._score_threshold = score_threshold
        self._local = threading.local()

    def detect(self, image: Pixels) -> list[Detection]:
        """All faces of an upright RGB image H×W×3, most certain first."""
        height, width = image.shape[:2]
        shrink = min(1.0, self.longest_side_px / max(height, width))
        input_width, input_height = (_round_up(side * shrink) for side in (width, height))
        # Averaging keeps small faces whole where the photograph is many times larger.
        small = cv2.resize(image, (input_width, input_height), interpolation=cv2.INTER_AREA)
        network = self._network()
        # The fourth output, five landmarks, is not for us.
        heat, log_size, offset, _ = network([cv2.dnn.blobFromImage(small)]).to_tuple()
        boxes, scores = self._decode(heat[0, 0], log_size[0], offset[0])
        boxes *= np.tile([width / input_width, height / input_height], 2)
        kept = cv2.dnn.NMSBoxes(
            boxes.tolist(), scores.tolist(), self._score_threshold, OVERLAP_THRESHOLD
        )
        return [Detection(face_box(FaceBox(*boxes[i].tolist())), float(scores[i])) for i in kept]

    def _decode(
        self,
        heat: NDArray[np.float32],
        log_size: NDArray[np.float32],
        offset: NDArray[np.float32],
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Boxes M×4 (left, top, width, height in network pixels) and scores M of the hot cells."""
        rows, columns = np.nonzero(heat > self._score_threshold)
        sizes = np.exp(log_size[:, rows, columns]) * STRIDE
        centers = (np.stack((rows, columns)) + offset[:, rows, columns] + 0.5) * STRIDE
        corners = centers - sizes / 2
        boxes = np.stack((corners[1], corners[0], sizes[1], sizes[0]), axis=1)
        return boxes.astype(np.float32), heat[rows, columns]

    def _network(self) -> ov.CompiledModel:
        """This thread's own network, so that no thread waits for another's photograph."""
        if not hasattr(self._local, "network"):
            model = ov.Core().read_model(self._model)
            model.reshape([1, 3, -1, -1])
            self._local.network = ov.compile_model(model, "CPU", OPTIONS)
        return self._local.network


def face_box(raw: FaceBox) -> FaceBox:
    """CenterFace's box, hairline to chin, cut down to the landmarks' box, brows to chin."""
    forehead = FOREHEAD_SHARE * raw.height
    return FaceBox(raw.x, raw.y + forehead, raw.width, raw.height - forehead)


def _round_up(side: float) -> int:
    return max(SIDE_MULTIPLE, int(np.ceil(side / SIDE_MULTIPLE)) * SIDE_MULTIPLE)
