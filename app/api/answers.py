"""From aligned faces in the upright frame to the answer in the frame that was asked for."""

from collections.abc import Hashable

import numpy as np
from numpy.typing import NDArray

from app.api.face_details import details, normalized, rounded_scores
from app.api.schemas import (
    BoundaryOut,
    Box,
    Face,
    FaceBoxOut,
    FaceQuery,
    Heatmap,
    ImageInfo,
    Landmark,
    ModelBrief,
    ModelInfo,
)
from app.pipeline import AlignedPhotograph
from lwbafa.checkpoint import Checkpoint
from lwbafa.face import AlignedFace, cut_chips, draw_faces
from lwbafa.imaging.crop import Crop
from lwbafa.imaging.draw import heatmap_image, leveled, png, png_base64
from lwbafa.imaging.photograph import Frame, Photograph
from lwbafa.types import FaceBox, Pixels


def image_info(photograph: Photograph, frame: Frame) -> ImageInfo:
    """The upload as the caller counts its pixels."""
    header = photograph.header
    width, height = photograph.size(frame)
    return ImageInfo(
        width=width,
        height=height,
        format=header.format,
        exif_orientation=header.orientation,
        frame=frame,
    )


def json_kind(query: FaceQuery) -> Hashable:
    """What decides how long the faces' JSON takes: the pictures in it."""
    return query.heatmap, query.chip, query.mask


def face_answers(aligned: AlignedPhotograph, query: FaceQuery) -> list[Face]:
    """The faces as JSON, each with what the query asks for."""
    photograph = aligned.photograph
    chips: list[Pixels | None] = [None] * len(aligned.faces)
    if query.chip:
        chips = [*cut_chips(photograph, aligned.faces, query.chip)]
    faces = [
        _face(face, photograph, query, chip)
        for face, chip in zip(aligned.faces, chips, strict=True)
    ]
    if query.units == "pixel":
        return faces
    return [normalized(face, *photograph.size(query.frame)) for face in faces]


def _face(face: AlignedFace, photograph: Photograph, query: FaceQuery, chip: Pixels | None) -> Face:
    frame = query.frame
    points = photograph.points_from_upright(face.landmarks, frame)
    box = photograph.box_from_upright(face.box, frame)
    mean, *scores = rounded_scores(np.append(face.score, face.scores))
    answer = Face(
        box=FaceBoxOut(
            **_box(box).model_dump(),
            roll_degrees=round(box.roll_degrees, 3),
            score=None if face.box_score is None else round(face.box_score, 4),
            source="caller" if face.box_score is None else "detector",
        ),
        score=mean,
        landmarks=[
            Landmark(x=x, y=y, score=score)
            for (x, y), score in zip(points.round(3).tolist(), scores, strict=True)
        ],
        **details(face, photograph, query, chip),
    )
    if query.heatmap:
        answer.heatmap = _heatmap(face.crop, face.heatmap, photograph, frame)
    return answer


def drawn(aligned: AlignedPhotograph) -> bytes:
    """The upright photograph with everything drawn over it, as PNG."""
    return png(draw_faces(aligned.photograph, aligned.faces))


def model_info(checkpoint: Checkpoint) -> ModelInfo:
    """Everything a caller may want to know of a checkpoint."""
    manifest, markup = checkpoint.manifest, checkpoint.markup
    return ModelInfo(
        **model_brief(checkpoint).model_dump(),
        architecture=manifest.architecture,
        landmark_count=markup.landmark_count,
        boundaries=[
            BoundaryOut(name=boundary.name, landmarks=list(boundary.landmarks))
            for boundary in markup.boundaries
        ],
        input=manifest.input,
        box_convention=manifest.box_convention,
        training_data=manifest.training.data,
        terms=manifest.training.terms,
        accuracy=list(manifest.accuracy),
    )


def model_brief(checkpoint: Checkpoint) -> ModelBrief:
    """Which checkpoint answered."""
    manifest = checkpoint.manifest
    return ModelBrief(
        name=manifest.name,
        version=manifest.version,
        markup=manifest.markup,
        sha256=manifest.sha256,
        calibrated=checkpoint.calibration is not None,
        groups={name: list(indices) for name, indices in checkpoint.markup.groups.items()},
    )


def _heatmap(
    crop: Crop, merged: NDArray[np.uint8], photograph: Photograph, frame: Frame
) -> Heatmap:
    crop, merged = leveled(crop, merged)
    box = FaceBox.centered((crop.center_x, crop.center_y), crop.side, crop.side)
    image = photograph.grey_from_upright(heatmap_image(merged), frame)
    return Heatmap(
        box=_box(photograph.box_from_upright(box, frame)),
        width=image.shape[1],
        height=image.shape[0],
        png_base64=png_base64(image),
    )


def _box(box: FaceBox) -> Box:
    return Box(
        x=round(box.x, 3),
        y=round(box.y, 3),
        width=round(box.width, 3),
        height=round(box.height, 3),
    )
