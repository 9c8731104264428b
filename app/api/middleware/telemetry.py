"""An id, a trace, a latency sample and a log line for every request."""

import secrets
import time
from collections.abc import Sequence

from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.trace import Trace
from app.errors import CLIENT_CLOSED_REQUEST
from app.logs import access_log, log_fields
from app.metrics import Metrics

# What a caller invents, path or method, is one label: else it would be metrics without end.
UNKNOWN_ROUTE, ANY_METHOD = "unmatched", "any"
METHODS, OTHER_METHOD = {"GET", "HEAD", "POST", "OPTIONS"}, "other"

PROBES = {"/livez", "/readyz", "/metrics"}


class RequestTelemetry:
    """ASGI middleware: gives every request an id, a trace, a latency sample and a log line.

    The line holds method, route, status and time: nothing of the upload, the query or the caller.
    The route is known by the path alone, so that it is told of what never reaches the router: a
    request without a key, a browser's preflight. Without `log_probes`, a probe that is answered as
    it should be has no line.
    """

    def __init__(
        self, app: ASGIApp, routes: Sequence[BaseRoute], metrics: Metrics, log_probes: bool
    ) -> None:
        self._app = app
        self._routes = [
            (route.path, route.path_regex) for route in routes if isinstance(route, Route | Mount)
        ]
        self._metrics = metrics
        self._log_probes = log_probes

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
            route, method = self._labels(scope)
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
            if self._log_probes or route not in PROBES or status >= 400:
                access_log.info("request", extra={"fields": fields})

    def _labels(self, scope: Scope) -> tuple[str, str]:
        """The request's route and method, as far as they are known here."""
        for path, regex in self._routes:
            if regex.match(scope["path"]):
                return path, scope["method"] if scope["method"] in METHODS else OTHER_METHOD
        return UNKNOWN_ROUTE, ANY_METHOD
