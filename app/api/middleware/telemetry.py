"""An id, a trace, a latency sample and a log line for every request."""

import secrets
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.trace import Trace
from app.errors import CLIENT_CLOSED_REQUEST
from app.logs import access_log, log_fields
from app.metrics import Metrics


class RequestTelemetry:
    """ASGI middleware: gives every request an id, a trace, a latency sample and a log line.

    The line holds method, route, status and time: nothing of the upload, the query or the caller.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = secrets.token_hex(16)
        trace = Trace.of_headers(scope["headers"])
        state = scope.setdefault("state", {})
        state.update(request_id=request_id, trace_id=trace.trace_id)
        status = CLIENT_CLOSED_REQUEST  # what stays if the caller leaves before an answer begins
        started = time.perf_counter()

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message["headers"],
                    (b"x-request-id", request_id.encode()),
                    (b"traceparent", trace.traceparent.encode()),
                ]
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        finally:
            seconds = time.perf_counter() - started
            # Only known routes become labels: a scanner's paths would be metrics without end.
            route = getattr(scope.get("route"), "path", "unmatched")
            method = scope["method"] if route != "unmatched" else "any"
            self._metrics.requests.labels(route, method, str(status)).observe(seconds)
            fields = {
                **log_fields(state),
                "method": method,
                "route": route,
                "status": status,
                "code": state.get("problem_code"),
                "api_key": state.get("api_key"),
                "ms": round(seconds * 1000, 1),
            }
            access_log.info("request", extra={"fields": fields})
