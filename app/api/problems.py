"""Errors as RFC 9457 problem documents: the only shape in which a caller meets one."""

import logging
from collections.abc import Mapping
from typing import Any, NoReturn

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from app.api.schemas import Problem
from app.errors import (
    CLIENT_CLOSED_REQUEST,
    InvalidParameter,
    MethodNotAllowed,
    NotFound,
    RequestError,
)

MEDIA_TYPE = "application/problem+json"

logger = logging.getLogger(__name__)


def install_error_handlers(app: FastAPI) -> None:
    """Turn what FastAPI and its router refuse into errors of our own tree."""

    @app.exception_handler(RequestValidationError)
    async def on_validation_error(request: Request, error: RequestValidationError) -> NoReturn:
        first = error.errors()[0]
        # The location starts with "query" or "header" and may end with a type: only the name helps.
        named = {**first, "loc": first["loc"][1:2]}
        raise InvalidParameter(explain(named, ""))

    @app.exception_handler(HTTPException)
    async def on_http_exception(request: Request, error: HTTPException) -> NoReturn:
        """What the router itself refuses: an unknown path, a wrong method."""
        if error.status_code == MethodNotAllowed.status:
            raise MethodNotAllowed("See Allow for the methods.", headers=error.headers)
        raise NotFound("No such path; /docs lists them all.")

    @app.exception_handler(ClientDisconnect)
    async def on_disconnect(request: Request, error: ClientDisconnect) -> Response:
        return Response(status_code=CLIENT_CLOSED_REQUEST)


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
