"""`GET /v1/models`."""

from fastapi import APIRouter, Request

from app.api import answers
from app.api.openapi import COMMON_ERRORS, problem_responses
from app.api.schemas import ModelList
from app.service import Service

router = APIRouter(prefix="/v1", responses=problem_responses(COMMON_ERRORS))


@router.get("/models", summary="The checkpoints that are loaded")
async def models(request: Request) -> ModelList:
    """What answers here, the default first: landmarks, groups, boundaries, input, accuracy."""
    service: Service = request.app.state.service
    return ModelList(models=[answers.model_info(model.checkpoint) for model in service.models])
