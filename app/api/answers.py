"""From aligned faces in the upright frame to the answer in the frame that was asked for."""

import base64

import numpy as np
from numpy.typing import NDArray

from app.api.schemas import (
    BoundaryOut,
    Box,
    Face,
    FaceBoxOut,
    Frame,
    Heatmap,
    ImageInfo,
    Landmark,
    ModelBrief,
    ModelInfo,
)
from app.checkpoints import Checkpoint
from app.imaging.crop import Crop, FaceBox
from app.imaging.draw import annotated, heatmap_image, png
from app.imaging.photograph import Photograph
from app.lwbafa import Markup
from app.pipeline import AlignedFace, AlignedPhotograph


def image_info(photograph: Photograph, frame: Frame) -> ImageInfo:
    """The upload as the caller counts its pixels."""
    header = photograph.header
    stored = (header.width, header.height)
    width, height = stored if frame is Frame.stored else photograph.upright_size
    return ImageInfo(
        width=width,
        height=height,
        format=header.format,
        exif_orientation=header.orientation,
        frame=frame,
    )


def face_answers(aligned: AlignedPhotograph, frame: Frame, heatmap: bool) -> list[Face]:
    """The faces as JSON, each with its heatmap if asked for."""
    return [_face(face, aligned.photograph, frame, heatmap) for face in aligned.faces]


def _face(face: AlignedFace, photograph: Photograph, frame: Frame, heatmap: bool) -> Face:
    points, box = face.points, face.box
    if frame is Frame.stored:
        points = photograph.orientation.to_stored(points, photograph.upright_size)
        box = photograph.orientation.box_to_stored(box, photograph.upright_size)
    scores = face.alignment.scores
    answer = Face(
        box=FaceBoxOut(
            **_box(box).model_dump(),
            score=None if face.detection_score is None else round(face.detection_score, 4),
            source="caller" if face.detection_score is None else "detector",
        ),
        score=_score(float(np.nanmean(scores))),
        landmarks=[
            Landmark(x=round(x, 3), y=round(y, 3), score=_score(score))
            for (x, y), score in zip(points.tolist(), scores, strict=True)
        ],
    )
    if heatmap:
        answer.heatmap = _heatmap(face.crop, face.alignment.heatmap, photograph, frame)
    return answer


def drawn(aligned: AlignedPhotograph, markup: Markup) -> bytes:
    """The upright photograph with everything drawn over it, as PNG."""
    faces = [(face.crop, face.points, face.alignment.heatmap) for face in aligned.faces]
    return png(annotated(aligned.photograph.picture().pixels, faces, markup.groups))


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
        groups={name: list(indices) for name, indices in checkpoint.markup.groups.items()},
    )


def _heatmap(
    crop: Crop, merged: NDArray[np.uint8], photograph: Photograph, frame: Frame
) -> Heatmap:
    box = FaceBox(
        crop.center_x - crop.side / 2, crop.center_y - crop.side / 2, crop.side, crop.side
    )
    image = heatmap_image(merged)
    if frame is Frame.stored:
        box = photograph.orientation.box_to_stored(box, photograph.upright_size)
        image = photograph.orientation.stored(image)
    return Heatmap(
        box=_box(box),
        width=image.shape[1],
        height=image.shape[0],
        png_base64=base64.b64encode(png(image)).decode(),
    )


def _box(box: FaceBox) -> Box:
    return Box(
        x=round(box.x, 3),
        y=round(box.y, 3),
        width=round(box.width, 3),
        height=round(box.height, 3),
    )


def _score(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 4)
