"""Errors as RFC 9457 problem documents: the only shape in which a caller meets one."""

import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.schemas import Problem
from app.errors import (
    InternalError,
    InvalidParameter,
    MethodNotAllowed,
    NotFound,
    RequestError,
)
from app.telemetry import CLIENT_CLOSED_REQUEST, Metrics

MEDIA_TYPE = "application/problem+json"

logger = logging.getLogger(__name__)


def install_problem_answers(app: FastAPI, metrics: Metrics) -> None:
    """Answer every exception of the app with a problem document."""
    app.add_middleware(UnexpectedErrors, metrics=metrics)

    def answer(request: Request, error: RequestError) -> Response:
        return _answer(request, error, metrics)

    @app.exception_handler(RequestError)
    async def on_request_error(request: Request, error: RequestError) -> Response:
        if error.status == 500:
            fields = {"request_id": request.state.request_id, "code": error.code}
            logger.error(error.detail, exc_info=error.__cause__, extra={"fields": fields})
        return answer(request, error)

    @app.exception_handler(RequestValidationError)
    async def on_validation_error(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        # The location starts with "query", which the problem's title says already.
        named = {**first, "loc": first["loc"][1:]}
        return answer(request, InvalidParameter(explain(named, "")))

    @app.exception_handler(HTTPException)
    async def on_http_exception(request: Request, error: HTTPException) -> Response:
        """What the router itself refuses: an unknown path, a wrong method."""
        if error.status_code == MethodNotAllowed.status:
            return answer(request, MethodNotAllowed("See Allow for the methods.", error.headers))
        return answer(request, NotFound("No such path; /docs lists them all."))

    @app.exception_handler(ClientDisconnect)
    async def on_disconnect(request: Request, error: ClientDisconnect) -> Response:
        return Response(status_code=CLIENT_CLOSED_REQUEST)


class UnexpectedErrors:
    """ASGI middleware: a bug's traceback goes to the log, its caller gets an id to quote."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def watched_send(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, watched_send)
        except Exception as error:
            if scope["type"] != "http" or started:
                raise
            request = Request(scope)
            fields = {"request_id": request.state.request_id, "code": InternalError.code}
            logger.error("unexpected error", exc_info=error, extra={"fields": fields})
            bug = InternalError("The error has been logged under this request_id.")
            await _answer(request, bug, self._metrics)(scope, receive, send)


def _answer(request: Request, error: RequestError, metrics: Metrics) -> Response:
    metrics.errors.labels(error.code).inc()
    request.state.problem_code = error.code
    problem = Problem(
        type="about:blank",
        title=error.title,
        status=error.status,
        detail=error.detail,
        code=error.code,
        request_id=request.state.request_id,
    )
    return Response(problem.model_dump_json(), error.status, error.headers, MEDIA_TYPE)


def explain(problem: Mapping[str, Any], root: str) -> str:
    """One of pydantic's error entries as a sentence: `boxes[1][2]: input should be …`."""
    place = "".join(f"[{part}]" if isinstance(part, int) else part for part in problem["loc"])
    return f"{root}{place}: {problem['msg']}."
