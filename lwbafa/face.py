"""What the library answers for one face."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lwbafa.imaging.crop import Crop
from lwbafa.imaging.draw import annotated
from lwbafa.imaging.photograph import Photograph, Source
from lwbafa.markups import Markup
from lwbafa.measures.chips import TEMPLATES, chip_crop, five_points
from lwbafa.measures.openings import Openings, openings
from lwbafa.measures.pose import Pose, head_pose
from lwbafa.measures.quality import Quality, quality
from lwbafa.plain import plain_face
from lwbafa.types import FaceBox, Pixels


@dataclass(frozen=True, eq=False)
class AlignedFace:
    """One face, in pixels of the upright photograph; (0, 0) is the centre of the top left pixel.

    `landmarks` N×2 float64 in the markup's order, never clamped; `scores` N float32, each point's
    probability to lie within 5 % of the inter-ocular distance of its true place; `map_values` N
    float32, the heatmap of each landmark's own boundaries at the point, 0 to 1, NaN for points on
    no boundary: the scores too where the checkpoint has no calibration; `heatmap` uint8, the
    boundaries merged over `crop`, 255 for certain; `pixels` S×S×3, what the network read of the
    crop; `box` around the landmarks as the detector found it or the caller gave it, `box_score` the
    detector's, None for a caller's box; `picture_size` the photograph's width and height. Pose,
    openings and points raise KeyError for a markup that does not tell them.
    """

    landmarks: NDArray[np.float64]
    scores: NDArray[np.float32]
    map_values: NDArray[np.float32]
    heatmap: NDArray[np.uint8]
    crop: Crop
    pixels: Pixels
    picture_size: tuple[int, int]
    box: FaceBox
    box_score: float | None
    markup: Markup

    @property
    def score(self) -> float:
        """The mean of the landmarks' scores: the share that is probably right."""
        return float(np.nanmean(self.scores))

    def group(self, name: str) -> NDArray[np.float64]:
        """The landmarks n×2 of a group, such as `left_eye`; left is the image's left.

        Raises KeyError, which names the groups, for one that the markup does not have.
        """
        groups = self.markup.groups
        if name not in groups:
            raise KeyError(f"there is no group {name}; there are: {', '.join(groups)}")
        return self.landmarks[list(groups[name])]

    @property
    def pose(self) -> Pose:
        """Where the head is turned to, in degrees."""
        return head_pose(self.landmarks, self.markup)

    @property
    def openings(self) -> Openings:
        """How far each eye and the mouth are open: height over width."""
        return openings(self.landmarks, self.markup)

    @property
    def quality(self) -> Quality:
        """How good the picture of the face is."""
        return quality(self.pixels, self.landmarks, self.picture_size)

    @property
    def five(self) -> NDArray[np.float64]:
        """Eyes' middles, the nose's tip and the mouth's corners 5×2, the image's left first."""
        return five_points(self.landmarks, self.markup)

    def chip(self, photograph: Source | Photograph, template: str = "arcface-112") -> Pixels:
        """The face cut out of its photograph so that `five` lies on a template of `TEMPLATES`.

        RGB, black outside the photograph. Raises KeyError for a template that does not exist.
        """
        return cut_chips(photograph, [self], template)[0]

    def draw(self, photograph: Source) -> Pixels:
        """The upright photograph, 1024 to 2048 px long, this face's points and heatmap over it."""
        return draw_faces(photograph, [self])

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; scores that are not defined are None."""
        return plain_face(self.box, self.box_score, self.score, self.landmarks, self.scores)


def cut_chips(
    photograph: Source | Photograph, faces: Sequence[AlignedFace], template: str
) -> list[Pixels]:
    """Each face's `chip`, of a photograph that is decoded once for all of them."""
    chosen = TEMPLATES[template]
    if not faces:
        return []
    opened = photograph if isinstance(photograph, Photograph) else Photograph.open(photograph)
    crops = [chip_crop(face.five, chosen) for face in faces]
    smallest = min(crop.side for crop in crops)
    # Twice the pixels, so that chips are averaged down: what comes of them is less noisy.
    picture = opened.picture(opened.shrink_for(smallest, 2 * chosen.size_px))
    return [picture.crop_from(crop).cut(picture.pixels, chosen.size_px) for crop in crops]


def draw_faces(photograph: Source | Photograph, faces: list[AlignedFace]) -> Pixels:
    """The upright photograph, 1024 to 2048 px long, with all faces drawn over it."""
    opened = photograph if isinstance(photograph, Photograph) else Photograph.open(photograph)
    parts = [(face.crop, face.landmarks, face.heatmap, face.markup.groups) for face in faces]
    return annotated(opened.picture().pixels, parts)
