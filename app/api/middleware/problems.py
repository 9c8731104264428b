"""Every exception becomes a problem document."""

import logging
import math
from typing import Any

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.problems import MEDIA_TYPE, problem_document
from app.errors import InternalError, RequestError, as_request_error
from app.logs import log_fields
from app.metrics import Metrics

logger = logging.getLogger(__name__)


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
        problem = as_request_error(error)
        cause: BaseException | None = error.__cause__
        message = str(error)
        if problem is None:
            problem = InternalError("The error has been logged under this request_id.")
            cause, message = error, "unexpected error"
        if problem.status == 500:
            fields = {**log_fields(state), "code": problem.code}
            logger.error(message, exc_info=cause, extra={"fields": fields})
        self._metrics.errors.labels(problem.code).inc()
        state["problem_code"] = problem.code
        body = problem_document(problem, state["request_id"])
        return Response(body, problem.status, headers_of(problem), MEDIA_TYPE)


def headers_of(problem: RequestError) -> dict[str, str]:
    """The answer's headers: the error's own, and when to try again in whole seconds."""
    if problem.retry_after_s is None:
        return problem.headers
    return problem.headers | {"Retry-After": str(max(1, math.ceil(problem.retry_after_s)))}
