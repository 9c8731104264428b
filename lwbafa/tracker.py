"""Follows the faces of a video: each frame's boxes come from the frame before.

    tracker = Tracker(aligner.align)
    for i, frame in enumerate(frames):
        for track in tracker.update(frame, i / 25):
            print(track.id, track.landmarks)

A box costs no detection, which on a CPU is half of the time. Works over whatever aligns: a
`FaceAligner`, or a `Client` of the service.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from lwbafa.smoothing import OneEuro
from lwbafa.types import FaceBox, Pixels

SAME_FACE = 0.5
"""Two boxes that share so much of the smaller one are of one face."""

FARTHEST_MOVE = 0.75
"""Of its side: a face that was lost and is found again has moved so far at most."""

LEVEL_DEGREES = 25.0
"""Faces that are turned less have upright boxes, as detected ones do."""

BOXES_AT_A_TIME = 16
"""A service takes so many of one frame; a crowd's faces may become more, search by search."""

SMALLEST_BOX_PX = 4.0
"""Points that fell together are no face."""


class AlignedLike(Protocol):
    """A face as the library and the client answer it."""

    @property
    def landmarks(self) -> NDArray[np.float64]:
        """N×2, pixels."""

    @property
    def score(self) -> float:
        """The share of points that is probably right; low for what is no face any more."""

    def group(self, name: str) -> NDArray[np.float64]:
        """The landmarks n×2 of a group."""


FaceT = TypeVar("FaceT", bound=AlignedLike)
Answered = TypeVar("Answered", bound=AlignedLike, covariant=True)


class Align(Protocol[Answered]):
    """`FaceAligner.align`, `Client.align`: the faces of RGB pixels, or those of some boxes."""

    def __call__(self, image: Pixels, boxes: Sequence[FaceBox] | None, /) -> Sequence[Answered]:
        """Without boxes all faces, with them those faces in their order."""


@dataclass(frozen=True, eq=False)
class Track(Generic[FaceT]):
    """A face in one frame: its `id` stays while it is followed, its `landmarks` N×2 are smoothed.

    `face` is what was answered for this frame; `frames` is for how many the face is followed.
    """

    id: int
    face: FaceT
    landmarks: NDArray[np.float64]
    frames: int


@dataclass(eq=False)
class _Followed(Generic[FaceT]):
    id: int
    face: FaceT
    filter: OneEuro
    frames: int = field(default=0)

    @property
    def box(self) -> FaceBox:
        return box_of(self.face)


class Tracker(Generic[FaceT]):
    """Follows faces from frame to frame; one tracker for one video, for one thread.

    All faces are searched for every `detect_every` frames, and in a frame in which a followed one
    falls below `min_score`, 0 to 1, or is gone. `min_cutoff` in Hz and `beta` are the One-Euro
    filter's: lower `min_cutoff` if still faces tremble, raise `beta` if fast ones lag.
    """

    def __init__(
        self,
        align: Align[FaceT],
        detect_every: int = 30,
        min_score: float = 0.3,
        min_cutoff: float = 1.0,
        beta: float = 5.0,
    ) -> None:
        self._align = align
        self._detect_every = detect_every
        self._min_score = min_score
        self._smoothing = (min_cutoff, beta)
        self._followed: list[_Followed[FaceT]] = []
        self._next_id = 0
        self._since_detection = 0
        self._time_s = -math.inf

    def update(self, frame: Pixels, time_s: float) -> list[Track[FaceT]]:
        """The faces of the next frame, upright RGB pixels H×W×3, in the order of their ids.

        `time_s` is when it was taken. Raises what `align` raises, and ValueError unless time goes
        on; the tracker then is as it was.
        """
        if not self._time_s < time_s < math.inf:
            raise ValueError(f"time goes on: {time_s:g} s does not come after {self._time_s:g} s")
        due = not self._followed or self._since_detection + 1 >= self._detect_every
        kept = self._follow(frame)
        searched = due or len(kept) < len(self._followed)
        if searched:
            kept = self._search(frame, kept)
        return self._take(kept, time_s, searched)

    def _follow(self, frame: Pixels) -> list[tuple[_Followed[FaceT] | None, FaceT]]:
        """The followed faces that are still to be seen where they were, oldest first."""
        inside = [followed for followed in self._followed if _is_inside(followed.box, frame)]
        if not inside:
            return []
        faces: list[FaceT] = []
        for i in range(0, len(inside), BOXES_AT_A_TIME):
            some = inside[i : i + BOXES_AT_A_TIME]
            faces += self._align(frame, [followed.box for followed in some])
        kept: list[tuple[_Followed[FaceT] | None, FaceT]] = []
        for followed, face in zip(inside, faces, strict=True):
            # Two may have run into the same face: the older one stays.
            alone = all(_shared(box_of(face), box_of(other)) < SAME_FACE for _, other in kept)
            if alone and face.score >= self._min_score and _is_inside(box_of(face), frame):
                kept.append((followed, face))
        return kept

    def _search(
        self, frame: Pixels, kept: list[tuple[_Followed[FaceT] | None, FaceT]]
    ) -> list[tuple[_Followed[FaceT] | None, FaceT]]:
        """What is kept, and the other faces of the frame: lost ones again, or new ones."""
        found = list(kept)
        lost = [
            followed
            for followed in self._followed
            if all(followed is not other for other, _ in kept)
        ]
        for face in self._align(frame, None):
            box = box_of(face)
            if face.score < self._min_score or not _is_inside(box, frame):
                continue
            if any(_shared(box, box_of(other)) >= SAME_FACE for _, other in found):
                continue
            near = [(_moved(followed.box, box), followed) for followed in lost]
            moved, again = min(near, key=lambda pair: pair[0], default=(math.inf, None))
            if again is not None and moved < FARTHEST_MOVE:
                lost.remove(again)
                found.append((again, face))
            else:
                found.append((None, face))
        return found

    def _take(
        self,
        kept: list[tuple[_Followed[FaceT] | None, FaceT]],
        time_s: float,
        searched: bool,
    ) -> list[Track[FaceT]]:
        """Go on from these faces; the tracks that they are."""
        known = [(followed, face) for followed, face in kept if followed is not None]
        new = [face for followed, face in kept if followed is None]
        known.sort(key=lambda pair: pair[0].id)
        smooth = [
            followed.filter(face.landmarks, time_s, _side(box_of(face))) for followed, face in known
        ]
        for face in new:
            followed = _Followed(self._next_id, face, OneEuro(*self._smoothing))
            self._next_id += 1
            known.append((followed, face))
            smooth.append(followed.filter(face.landmarks, time_s, _side(box_of(face))))
        for followed, face in known:
            followed.face = face
            followed.frames += 1
        self._followed = [followed for followed, _ in known]
        self._time_s = time_s
        self._since_detection = 0 if searched else self._since_detection + 1
        return [
            Track(followed.id, face, points, followed.frames)
            for (followed, face), points in zip(known, smooth, strict=True)
        ]


def box_of(face: AlignedLike) -> FaceBox:
    """The box around a face's landmarks, turned as its eyes are if that is much."""
    points = face.landmarks
    x, y = face.group("right_eye").mean(axis=0) - face.group("left_eye").mean(axis=0)
    degrees = math.degrees(math.atan2(y, x))
    if abs(degrees) <= LEVEL_DEGREES:
        return FaceBox.around(points)
    # In axes that are turned as the face is, the box is upright.
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    axes = np.array([[cos, sin], [-sin, cos]])
    level = FaceBox.around(points @ axes.T)
    return FaceBox.centered(np.array(level.center) @ axes, level.width, level.height, degrees)


def _is_inside(box: FaceBox, frame: Pixels) -> bool:
    """Whether a box is one that can be aligned: its centre in the picture, and not a mere spot."""
    height, width = frame.shape[:2]
    x, y = box.center
    within = 0 <= x <= width - 1 and 0 <= y <= height - 1
    return (
        within
        and min(box.width, box.height) >= SMALLEST_BOX_PX
        and _side(box) <= 2 * max(height, width)
    )


def _moved(before: FaceBox, after: FaceBox) -> float:
    """How far a box has moved, in its sides."""
    return math.dist(before.center, after.center) / _side(before)


def _side(box: FaceBox) -> float:
    return max(box.width, box.height)


def _shared(a: FaceBox, b: FaceBox) -> float:
    """Intersection of the upright rectangles around two boxes over the smaller one."""
    return a.upright.share_of_smaller(b.upright)
