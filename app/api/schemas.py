"""The JSON of the API. Coordinates are pixels; (0, 0) is the centre of the top left pixel."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter
from pydantic.json_schema import SkipJsonSchema

from lwbafa.checkpoint import Accuracy, BoxConvention, InputContract
from lwbafa.imaging.photograph import Frame

Place = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Length = Annotated[float, Field(strict=True, allow_inf_nan=False, ge=1)]


def _with_roll(box: Any) -> Any:
    """Four numbers are a box that is not turned."""
    return [*box, 0.0] if isinstance(box, list) and len(box) == 4 else box


Corners = Annotated[tuple[Place, Place, Length, Length, Place], BeforeValidator(_with_roll)]
BOXES = TypeAdapter(Annotated[list[Corners], Field(min_length=1)])
"""What the query parameter `boxes` holds, as JSON."""


TemplateName = Literal["arcface-112", "ffhq-256", "ffhq-512"]


class FaceQuery(BaseModel):
    """What is asked of every photograph, in the query or as fields of the form."""

    model_config = ConfigDict(extra="forbid")

    model: str | SkipJsonSchema[None] = Field(
        None, description="Name of the model that answers; without it the first of `/v1/models`"
    )
    max_faces: int = Field(
        16,
        ge=1,
        description="Align at most this many detected faces, largest first; lowered to the limit "
        "that `/v1/models` names",
    )
    detection_px: int | SkipJsonSchema[None] = Field(
        None,
        ge=64,
        description="Search for faces with the picture's longer side at so many pixels: more finds "
        "smaller faces and takes longer. By default the detector's own, at most four times that, "
        "and no more than the picture has",
    )
    heatmap: bool = Field(False, description="Also answer with each face's boundary heatmap")
    pose: bool = Field(False, description="Also answer with each head's angles")
    openings: bool = Field(False, description="Also answer how far eyes and mouths are open")
    quality: bool = Field(False, description="Also answer how good each face's picture is")
    five: bool = Field(
        False, description="Also answer with eyes' middles, the nose's tip and the mouth's corners"
    )
    chip: TemplateName | SkipJsonSchema[None] = Field(
        None, description="Also answer with each face cut out to this template, upright"
    )
    mask: bool = Field(False, description="Also answer with the hull of each face's landmarks")
    map_values: bool = Field(
        False, description="Also answer with the boundary heatmap's value at each landmark"
    )
    units: Literal["pixel", "normalized"] = Field(
        "pixel",
        description="`normalized`: places in the answer are shares of the picture's width and "
        "height, 0 and 1 at its outer edges. `boxes` are pixels always, and so is a mask's place.",
    )
    frame: Frame = Field(
        Frame.upright,
        description="`upright`: as a person sees the picture. `stored`: the file's own pixel grid, "
        "before EXIF rotation. Holds for all coordinates, in and out.",
    )


class AlignQuery(FaceQuery):
    """Parameters of `POST /v1/align`."""

    boxes: str | SkipJsonSchema[None] = Field(
        None,
        description="JSON list of `[x, y, width, height]`, such as `[[180, 90, 90, 85]]`: faces to "
        "align instead of detecting them, in pixels of `frame`. A box encloses the landmarks: "
        "brows to chin, ear to ear. A fifth number is the box's `roll_degrees`. All are answered, "
        "in their order.",
    )


class Box(BaseModel):
    """A rectangle in image pixels."""

    x: float
    y: float
    width: float
    height: float


class FaceBoxOut(Box):
    """A face's box: it encloses the landmarks, brows to chin and ear to ear."""

    roll_degrees: float = Field(
        description="How far the rectangle is turned clockwise about its centre, so that the face "
        "in it is upright; 0 for faces that are nearly so"
    )
    score: float | None = Field(description="Detector's confidence; null for a caller's box")
    source: Literal["detector", "caller"]


class Landmark(BaseModel):
    """One landmark; it may lie outside the image."""

    x: float
    y: float
    score: float | None = Field(
        description="Probability that the point is right: within 5 % of the inter-ocular distance "
        "of its true place. Of a model that is not `calibrated` its map value, which may be null"
    )


class Heatmap(BaseModel):
    """The boundaries of one face, merged, as a grey PNG: 255 where the network is certain."""

    box: Box = Field(description="Where the PNG's outer edges lie on the image")
    width: int
    height: int
    png_base64: str


class FacePose(BaseModel):
    """A head's angles in degrees, in the upright photograph."""

    pitch: float = Field(description="Positive where the face looks up")
    yaw: float = Field(description="Positive where it looks to the image's right")
    roll: float = Field(description="Positive where the head is turned clockwise")


class Openings(BaseModel):
    """Height over width; 0 is closed. Left is the image's left."""

    left_eye: float
    right_eye: float
    mouth: float


class FaceQuality(BaseModel):
    """How good the picture of a face is."""

    sharpness: float = Field(
        description="Spread of the Laplacian over that of the grey values, at the network's size: "
        "higher is sharper"
    )
    brightness: float = Field(description="Mean grey value, 0 to 1")
    face_px: float = Field(description="Longer side of the landmarks' box in pixels")
    inside: float = Field(description="Share of the landmarks that lie in the photograph")


class Chip(BaseModel):
    """A face cut out so that its five points lie on a template; black outside the photograph."""

    template: TemplateName
    width: int
    height: int
    matrix: list[list[float]] = Field(
        description="2×3, from the upright photograph's pixels to the chip's"
    )
    png_base64: str


class Mask(BaseModel):
    """The hull of a face's landmarks as a grey PNG, 255 within; its place in the frame's pixels."""

    x: int
    y: int
    width: int
    height: int
    png_base64: str


class Face(BaseModel):
    """One aligned face."""

    box: FaceBoxOut
    score: float | None = Field(
        description="Mean of the landmarks' scores: the share of points that is probably right"
    )
    landmarks: list[Landmark] = Field(description="In the markup's order")
    heatmap: Heatmap | None = Field(None, description="Only with `heatmap=true`")
    pose: FacePose | None = Field(None, description="Only with `pose=true`")
    openings: Openings | None = Field(None, description="Only with `openings=true`")
    quality: FaceQuality | None = Field(None, description="Only with `quality=true`")
    five: list[tuple[float, float]] | None = Field(
        None,
        description="Only with `five=true`: left eye, right eye, nose, left and right corner of "
        "the mouth, each x and y",
    )
    chip: Chip | None = Field(None, description="Only with `chip=…`")
    mask: Mask | None = Field(None, description="Only with `mask=true`")
    map_values: list[float | None] | None = Field(
        None,
        description="Only with `map_values=true`: the heatmap of each landmark's own boundaries at "
        "the point, 0 to 1; null for a landmark that belongs to no boundary",
    )


class ImageInfo(BaseModel):
    """The upload, in the frame that the coordinates are in."""

    width: int
    height: int
    format: str = Field(examples=["jpeg"])
    exif_orientation: int = Field(description="1 to 8; 1 where the file says nothing")
    frame: Frame


class ModelBrief(BaseModel):
    """Which checkpoint answered, and how its landmarks group."""

    name: str
    version: str
    markup: str
    sha256: str
    calibrated: bool = Field(description="Whether scores are probabilities, not map values")
    groups: dict[str, list[int]] = Field(description="Landmark indices; left is the image's left")


class AlignResponse(BaseModel):
    """Answer of `POST /v1/align`."""

    request_id: str
    model: ModelBrief
    image: ImageInfo
    faces: list[Face] = Field(description="Largest first, or in the order of `boxes`")
    found_faces: int | None = Field(
        description="Faces that were detected; more than are answered where `max_faces` cut them. "
        "null if there were `boxes`"
    )
    max_faces: int | None = Field(
        description="Most detected faces that are answered: `max_faces`, or the service's limit if "
        "that is lower. null if there were `boxes`"
    )
    timing_ms: dict[str, float] = Field(
        description="By stage; `total` runs from the received body to the rendered faces"
    )


class ItemError(BaseModel):
    """Why one photograph of a batch has no faces: as its own request would have been told."""

    code: str
    title: str
    detail: str
    retry_after_s: float | None = None


class BatchItem(BaseModel):
    """One photograph of a batch: its faces, or its error; `status` as its own request's."""

    index: int = Field(description="Place in the form, from 0")
    filename: str | None = Field(description="As its part named it")
    status: int = Field(examples=[200])
    image: ImageInfo | None = None
    faces: list[Face] | None = None
    found_faces: int | None = None
    error: ItemError | None = None


class BatchResponse(BaseModel):
    """Answer of `POST /v1/align/batch`."""

    request_id: str
    model: ModelBrief
    images: list[BatchItem] = Field(description="In the order of the form")


class BoundaryOut(BaseModel):
    """One boundary: the landmarks it runs through."""

    name: str
    landmarks: list[int]


class ModelInfo(ModelBrief):
    """A checkpoint in full."""

    architecture: str
    landmark_count: int
    boundaries: list[BoundaryOut]
    input: InputContract
    box_convention: BoxConvention
    training_data: str
    terms: str
    accuracy: list[Accuracy]


class ModelList(BaseModel):
    """Answer of `GET /v1/models`."""

    default_max_faces: int = Field(description="Most detected faces answered without `max_faces`")
    max_request_faces: int = Field(description="Most faces, or boxes, in one request")
    max_detection_px: int = Field(description="Greatest `detection_px` of a request")

    models: list[ModelInfo]


class Problem(BaseModel):
    """An RFC 9457 problem document; `code` is stable, the texts are for people."""

    type: str = Field(examples=["about:blank"])
    title: str
    status: int
    detail: str
    code: str
    request_id: str
