"""`GET /v1/models`."""

from fastapi import APIRouter, Request

from app.api import answers
from app.api.openapi import OF_EVERY_REQUEST, problem_responses
from app.api.schemas import ModelList
from app.service import Service

router = APIRouter(prefix="/v1", responses=problem_responses(OF_EVERY_REQUEST))


@router.get("/models", summary="The checkpoint that is loaded")
async def models(request: Request) -> ModelList:
    """What answers here: its landmarks, groups, boundaries, input contract and accuracy."""
    service: Service = request.app.state.service
    return ModelList(models=[answers.model_info(service.checkpoint)])
