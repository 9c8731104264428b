"""CenterFace (Xu et al., 2019), an anchor-free detector.

The network's file is fetched by `python -m model_store.fetch_detectors`.
"""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lwbafa.detection import Detection, as_five
from lwbafa.detection.choose import DetectorOptions
from lwbafa.detection.network import DetectorNetwork, fit
from lwbafa.model_store import MODEL_STORE
from lwbafa.types import FaceBox, Pixels

SHA256 = "09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc"
STRIDE = 4
OVERLAP_THRESHOLD = 0.3
LONGEST_SIDE_PX = 640
SCORE_THRESHOLD = 0.4

# CenterFace's boxes begin at the hairline, the landmarks' at the brows: the mean over 503 training
# faces. Widths agree within 1 % and chins within 1 % of the box's height.
FOREHEAD_SHARE = 0.23


FILE = MODEL_STORE / "centerface" / "centerface.onnx"


def create(options: DetectorOptions) -> "CenterFace":
    """The detector that the options describe. Raises LoadError."""
    asked = options.score_threshold
    threshold = SCORE_THRESHOLD if asked is None else asked
    return CenterFace(
        options.file or FILE,
        options.longest_side_px or LONGEST_SIDE_PX,
        threshold,
        options.threads,
    )


class CenterFace:
    """The detector on the CPU.

    Raises LoadError if the file is missing or is not the one that was measured.
    """

    clear_score = 0.85

    def __init__(
        self, path: Path, longest_side_px: int, score_threshold: float, threads: int
    ) -> None:
        self.longest_side_px = longest_side_px
        self._network = DetectorNetwork(path, SHA256, "RGB", threads)
        self._score_threshold = score_threshold

    def detect(self, image: Pixels) -> list[Detection]:
        """All faces of an upright RGB image H×W×3, most certain first."""
        height, width = image.shape[:2]
        small = fit(image, self.longest_side_px)
        heat, log_size, offset, spots = self._network(small)
        boxes, points, scores = self._decode(heat[0, 0], log_size[0], offset[0], spots[0])
        to_image = np.array([width / small.shape[1], height / small.shape[0]])
        boxes *= np.tile(to_image, 2)
        points *= to_image
        kept = cv2.dnn.NMSBoxes(
            boxes.tolist(), scores.tolist(), self._score_threshold, OVERLAP_THRESHOLD
        )
        return [
            Detection(face_box(FaceBox(*boxes[i].tolist())), float(scores[i]), as_five(points[i]))
            for i in kept
        ]

    def _decode(
        self,
        heat: NDArray[np.float32],
        log_size: NDArray[np.float32],
        offset: NDArray[np.float32],
        spots: NDArray[np.float32],
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Boxes M×4 (left, top, width, height in network pixels), points and scores of hot cells.

        Points M×5×2 are given by pairs of y and x, in sizes of the box from its corner.
        """
        rows, columns = np.nonzero(heat > self._score_threshold)
        sizes = np.exp(log_size[:, rows, columns]) * STRIDE
        centers = (np.stack((rows, columns)) + offset[:, rows, columns] + 0.5) * STRIDE
        corners = centers - sizes / 2
        boxes = np.stack((corners[1], corners[0], sizes[1], sizes[0]), axis=1)
        offsets = spots[:, rows, columns].T.reshape(-1, 5, 2)
        points = (corners.T[:, None] + offsets * sizes.T[:, None])[..., ::-1]
        return boxes.astype(np.float32), points.astype(np.float32), heat[rows, columns]


def face_box(raw: FaceBox) -> FaceBox:
    """CenterFace's box, hairline to chin, cut down to the landmarks' box, brows to chin."""
    forehead = FOREHEAD_SHARE * raw.height
    return FaceBox(raw.x, raw.y + forehead, raw.width, raw.height - forehead)
