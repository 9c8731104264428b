"""YuNet (Wu, Peng and Yu, 2023), an anchor-free detector of 53,000 weights.

The network's file is fetched by `python -m model_store.fetch_detectors`.
"""

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from lwbafa.detection import Detection, as_five
from lwbafa.detection.choose import DetectorOptions
from lwbafa.detection.network import DetectorNetwork, fit
from lwbafa.model_store import MODEL_STORE
from lwbafa.types import FaceBox, Pixels

SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
FILE = MODEL_STORE / "yunet" / "yunet.onnx"
STRIDES = (8, 16, 32)
OVERLAP_THRESHOLD = 0.3
LONGEST_SIDE_PX = 960
SCORE_THRESHOLD = 0.7

# YuNet's boxes begin at the hairline, the landmarks' at the brows: the mean over the 2,012 training
# faces of 300-W. Widths agree within 3 % and chins within 1 % of the box's height; taking either
# into account, or the five points, left the network's error from the box as it was.
FOREHEAD_SHARE = 0.24


def create(options: DetectorOptions) -> "YuNet":
    """The detector that the options describe. Raises LoadError."""
    asked = options.score_threshold
    threshold = SCORE_THRESHOLD if asked is None else asked
    return YuNet(
        options.file or FILE,
        options.longest_side_px or LONGEST_SIDE_PX,
        threshold,
        options.threads,
    )


class RawFaces(NamedTuple):
    """Faces as the network gives them, in its input's pixels.

    Boxes M×4 (left, top, width, height), points M×5×2 (the eye and, last, the mouth's corner at
    the picture's left before their counterparts, the nose's tip between), scores M.
    """

    boxes: NDArray[np.float32]
    points: NDArray[np.float32]
    scores: NDArray[np.float32]


class YuNet:
    """The detector on the CPU.

    Raises LoadError if the file is missing or is not the one that was measured.
    """

    clear_score = 0.92

    def __init__(
        self, path: Path, longest_side_px: int, score_threshold: float, threads: int
    ) -> None:
        self.longest_side_px = longest_side_px
        self._network = DetectorNetwork(path, SHA256, "BGR", threads)
        self._score_threshold = score_threshold

    def detect(self, image: Pixels) -> list[Detection]:
        """All faces of an upright RGB image H×W×3, most certain first."""
        small = fit(image, self.longest_side_px)
        raw = self.raw_faces(small)
        to_image = np.array(image.shape[1::-1]) / small.shape[1::-1]
        boxes, points = raw.boxes * np.tile(to_image, 2), raw.points * to_image
        kept = cv2.dnn.NMSBoxes(
            boxes.tolist(), raw.scores.tolist(), self._score_threshold, OVERLAP_THRESHOLD
        )
        return [
            Detection(
                face_box(FaceBox(*boxes[i].tolist())), float(raw.scores[i]), as_five(points[i])
            )
            for i in kept
        ]

    def raw_faces(self, small: Pixels) -> RawFaces:
        """What the network sees in RGB pixels that `fit` has made, one face up to many times."""
        outputs = self._network(small)
        # Three outputs, one per stride, of each kind: class, objectness, box, points.
        levels = [
            self._decode(stride, small.shape[1] // stride, *(o[0] for o in outputs[level::3]))
            for level, stride in enumerate(STRIDES)
        ]
        return RawFaces(*(np.concatenate(arrays) for arrays in zip(*levels, strict=True)))

    def _decode(
        self,
        stride: int,
        columns: int,
        face: NDArray[np.float32],
        object_: NDArray[np.float32],
        box: NDArray[np.float32],
        points: NDArray[np.float32],
    ) -> RawFaces:
        """The faces of one level's hot cells."""
        scores = np.sqrt(face[:, 0] * object_[:, 0])
        hot = np.flatnonzero(scores > self._score_threshold)
        cells = np.stack((hot % columns, hot // columns), axis=1)
        sizes = np.exp(box[hot, 2:]) * stride
        corners = (cells + box[hot, :2]) * stride - sizes / 2
        boxes = np.concatenate((corners, sizes), axis=1).astype(np.float32)
        spots = (cells[:, None] + points[hot].reshape(-1, 5, 2)) * stride
        return RawFaces(boxes, spots.astype(np.float32), scores[hot])


def face_box(raw: FaceBox) -> FaceBox:
    """YuNet's box, hairline to chin, cut down to the landmarks' box, brows to chin."""
    forehead = FOREHEAD_SHARE * raw.height
    return FaceBox(raw.x, raw.y + forehead, raw.width, raw.height - forehead)
