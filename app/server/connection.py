"""One caller's connection: what it may cost before and after the application sees a request.

uvicorn has no deadline for a request's headers and no bound on their size, and waits for ever for a
caller that does not fetch its answer. Here a caller has a limited time to send or to fetch what is
due. Where there are too many connections, the one that has waited for its caller longest is closed.
An offer to change to another protocol is not taken up, and its request is read like any other
(RFC 9110, 7.8).
"""

import asyncio
import re
import resource
import secrets
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, NamedTuple

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.api.problems import MEDIA_TYPE, problem_document
from app.errors import BadRequest, HeadersTooLarge, RequestError, StartupError, UploadTooSlow
from app.logs import access_log
from app.metrics import Metrics
from app.settings import Settings

# As much as nginx takes by default. It bounds the number of header lines as well.
MAX_HEADER_BYTES = 32 * 1024

# What is read between two looks at that bound.
PIECE_BYTES = 4096

# A chunk may bring this many bytes besides its data, and twice its data.
CHUNK_FRAME_BYTES = 16

# RFC 3986, 3.2.2 and 3.2.3: what can stand in a host and its port.
HOST = re.compile(rb"[\w.~!$&'()*+,;=:%\[\]-]*", re.ASCII)

# What the process opens beside connections: libraries, the listener, pipes, the key file.
OTHER_DESCRIPTORS = 100


class ConnectionLimits(NamedTuple):
    """How many connections there may be, and how long each may take to send headers or fetch."""

    connections: int
    header_s: float
    answer_s: float


def connection_limits(settings: Settings) -> ConnectionLimits:
    """The limits in the settings. Raises StartupError if the system allows too few open files."""
    needed = settings.max_connections + OTHER_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise StartupError(
            f"setting LWBAFA_MAX_CONNECTIONS: {needed} open files are needed, {hard} allowed"
        )
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    return ConnectionLimits(
        settings.max_connections,
        settings.header_timeout_ms / 1000,
        settings.upload_timeout_ms / 1000,
    )


class _Deadline:
    """Calls `act` after `seconds` unless it is stopped; starting it again does not put it off."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, seconds: float, act: Callable[[], None]
    ) -> None:
        self._loop, self._seconds, self._act = loop, seconds, act
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(self._seconds, self._act)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Connection(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 protocol, guarded against callers who are slow, endless or many."""

    def __init__(
        self, *arguments: Any, limits: ConnectionLimits, metrics: Metrics, **named: Any
    ) -> None:
        super().__init__(*arguments, **named)
        self._limits = limits
        self._metrics = metrics
        self._headers_due = _Deadline(self.loop, limits.header_s, self._on_headers_late)
        self._answer_due = _Deadline(self.loop, limits.answer_s, self._on_answer_left)
        self._waiting_since = time.monotonic()
        self._refusal: RequestError = BadRequest("The bytes are not an HTTP/1.1 request.")
        self._in_headers = True
        self._unproductive_bytes = 0
        self._ended_body = False

    @property
    def _is_between_requests(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    @property
    def _waits(self) -> bool:
        """Whether it is the caller's turn: to send a request or its rest, or to fetch an answer."""
        return self._is_between_requests or self.cycle.more_body or self.flow.write_paused

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._headers_due.start()
        if len(self.connections) > self._limits.connections:
            self._make_room()

    def _make_room(self) -> None:
        """Close the connection that has waited for its caller for longest; it may be this one."""
        waiting = [c for c in self.connections if isinstance(c, Connection) and c._waits]
        oldest = min(waiting, key=lambda connection: connection._waiting_since)
        self.connections.discard(oldest)
        self._metrics.closed_connections.labels("crowded").inc()
        oldest.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._headers_due.stop()
        self._answer_due.stop()
        # uvicorn leaves it after a reset, and with it this connection and its last upload.
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    # What the caller sends

    def data_received(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest and not self.transport.is_closing():
            self._read(rest[:PIECE_BYTES])
            rest = rest[PIECE_BYTES:]

    def _read(self, piece: bytes | memoryview) -> None:
        """Parse the next bytes, and stop a caller who sends much of which no request comes."""
        self._unset_keepalive_if_required()
        self._ended_body = False
        piece = memoryview(piece)
        self._unproductive_bytes += len(piece)
        try:
            self.parser.feed_data(piece)
        except HttpParserUpgrade as offer:
            (end_of_head,) = offer.args
            self._decline_offer(piece[end_of_head:])
            return
        except HttpParserError:
            self._refuse(self._refusal)
            return
        # Headers, trailers and chunk extensions are bytes without a body; the parser keeps some.
        self._unproductive_bytes = max(0, self._unproductive_bytes)
        if self._unproductive_bytes > MAX_HEADER_BYTES:
            self._refuse(_too_large())
        elif self._is_between_requests:
            if self._ended_body:
                self._on_rest_complete()
            else:
                # Also while the rest of a body comes in that was answered before its end.
                self._headers_due.start()

    def _decline_offer(self, rest: memoryview) -> None:
        """Read a request again without its `Upgrade`, with a parser that has not left HTTP for it.

        The one that saw the offer takes the body for another protocol's bytes.
        """
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b" % (method, self.url, version)]
        lines += [b"%b: %b" % header for header in self.headers if header[0] != b"upgrade"]
        self.parser = _new_parser(self)
        self._read(b"\r\n".join((*lines, b"", bytes(rest))))

    def on_message_begin(self) -> None:
        self._in_headers = True
        self._ended_body = False
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_headers:  # else it is a trailer, which nobody reads
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._headers_due.stop()
        self._unproductive_bytes = 0
        self._in_headers = False
        if refusal := self._fault_of_head():
            self._refusal = refusal
            raise refusal  # the parser stops, and reports a malformed request
        if not self.parser.should_upgrade():
            super().on_headers_complete()

    def _fault_of_head(self) -> RequestError | None:
        """Why the head that has just come is refused, whatever it asks for."""
        method = self.parser.get_method()
        size = len(method) + len(self.url) + len("  HTTP/1.1\r\n\r\n")
        size += sum(len(name) + len(value) + len(": \r\n") for name, value in self.headers)
        if size > MAX_HEADER_BYTES:
            return _too_large()
        if method == b"CONNECT":
            return BadRequest("CONNECT asks for a proxy, which this is not.")
        hosts = [value for name, value in self.headers if name == b"host"]
        if len(hosts) > 1 or not (hosts or self.parser.get_http_version() == "1.0"):
            return BadRequest("An HTTP/1.1 request has one Host header, and only one.")
        if not all(HOST.fullmatch(host) for host in hosts):
            return BadRequest("The Host header is not a host and a port.")
        return None

    def on_body(self, body: bytes) -> None:
        self._unproductive_bytes -= CHUNK_FRAME_BYTES + 3 * len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return  # it is about to be read again, with its body
        self._unproductive_bytes = 0
        self._ended_body = True
        self._headers_due.stop()
        super().on_message_complete()

    def _on_rest_complete(self) -> None:
        """Nothing is owed any more: wait for the next request, which uvicorn has ceased to do."""
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )

    def _on_headers_late(self) -> None:
        self._metrics.closed_connections.labels("slow").inc()
        if self._in_headers and self._unproductive_bytes:
            seconds = self._limits.header_s
            self._refuse(UploadTooSlow(f"The headers did not arrive within {seconds:g} seconds."))
        else:
            self._close()

    # What the caller is sent

    def _refuse(self, error: RequestError) -> None:
        """Answer what has not become a request with a problem document, and close."""
        request_id = secrets.token_hex(16)
        self._metrics.errors.labels(error.code).inc()
        fields = {"request_id": request_id, "status": error.status, "code": error.code}
        access_log.info("refused connection", extra={"fields": fields})
        body = problem_document(error, request_id)
        head = (
            f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}",
            f"content-type: {MEDIA_TYPE}",
            f"content-length: {len(body)}",
            f"x-request-id: {request_id}",
            "x-content-type-options: nosniff",
            "cache-control: no-store",
            "connection: close",
        )
        self.transport.write("\r\n".join((*head, "", "")).encode() + body)
        self._close()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._answer_due.start()

    def resume_writing(self) -> None:
        if not self.transport.is_closing():
            self._answer_due.stop()
        super().resume_writing()

    def on_response_complete(self) -> None:
        self._waiting_since = time.monotonic()
        super().on_response_complete()
        if self.transport.is_closing():
            self._close()

    def timeout_keep_alive_handler(self) -> None:
        self._close()

    def _close(self) -> None:
        """Close once all is sent, or when the caller has not fetched it in time."""
        self.transport.close()
        if self.transport.get_write_buffer_size():
            self._answer_due.start()

    def _on_answer_left(self) -> None:
        self._metrics.closed_connections.labels("slow").inc()
        self.transport.abort()


def _new_parser(protocol: HttpToolsProtocol) -> HttpRequestParser:
    """A parser as uvicorn makes them."""
    parser = HttpRequestParser(protocol)
    parser.set_dangerous_leniencies(lenient_data_after_close=True)
    return parser


def _too_large() -> HeadersTooLarge:
    return HeadersTooLarge(f"The headers are larger than {MAX_HEADER_BYTES} bytes.")
