"""Looks again where one look does not do: at faces that fill the picture, and at turned ones.

Detectors know upright faces of some range of sizes. What they have not found so, they find in the
same picture seen from farther away, turned, or in tiles.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from lwbafa.detection import Detection, FaceDetector
from lwbafa.detection.tiles import MOST_TILES_ALONG, OVERLAP, placed, tiles
from lwbafa.imaging.averaging import averaged_down
from lwbafa.imaging.crop import Crop
from lwbafa.types import FaceBox, Pixels

LOOK_PX = 256
"""Side of the square in which the whole picture is looked at again."""

FAR_SIDE, NEARER_SIDE, TURNED_SIDE = 2.4, 1.6, 1.3
"""Of that square, over the picture's longer side: from afar, less far, and turned.

A face of which only a part is in the picture is not always seen from afar, but nearer.
"""

LARGE = 0.5
"""Of the picture's shorter side: faces larger than that are looked at from afar."""

FINE_PX = 640
"""In pictures seen more finely than this, large faces are too large for a detector."""

QUARTERS, EIGHTHS = (180.0, 90.0, -90.0), (45.0, -45.0, 135.0, -135.0)

TURNED_DEGREES = 25.0
"""The network is trained on turns up to 30°."""

TURNS, TURN_DEGREES = 8, 45.0
MOST_DOUBTFUL = 4
"""In a crowd that is far away no face is clear: so many of the largest are turned."""

CLEARER = 0.02
"""In another turn, a face must be seen so much more clearly to be turned."""

FACE_PX, FACE_SIDE = 128, 2.2
"""The square in which one face is looked at again, and its side over the longer side of the box."""

SAME_PLACE = 0.3
"""Of that side: a turned face stays in its place so far."""

SAME_FACE = 0.5
"""Two boxes that share so much of the smaller one are of one face."""


class FaceSearch:
    """A detector that looks again where it must. Safe to call from several threads at once.

    `detect` answers turned boxes for turned faces: `FaceBox.roll_degrees`.
    """

    def __init__(self, detector: FaceDetector) -> None:
        self.detector = detector
        self.longest_side_px = detector.longest_side_px
        self.clear_score = detector.clear_score

    @property
    def finest_px(self) -> int:
        """The largest `detection_px` that `detect` takes."""
        return MOST_TILES_ALONG * self.longest_side_px

    def refuse_too_fine(self, detection_px: int | None) -> None:
        """Raise ValueError for a `detection_px` that `detect` does not take."""
        if detection_px is not None and not 0 < detection_px <= self.finest_px:
            raise ValueError(f"detection_px is 1 to {self.finest_px}, not {detection_px}")

    def detect(self, image: Pixels, detection_px: int | None = None) -> list[Detection]:
        """All faces of an upright RGB image H×W×3, in any order.

        `detection_px` is how finely it is seen: the length of its longer side, which is never
        enlarged. Beyond the detector's `longest_side_px` it is searched once more in tiles. Raises
        ValueError beyond `finest_px`.
        """
        self.refuse_too_fine(detection_px)
        if detection_px is None:
            return self._search(image, in_tiles=False)
        seen, shrink = _shrunk(image, detection_px)
        found = self._search(seen, in_tiles=max(seen.shape) > self.longest_side_px)
        return [_enlarged(face, shrink) for face in found]

    def _search(self, image: Pixels, in_tiles: bool) -> list[Detection]:
        found = self.detector.detect(image)
        if self._may_be_too_large(found, image):
            found = _merged(self._from_afar(image, FAR_SIDE), found)
        if in_tiles:
            found = self._with_small(image, found)
        if not found:
            found = self._from_afar(image, NEARER_SIDE) or self._turned(image)
        return self._leveled(image, found)

    def _may_be_too_large(self, found: Sequence[Detection], image: Pixels) -> bool:
        height, width = image.shape[:2]
        fine = min(max(height, width), self.longest_side_px) > FINE_PX
        largest = max((_side(face) for face in found), default=0.0)
        return fine or not found or largest > LARGE * min(height, width)

    def _from_afar(self, image: Pixels, side: float) -> list[Detection]:
        """The large faces, as seen with a black border around the picture."""
        least = 0.8 * LARGE * min(image.shape[:2])
        seen = self._look(image, _whole(image, side), LOOK_PX)
        return [face for face in seen if _side(face) > least]

    def _with_small(self, image: Pixels, found: list[Detection]) -> list[Detection]:
        """The faces found, small ones as tiles show them, and what tiles show besides."""
        shown = [
            face
            for tile, corner in tiles(image, self.longest_side_px)
            for face in placed(self.detector.detect(tile), tile, corner, image)
        ]
        # Of a face in two tiles, the clearer sight.
        distinct: list[Detection] = []
        for face in sorted(shown, key=lambda face: -face.score):
            distinct = _merged(distinct, [face])
        whole = [face for face in found if _side(face) >= OVERLAP * self.longest_side_px]
        return _merged(_merged(whole, distinct), found)

    def _turned(self, image: Pixels) -> list[Detection]:
        """The faces of that turn in which one is seen most clearly, a quarter turn if there is."""
        for turns in QUARTERS, EIGHTHS:
            looks = [
                self._look(image, _whole(image, TURNED_SIDE)._replace(degrees=degrees), LOOK_PX)
                for degrees in turns
            ]
            best = max(looks, key=lambda faces: max((face.score for face in faces), default=0.0))
            if best:
                return best
        return []

    def _leveled(self, image: Pixels, faces: list[Detection]) -> list[Detection]:
        """The faces, the largest doubtful ones as they are seen most clearly."""
        doubtful = [face for face in faces if self._may_be_turned(face)]
        doubtful = sorted(doubtful, key=_side)[-MOST_DOUBTFUL:]
        return [self._level(image, face) if face in doubtful else face for face in faces]

    def _may_be_turned(self, face: Detection) -> bool:
        aside = abs(_angle(face.roll_degrees - face.box.roll_degrees))
        return face.score < self.detector.clear_score or aside > TURNED_DEGREES

    def _level(self, image: Pixels, face: Detection) -> Detection:
        """A face in the turn in which it is seen most clearly, its own unless another is better."""
        own, *others = (self._turn(image, face, step * TURN_DEGREES) for step in range(TURNS))
        best = max((turn for turn in others if turn), key=lambda turn: turn.score, default=None)
        if best is None or (own and best.score < own.score + CLEARER):
            return face
        aside = _angle(best.roll_degrees - best.box.roll_degrees)
        best = self._turn(image, best, aside) or best
        return best._replace(score=max(best.score, face.score))

    def _turn(self, image: Pixels, face: Detection, degrees: float) -> Detection | None:
        """The same face, seen turned by more degrees; None if it is not seen."""
        side, roll = FACE_SIDE * _side(face), face.box.roll_degrees + degrees
        seen = self._look(image, Crop(*face.box.center, side, _angle(roll)), FACE_PX)
        same = [other for other in seen if _distance(other.box, face.box) < SAME_PLACE * side]
        return max(same, key=lambda other: other.score, default=None)

    def _look(self, image: Pixels, square: Crop, size_px: int) -> list[Detection]:
        """The faces in a square of the image, which is black outside, in pixels of the image."""
        return [
            face.moved(
                lambda points: square.to_image((points + 0.5) / size_px),
                square.side / size_px,
                square.degrees,
            )
            for face in self.detector.detect(square.cut(image, size_px))
        ]


def _whole(image: Pixels, side: float) -> Crop:
    height, width = image.shape[:2]
    return Crop((width - 1) / 2, (height - 1) / 2, side * max(height, width))


def _shrunk(image: Pixels, longest_side_px: int) -> tuple[Pixels, float]:
    """The image, shrunk to a longest side if it is longer, and how many times it was longer."""
    shrink = max(1.0, max(image.shape[:2]) / longest_side_px)
    if shrink == 1:
        return image, 1.0
    width, height = (max(1, round(side / shrink)) for side in image.shape[1::-1])
    return averaged_down(image, (width, height)), shrink


def _enlarged(face: Detection, times: float) -> Detection:
    """A face of a picture in pixels of one so many times larger; both begin at −0.5."""
    return face.moved(lambda points: (points + 0.5) * times - 0.5, times)


def _merged(large: list[Detection], others: Iterable[Detection]) -> list[Detection]:
    """Large faces, and the others that are no part of them."""
    return large + [
        other
        for other in others
        if all(other.box.share_of_smaller(face.box) < SAME_FACE for face in large)
    ]


def _side(face: Detection) -> float:
    return max(face.box.width, face.box.height)


def _distance(a: FaceBox, b: FaceBox) -> float:
    return float(np.hypot(*np.subtract(a.center, b.center)))


def _angle(degrees: float) -> float:
    """The same angle, −180 to 180."""
    return (degrees + 180) % 360 - 180
