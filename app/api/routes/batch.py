"""`POST /v1/align/batch`: several photographs in one form, each answered or refused by itself."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AsyncExitStack, aclosing
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse
from fastapi.routing import APIRoute
from starlette.types import Receive, Scope, Send

from app.api import answers
from app.api.accept import JSON, preferred
from app.api.disconnects import unless_disconnected
from app.api.openapi import COMMON_ERRORS, form_fields, problem_responses, route_errors
from app.api.parameters import (
    Deadline,
    DeadlineMs,
    chosen_model,
    refuse_repeated,
    with_fields,
)
from app.api.schemas import BatchItem, BatchResponse, FaceQuery, ItemError
from app.api.upload import FORM, NamedImage, UploadMemory, in_time, read_uploads
from app.errors import (
    DeadlineExceeded,
    EmptyBody,
    InternalError,
    QueueFull,
    RequestError,
    as_request_error,
)
from app.models import LoadedModel
from app.pipeline import AlignRequest
from app.service import Service

logger = logging.getLogger(__name__)

router = APIRouter(prefix="/v1", responses=problem_responses(COMMON_ERRORS))

NDJSON = "application/x-ndjson"
FORM_SCHEMA = {
    "type": "object",
    "required": ["image"],
    "properties": {
        "image": {"type": "array", "items": {"type": "string", "format": "binary"}},
        **form_fields(FaceQuery),
    },
    "additionalProperties": False,
}


@router.post(
    "/align/batch",
    summary="Landmarks of every face in several photographs",
    response_model=BatchResponse,
    response_model_exclude_unset=True,
    responses={
        200: {
            "description": "One entry per photograph, in the order of the form: its faces, or its "
            "error. With `Accept: application/x-ndjson` an entry a line, as soon as it is there.",
            "content": {NDJSON: {"schema": {"$ref": "#/components/schemas/BatchItem"}}},
        },
        **problem_responses(route_errors()),
    },
    openapi_extra={
        "requestBody": {"required": True, "content": {FORM: {"schema": FORM_SCHEMA}}},
    },
)
async def align_batch(
    request: Request, query: Annotated[FaceQuery, Query()], deadline_ms: DeadlineMs = None
) -> Response:
    """Find and align the faces of several photographs; nothing of them is kept."""
    service: Service = request.app.state.service
    memory: UploadMemory = request.app.state.upload_memory
    settings = service.settings
    refuse_repeated(request.query_params.multi_items())
    deadline = Deadline.of(deadline_ms, settings.request_deadline_ms)
    model = chosen_model(query, service)
    service.refuse_if_late(model, deadline.seconds)
    async with AsyncExitStack() as held:
        await held.enter_async_context(service.intake.tracked())
        take = held.enter_context(memory.upload())
        reading = read_uploads(request, settings.max_upload_bytes, settings.max_batch_images, take)
        uploads = await in_time(reading, settings)
        if uploads.fields:
            query = with_fields(query, uploads.fields)
            model = chosen_model(query, service)
        held.enter_context(service.intake.place())
        batch = _Batch(service, model, query, uploads.images, deadline)
        if preferred(request.headers.getlist("accept"), (JSON, NDJSON)) == NDJSON:
            return _Lines(batch.items(), held.pop_all())
        images = await unless_disconnected(request, batch.all_items())
    answer = BatchResponse(
        request_id=request.state.request_id,
        model=answers.model_brief(model.checkpoint),
        images=images,
    )
    return Response(answer.model_dump_json(exclude_unset=True), media_type=JSON)


(ROUTE,) = (route for route in router.routes if isinstance(route, APIRoute))


class _Lines(StreamingResponse):
    """An entry a line. What the request holds is given back however the sending ends.

    A generator could not: one that is never begun, since the caller has left, gives nothing back.
    """

    def __init__(self, items: AsyncGenerator[BatchItem], held: AsyncExitStack) -> None:
        super().__init__(self._lines(), media_type=NDJSON)
        self._items, self._held = items, held

    async def _lines(self) -> AsyncIterator[str]:
        async for item in self._items:
            yield item.model_dump_json(exclude_unset=True) + "\n"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._held, aclosing(self._items):
            await super().__call__(scope, receive, send)


class _Batch:
    """The photographs of one request, a few of them under way at a time.

    So the faces of several meet in the network's batches, and other callers' photographs find free
    workers between them.
    """

    def __init__(
        self,
        service: Service,
        model: LoadedModel,
        query: FaceQuery,
        images: Sequence[NamedImage],
        deadline: Deadline,
    ) -> None:
        self._service, self._model, self._query, self._images = service, model, query, images
        self._wanted = deadline
        self._deadline = time.monotonic() + deadline.seconds
        self._max_faces = min(query.max_faces, service.settings.max_request_faces)
        self._trying, self._ended, self._once_more = 0, asyncio.Event(), asyncio.Lock()

    async def all_items(self) -> list[BatchItem]:
        """Every photograph's entry, in order."""
        return [item async for item in self.items()]

    async def items(self) -> AsyncGenerator[BatchItem]:
        """The entries in order, each as soon as it and those before it are there."""
        waiting = iter(range(len(self._images)))
        under_way: deque[asyncio.Task[BatchItem]] = deque()
        try:
            while True:
                for index in waiting:
                    under_way.append(asyncio.create_task(self._item(index)))
                    if len(under_way) > self._service.worker_count:
                        break
                if not under_way:
                    return
                yield await under_way[0]
                under_way.popleft()
        finally:
            for task in under_way:
                task.cancel()

    async def _item(self, index: int) -> BatchItem:
        """One photograph's entry, whatever becomes of it."""
        filename, data = self._images[index]
        try:
            return await self._taken(index, filename, data)
        except (TimeoutError, DeadlineExceeded):
            refusal = self._wanted.exceeded("No answer for this photograph in time.")
        except Exception as error:
            refusal = as_request_error(error) or _unexpected(error)
        self._service.metrics.errors.labels(refusal.code).inc()
        return BatchItem(
            index=index, filename=filename, status=refusal.status, error=_item_error(refusal)
        )

    async def _taken(self, index: int, filename: str | None, data: bytes) -> BatchItem:
        """The photograph's faces. Where the batch's others take all room, after one of those."""
        try:
            return await self._tried(index, filename, data)
        except QueueFull:
            if not self._trying:
                raise
        async with self._once_more:  # one at a time: each has to be decoded and searched again
            while True:
                try:
                    return await self._tried(index, filename, data)
                except QueueFull:
                    if not self._trying:
                        raise
                await self._ended.wait()

    async def _tried(self, index: int, filename: str | None, data: bytes) -> BatchItem:
        self._trying += 1
        try:
            return await self._aligned(index, filename, data)
        finally:
            self._trying -= 1
            self._ended.set()
            self._ended = asyncio.Event()

    async def _aligned(self, index: int, filename: str | None, data: bytes) -> BatchItem:
        if not data:
            raise EmptyBody("The image has no bytes.")
        wanted = AlignRequest(
            data,
            self._model,
            None,
            self._query.frame,
            self._max_faces,
            self._deadline,
            self._query.detection_px,
        )
        async with asyncio.timeout(self._deadline - time.monotonic()):
            aligned = await self._service.pipeline.align(wanted)
            faces = await self._service.pipeline.preparation.draw(
                partial(answers.face_answers, aligned, self._query),
                answers.json_kind(self._query),
                len(data),
            )
        self._service.metrics.observe_stages(self._model.name, wanted.timings.seconds)
        return BatchItem(
            index=index,
            filename=filename,
            status=200,
            image=answers.image_info(aligned.photograph, self._query.frame),
            faces=faces,
            found_faces=aligned.found,
        )


def _unexpected(error: Exception) -> InternalError:
    logger.error("a photograph of a batch failed", exc_info=error)
    return InternalError("The service failed on this photograph.")


def _item_error(refusal: RequestError) -> ItemError:
    error = ItemError(code=refusal.code, title=refusal.title, detail=refusal.detail)
    if refusal.retry_after_s is not None:
        error.retry_after_s = round(refusal.retry_after_s, 3)
    return error
