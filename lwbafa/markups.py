"""The two landmark markups: 68 points (300-W) and 98 points (WFLW).

A markup knows its boundaries (the curves that stage 1 draws), its groups (what people call the
parts of a face) and its horizontal flip. "Left" is the image's left, which is the subject's right.
Boundaries follow Look at Boundary (Wu et al., CVPR 2018).
"""

from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class Boundary:
    """One facial curve: its landmarks in drawing order, and the boundary a mirror turns it into."""

    name: str
    landmarks: tuple[int, ...]
    flips_to: int


@dataclass(frozen=True)
class Markup:
    """An ordering of landmarks with the structure that the network and the service need."""

    name: str
    flip: tuple[int, ...]
    boundaries: tuple[Boundary, ...]
    groups: dict[str, tuple[int, ...]]
    outer_eye_corners: tuple[int, int]

    @property
    def landmark_count(self) -> int:
        """Number of landmarks N."""
        return len(self.flip)

    @cached_property
    def boundaries_of_landmark(self) -> tuple[tuple[int, ...], ...]:
        """For each landmark, the indices of the boundaries that pass through it (may be empty)."""
        return tuple(
            tuple(k for k, boundary in enumerate(self.boundaries) if i in boundary.landmarks)
            for i in range(self.landmark_count)
        )


def _span(*ends: int) -> tuple[int, ...]:
    """Concatenated inclusive ranges: `_span(16, 0, 5, 6)` is 16, 15 … 0, 5, 6."""
    indices: list[int] = []
    for first, last in zip(ends[::2], ends[1::2], strict=True):
        step = 1 if last >= first else -1
        indices.extend(range(first, last + step, step))
    return tuple(indices)


MARKUP_68 = Markup(
    name="300w-68",
    flip=(
        *_span(16, 0, 26, 17, 27, 30, 35, 31, 45, 42, 47, 46),
        *_span(39, 36, 41, 40, 54, 48, 59, 55, 64, 60, 67, 65),
    ),
    boundaries=(
        Boundary("face_contour", _span(0, 16), 0),
        Boundary("left_brow", _span(17, 21), 2),
        Boundary("right_brow", _span(22, 26), 1),
        Boundary("nose_bridge", _span(27, 30), 3),
        Boundary("nose_bottom", _span(31, 35), 4),
        Boundary("left_eye_upper", _span(36, 39), 7),
        Boundary("left_eye_lower", (36, 41, 40, 39), 8),
        Boundary("right_eye_upper", _span(42, 45), 5),
        Boundary("right_eye_lower", (42, 47, 46, 45), 6),
        Boundary("upper_lip_outer", _span(48, 54), 9),
        Boundary("upper_lip_inner", _span(60, 64), 10),
        Boundary("lower_lip_inner", (60, 67, 66, 65, 64), 11),
        Boundary("lower_lip_outer", (48, *_span(59, 54)), 12),
    ),
    groups={
        "jaw": _span(0, 16),
        "left_brow": _span(17, 21),
        "right_brow": _span(22, 26),
        "nose": _span(27, 35),
        "left_eye": _span(36, 41),
        "right_eye": _span(42, 47),
        "outer_lips": _span(48, 59),
        "inner_lips": _span(60, 67),
    },
    outer_eye_corners=(36, 45),
)

MARKUP_98 = Markup(
    name="wflw-98",
    flip=(
        *_span(32, 0, 46, 42, 50, 47, 37, 33, 41, 38, 51, 54, 59, 55),
        *_span(72, 68, 75, 73, 64, 60, 67, 65, 82, 76, 87, 83, 92, 88, 95, 93, 97, 96),
    ),
    boundaries=(
        Boundary("face_contour", _span(0, 32), 0),
        Boundary("left_brow_upper", _span(33, 37), 2),
        Boundary("right_brow_upper", _span(42, 46), 1),
        Boundary("nose_bridge", _span(51, 54), 3),
        Boundary("nose_bottom", _span(55, 59), 4),
        Boundary("left_eye_upper", _span(60, 64), 7),
        Boundary("left_eye_lower", (60, *_span(67, 64)), 8),
        Boundary("right_eye_upper", _span(68, 72), 5),
        Boundary("right_eye_lower", (68, *_span(75, 72)), 6),
        Boundary("upper_lip_outer", _span(76, 82), 9),
        Boundary("upper_lip_inner", _span(88, 92), 10),
        Boundary("lower_lip_inner", (88, *_span(95, 92)), 11),
        Boundary("lower_lip_outer", (76, *_span(87, 82)), 12),
        Boundary("left_brow_lower", (33, *_span(41, 38)), 14),
        Boundary("right_brow_lower", _span(50, 46), 13),
    ),
    groups={
        "jaw": _span(0, 32),
        "left_brow": _span(33, 41),
        "right_brow": _span(42, 50),
        "nose": _span(51, 59),
        "left_eye": _span(60, 67),
        "right_eye": _span(68, 75),
        "outer_lips": _span(76, 87),
        "inner_lips": _span(88, 95),
        "pupils": (96, 97),
    },
    outer_eye_corners=(60, 72),
)

MARKUPS = {markup.name: markup for markup in (MARKUP_68, MARKUP_98)}

WFLW_AS_68 = (
    *range(0, 33, 2),  # jaw
    *_span(33, 37, 42, 46),  # brows, their upper edges
    *_span(51, 59),  # nose
    *(60, 61, 63, 64, 65, 67, 68, 69, 71, 72, 73, 75),  # eyes
    *_span(76, 95),  # lips
)
"""300-W's 68 points among WFLW's 98."""
