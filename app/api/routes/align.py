"""`POST /v1/align`."""

import asyncio
import time
from functools import partial
from typing import Annotated, TypeVar

from fastapi import APIRouter, Query, Request, Response
from fastapi.routing import APIRoute

from app.api import answers
from app.api.accept import JSON, preferred
from app.api.disconnects import unless_disconnected
from app.api.openapi import COMMON_ERRORS, form_fields, problem_responses, route_errors
from app.api.parameters import Deadline, DeadlineMs, chosen, refuse_repeated, with_fields
from app.api.schemas import AlignQuery, AlignResponse
from app.api.svg import drawing
from app.api.upload import ACCEPTED_TYPES, FORM, UploadMemory, in_time, read_upload
from app.errors import DeadlineExceeded
from app.pipeline import AlignRequest
from app.service import Service
from lwbafa.timings import Timings

router = APIRouter(prefix="/v1", responses=problem_responses(COMMON_ERRORS))

Answer = TypeVar("Answer")

PNG, SVG = "image/png", "image/svg+xml"
"""What can be answered; of what a caller likes equally well, the first."""

BINARY = {"type": "string", "format": "binary"}
FORM_SCHEMA = {
    "type": "object",
    "required": ["image"],
    "properties": {"image": BINARY, **form_fields(AlignQuery)},
    "additionalProperties": False,
}
REQUEST_BODY = {
    "required": True,
    "description": "The photograph: JPEG, PNG or WebP, which its bytes tell. Parameters may be "
    "fields of the form instead of the query's.",
    "content": {
        media_type: {"schema": FORM_SCHEMA if media_type == FORM else BINARY}
        for media_type in ACCEPTED_TYPES
    },
}
EXAMPLE_ANSWER = {
    "request_id": "0b3844c1757b4b8f87c4dc476a35e217",
    "model": {
        "name": "lwbafa-lite-300w68",
        "version": "2.2.0",
        "markup": "300w-68",
        "sha256": "f27db012…",
        "calibrated": True,
        "groups": {"jaw": [0, 1, 2], "left_brow": [17, 18, 19, 20, 21]},
    },
    "image": {
        "width": 512,
        "height": 512,
        "format": "jpeg",
        "exif_orientation": 1,
        "frame": "upright",
    },
    "faces": [
        {
            "box": {
                "x": 181.4,
                "y": 85.8,
                "width": 88.5,
                "height": 92.0,
                "roll_degrees": 0.0,
                "score": 0.93,
                "source": "detector",
            },
            "score": 0.8,
            "landmarks": [{"x": 179.0, "y": 100.4, "score": 0.58}],
        }
    ],
    "found_faces": 1,
    "max_faces": 16,
    "timing_ms": {"read": 0.2, "decode": 1.4, "detect": 6.9, "network": 6.3, "total": 18.2},
}
"""Shortened; what every field means stands in the schemas."""


@router.post(
    "/align",
    summary="Landmarks of every face in a photograph",
    response_model=AlignResponse,
    response_model_exclude_unset=True,
    responses={
        200: {
            "description": "Landmarks as JSON; with `Accept: image/png` the upright photograph "
            "with landmarks and boundary heatmaps drawn over it, with `Accept: image/svg+xml` the "
            "landmarks alone as a drawing of the frame's size. No face is an empty list.",
            "content": {
                JSON: {"example": EXAMPLE_ANSWER},
                PNG: {"schema": BINARY},
                SVG: {"schema": {"type": "string"}},
            },
        },
        **problem_responses(route_errors()),
    },
    openapi_extra={"requestBody": REQUEST_BODY},
)
async def align(
    request: Request,
    query: Annotated[AlignQuery, Query()],
    deadline_ms: DeadlineMs = None,
) -> Response:
    """Find and align the faces of one uploaded photograph; nothing of it is kept."""
    service: Service = request.app.state.service
    memory: UploadMemory = request.app.state.upload_memory
    refuse_repeated(request.query_params.multi_items())
    model, boxes = chosen(query, service)
    timings = Timings()
    deadline = Deadline.of(deadline_ms, service.settings.request_deadline_ms)
    seconds = deadline.seconds
    service.refuse_if_late(model, seconds)  # again, now that the caller's own deadline is known
    async with service.intake.tracked():
        with memory.upload() as take:
            with timings.stage("read"):
                upload = await in_time(
                    read_upload(request, service.settings.max_upload_bytes, take),
                    service.settings,
                )
            if upload.fields:
                query = with_fields(query, upload.fields)
                model, boxes = chosen(query, service)
            # Only now a place is taken: a slow upload keeps nobody else out.
            with service.intake.place():
                wanted = AlignRequest(
                    upload.image,
                    model,
                    boxes,
                    query.frame,
                    min(query.max_faces, service.settings.max_request_faces),
                    time.monotonic() + seconds,
                    query.detection_px,
                    timings,
                )
                try:
                    return await _answer_in_time(request, wanted, query, service, seconds)
                except DeadlineExceeded as error:
                    raise deadline.exceeded(error.detail) from error


(ROUTE,) = (route for route in router.routes if isinstance(route, APIRoute))


async def _answer_in_time(
    request: Request, wanted: AlignRequest, query: AlignQuery, service: Service, seconds: float
) -> Response:
    try:
        async with asyncio.timeout(seconds):
            answer = await _answer(request, wanted, query, service)
        if time.monotonic() > wanted.deadline:  # while nothing was awaited that could be ended
            raise TimeoutError
        return answer
    except TimeoutError as error:
        raise DeadlineExceeded(f"No answer within {seconds:g} seconds.") from error


async def _answer(
    request: Request, wanted: AlignRequest, query: AlignQuery, service: Service
) -> Response:
    timings, model = wanted.timings, wanted.model
    with timings.stage("total"):
        aligned = await unless_disconnected(request, service.pipeline.align(wanted))
        draw = partial(service.pipeline.preparation.draw, size=len(wanted.data))
        with timings.stage("render"):
            media_type = preferred(request.headers.getlist("accept"), (JSON, PNG, SVG))
            picture: bytes | str | None = None
            if media_type == PNG:
                picture = await draw(partial(answers.drawn, aligned), PNG)
            elif media_type == SVG:
                picture = drawing(aligned, wanted.frame)
            else:
                work = partial(answers.face_answers, aligned, query)
                faces = await draw(work, answers.json_kind(query))
    service.metrics.observe_stages(model.name, timings.seconds)
    milliseconds = {stage: round(1000 * took, 3) for stage, took in timings.seconds.items()}
    server_timing = ", ".join(f"{stage};dur={took}" for stage, took in milliseconds.items())
    headers = {"Server-Timing": server_timing}
    if picture is not None:
        return Response(picture, headers=headers, media_type=media_type)
    answer = AlignResponse(
        request_id=request.state.request_id,
        model=answers.model_brief(model.checkpoint),
        image=answers.image_info(aligned.photograph, wanted.frame),
        faces=faces,
        found_faces=aligned.found,
        max_faces=wanted.max_faces if wanted.boxes is None else None,
        timing_ms=milliseconds,
    )
    body = answer.model_dump_json(exclude_unset=True)
    return Response(body, headers=headers, media_type="application/json")
