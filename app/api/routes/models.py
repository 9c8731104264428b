"""`GET /v1/models`."""

from fastapi import APIRouter, Request

from app.api import answers
from app.api.openapi import COMMON_ERRORS, problem_responses
from app.api.schemas import AlignQuery, ModelList
from app.service import Service

router = APIRouter(prefix="/v1", responses=problem_responses(COMMON_ERRORS))


@router.get("/models", summary="The checkpoints that are loaded")
async def list_models(request: Request) -> ModelList:
    """What answers here, the default first: landmarks, groups, boundaries, input, accuracy.

    And how many faces a request may have, and how finely they may be searched for.
    """
    service: Service = request.app.state.service
    limit = service.settings.max_request_faces
    return ModelList(
        default_max_faces=min(AlignQuery().max_faces, limit),
        max_request_faces=limit,
        max_detection_px=service.models.default.aligner.detector.finest_px,
        models=[answers.model_info(model.checkpoint) for model in service.models],
    )
