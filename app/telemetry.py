"""What the service says of itself: metrics, log lines, and the ids that tie them together."""

import json
import logging
import re
import secrets
import sys
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
)
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.batching import BatchReport

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8)
CLIENT_CLOSED_REQUEST = 499
access_log = logging.getLogger("app.access")


class Metrics:
    """The Prometheus metrics of one service, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Histogram(
            "lwbafa_request_seconds",
            "Request latency by route, method and status; its count is the request count",
            ["route", "method", "status"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.stages = Histogram(
            "lwbafa_stage_seconds",
            "Time by stage of a request",
            ["stage"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.errors = Counter(
            "lwbafa_errors", "Problem answers by code", ["code"], registry=self.registry
        )
        self.batch_faces = Histogram(
            "lwbafa_batch_faces",
            "Faces in a forward pass",
            buckets=(1, 2, 4, 8, 16, 32),
            registry=self.registry,
        )
        self.batch_seconds = Histogram(
            "lwbafa_batch_seconds",
            "Time of a forward pass",
            buckets=SECONDS,
            registry=self.registry,
        )
        self.batch_limit = Gauge(
            "lwbafa_batch_limit_faces",
            "Most faces in a forward pass now: fewer for a while after the device ran out of "
            "memory",
            registry=self.registry,
        )
        self.pass_age = Gauge(
            "lwbafa_forward_age_seconds",
            "How long the forward pass of now has run; 0 when idle",
            registry=self.registry,
        )
        self.out_of_memory = Counter(
            "lwbafa_out_of_memory",
            "Forward passes that ran out of memory and were run again in halves",
            registry=self.registry,
        )
        self.dropped_faces = Counter(
            "lwbafa_dropped_faces",
            "Faces that never reached the network because their request had ended or its deadline "
            "had passed, or that failed in it, by reason",
            ["reason"],
            registry=self.registry,
        )
        self.queue_faces = Gauge(
            "lwbafa_queue_faces", "Faces waiting for the network", registry=self.registry
        )
        self.queue_limit = Gauge(
            "lwbafa_queue_limit_faces",
            "Most faces that may wait for the network",
            registry=self.registry,
        )
        self.queue_age = Gauge(
            "lwbafa_queue_oldest_seconds",
            "How long the oldest waiting face has waited",
            registry=self.registry,
        )
        self.inflight = Gauge(
            "lwbafa_inflight_requests",
            "Alignment requests being worked on, their bodies complete",
            registry=self.registry,
        )
        self.inflight_limit = Gauge(
            "lwbafa_inflight_limit_requests",
            "Most requests that may be worked on at once",
            registry=self.registry,
        )
        self.upload_bytes = Gauge(
            "lwbafa_upload_bytes", "Bytes of uploads held in memory", registry=self.registry
        )
        self.upload_limit = Gauge(
            "lwbafa_upload_limit_bytes",
            "Most bytes of uploads that may be held at once",
            registry=self.registry,
        )
        self.closed_connections = Counter(
            "lwbafa_closed_connections",
            "Connections closed for their caller's slowness, or to make room, by reason",
            ["reason"],
            registry=self.registry,
        )
        self.key_requests = Counter(
            "lwbafa_key_requests",
            "Requests by the name of their API key, refused ones included",
            ["key"],
            registry=self.registry,
        )
        self.ready = Gauge(
            "lwbafa_ready",
            "1 while traffic should come here; 0 while starting, draining, stopping or dead",
            registry=self.registry,
        )
        self.model = Info(
            "lwbafa_model",
            "The checkpoint that answers, and the engine and device that run it",
            registry=self.registry,
        )
        ProcessCollector(registry=self.registry)  # memory, CPU time, files, time of the start
        for reason in ("ended", "deadline", "failed"):
            self.dropped_faces.labels(reason)
        for reason in ("slow", "crowded"):
            self.closed_connections.labels(reason)

    def observe_stages(self, seconds: Mapping[str, float]) -> None:
        """Record one answered request's time by stage."""
        for stage, took in seconds.items():
            self.stages.labels(stage).observe(took)

    def observe_batch(self, report: BatchReport) -> None:
        """Record one pick-up of the batcher."""
        if report.size:
            self.batch_faces.observe(report.size)
            self.batch_seconds.observe(report.seconds)
        self.dropped_faces.labels("ended").inc(report.dropped)
        self.dropped_faces.labels("deadline").inc(report.expired)
        self.dropped_faces.labels("failed").inc(report.failed)
        self.out_of_memory.inc(report.out_of_memory)


TRACEPARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
KNOWN_TRACE_FLAGS = 0x03  # sampled, random trace id


class Trace(NamedTuple):
    """One request's place in a distributed trace (W3C Trace Context): the ids are hexadecimal."""

    trace_id: str
    span_id: str
    flags: int

    @classmethod
    def of_headers(cls, headers: list[tuple[bytes, bytes]]) -> "Trace":
        """This service's span in the caller's trace; in a new one if there is no valid header."""
        sent = [value for name, value in headers if name == b"traceparent"]
        match = TRACEPARENT.fullmatch(sent[0]) if len(sent) == 1 else None
        span_id = secrets.token_hex(8)
        if match:
            version, trace_id, parent_id, flags, more = match.groups()
            known = version != b"ff" and not (version == b"00" and more)
            if known and trace_id.strip(b"0") and parent_id.strip(b"0"):
                return cls(trace_id.decode(), span_id, int(flags, 16) & KNOWN_TRACE_FLAGS)
        return cls(secrets.token_hex(16), span_id, 0)

    @property
    def traceparent(self) -> str:
        """The header that passes the trace on."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags:02x}"


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


def log_fields(state: Mapping[str, Any]) -> dict[str, str]:
    """What ties a log line to its request."""
    return {"request_id": state["request_id"], "trace_id": state["trace_id"]}


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, message and the record's own `fields`."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": self.formatTime(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


def configure_logging(level: str) -> None:
    """Send every logger's lines to standard error as JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(True)
    # What libraries say of a file in detail is its metadata: not for any log, at any level.
    for library in ("PIL", "python_multipart", "py.warnings"):
        logging.getLogger(library).setLevel(logging.ERROR)
    # This service writes its own line per request; uvicorn's would hold the caller's address.
    logging.getLogger("uvicorn.access").disabled = True
