"""`/livez`, `/readyz` and `/metrics`: for machines that watch, never behind the queue."""

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel
from starlette.responses import PlainTextResponse

from app.service import Service

router = APIRouter()


class Readiness(BaseModel):
    """Whether traffic should come here, and if not, why."""

    ready: bool
    reasons: list[str]


@router.get(
    "/livez",
    summary="Is this process worth keeping?",
    response_class=PlainTextResponse,
    responses={503: {"content": {"text/plain": {}}, "description": "Only a restart helps"}},
)
async def livez(request: Request) -> Response:
    """200 while the network makes progress; 503 says why only a restart helps."""
    service: Service = request.app.state.service
    if failure := service.readiness.failure:
        return PlainTextResponse(f"dead: {failure}", 503)
    return PlainTextResponse("live")


@router.get(
    "/readyz",
    summary="Should traffic come here?",
    response_model=Readiness,
    responses={503: {"model": Readiness}},
)
async def readyz(request: Request) -> Response:
    """200 once the network and the detector are warm; 503 with reasons before, and when leaving."""
    service: Service = request.app.state.service
    reasons = service.readiness.not_ready_reasons()
    answer = Readiness(ready=not reasons, reasons=reasons)
    status = 503 if reasons else 200
    return Response(answer.model_dump_json(), status, media_type="application/json")


@router.get("/metrics", summary="Prometheus metrics", response_class=Response)
async def metrics(request: Request) -> Response:
    """All metrics in the Prometheus text format."""
    service: Service = request.app.state.service
    text = generate_latest(service.metrics.registry)
    return Response(text, media_type=CONTENT_TYPE_LATEST)
