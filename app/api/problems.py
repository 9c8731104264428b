"""Errors as RFC 9457 problem documents: the only shape in which a caller meets one."""

import logging
from collections.abc import Mapping
from typing import Any, NoReturn

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
from app.telemetry import CLIENT_CLOSED_REQUEST, Metrics, log_fields

MEDIA_TYPE = "application/problem+json"

logger = logging.getLogger(__name__)


def install_problem_answers(app: FastAPI, metrics: Metrics) -> None:
    """Answer every exception of the app, and of its middleware so far, with a problem document."""
    app.add_middleware(ProblemAnswers, metrics=metrics)

    @app.exception_handler(RequestValidationError)
    async def on_validation_error(request: Request, error: RequestValidationError) -> NoReturn:
        first = error.errors()[0]
        # The location starts with "query", which the problem's title says already.
        named = {**first, "loc": first["loc"][1:]}
        raise InvalidParameter(explain(named, ""))

    @app.exception_handler(HTTPException)
    async def on_http_exception(request: Request, error: HTTPException) -> NoReturn:
        """What the router itself refuses: an unknown path, a wrong method."""
        if error.status_code == MethodNotAllowed.status:
            raise MethodNotAllowed("See Allow for the methods.", error.headers)
        raise NotFound("No such path; /docs lists them all.")

    @app.exception_handler(ClientDisconnect)
    async def on_disconnect(request: Request, error: ClientDisconnect) -> Response:
        return Response(status_code=CLIENT_CLOSED_REQUEST)


class ProblemAnswers:
    """ASGI middleware: every exception becomes a problem document.

    An error of the tree tells its caller what it is. A bug's traceback goes to the log, and its
    caller gets an id to quote.
    """

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
            await self._answer(error, scope["state"])(scope, receive, send)

    def _answer(self, error: Exception, state: dict[str, Any]) -> Response:
        if isinstance(error, RequestError):
            problem, cause, message = error, error.__cause__, error.detail
        else:
            problem = InternalError("The error has been logged under this request_id.")
            cause, message = error, "unexpected error"
        if problem.status == 500:
            fields = {**log_fields(state), "code": problem.code}
            logger.error(message, exc_info=cause, extra={"fields": fields})
        self._metrics.errors.labels(problem.code).inc()
        state["problem_code"] = problem.code
        body = problem_document(problem, state["request_id"])
        return Response(body, problem.status, problem.headers, MEDIA_TYPE)


def problem_document(error: RequestError, request_id: str) -> bytes:
    """The error as JSON."""
    problem = Problem(
        type="about:blank",
        title=error.title,
        status=error.status,
        detail=error.detail,
        code=error.code,
        request_id=request_id,
    )
    return problem.model_dump_json().encode()


def explain(problem: Mapping[str, Any], root: str) -> str:
    """One of pydantic's error entries as a sentence: `boxes[1][2]: input should be …`."""
    place = "".join(f"[{part}]" if isinstance(part, int) else part for part in problem["loc"])
    return f"{root}{place}: {problem['msg']}."
