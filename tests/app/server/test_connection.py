"""Callers who are slow, endless or many, over real sockets."""

import ast
import asyncio
import inspect
import resource
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from threading import Event

import httpx
import pytest
from starlette.responses import PlainTextResponse
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from app.metrics import Metrics
from app.server import connection
from app.server.connection import MAX_HEADER_BYTES, Connection, ConnectionLimits
from tests.app.api.raw import connect, head, metric, rest
from tests.conftest import running_server, server_process

JPEG = {"Content-Type": "image/jpeg"}
HEADER_S = 2
ANSWER_S = 5
CONNECTIONS = 600
LIVEZ = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"


def answer_up_to(caller: socket.socket, end: bytes) -> bytes:
    """The answer that ends so; nothing if the connection ends before it."""
    answer = b""
    while not answer.endswith(end):
        answer += (more := caller.recv(4096))
        if not more:
            return b""
    return answer


def alive(caller: socket.socket) -> bool:
    """Whether one request for liveness was answered, in full."""
    return answer_up_to(caller, b"\r\n\r\nlive").startswith(b"HTTP/1.1 200 ")


def refused(caller: socket.socket) -> bool:
    """Whether the type of the body was refused, in full."""
    return answer_up_to(caller, b"}").startswith(b"HTTP/1.1 415 ")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A server that is soon impatient, and has places for few requests."""
    limits = {
        "header_timeout_ms": 1000 * HEADER_S,
        "upload_timeout_ms": 1000 * ANSWER_S,
        "max_connections": CONNECTIONS,
        "max_inflight_requests": 4,
    }
    with running_server(**limits) as address:
        yield address


@contextmanager
def trickling(url: str, count: int) -> Iterator[list[socket.socket]]:
    """That many callers, half with headers and half with bodies that hardly move on."""
    stop = Event()
    with ExitStack() as stack, ThreadPoolExecutor(1) as pool:
        body = head("image/jpeg", "Content-Length: 100000")
        starts = (b"GET /livez HTTP/1.1\r\nA: ", body + b"\xff\xd8\xff")
        callers = [stack.enter_context(connect(url, starts[i % 2])) for i in range(count)]

        def trickle() -> None:
            while not stop.wait(0.2):
                for caller in callers:
                    with suppress(OSError):  # the server has closed it
                        caller.send(b"a")

        trickled = pool.submit(trickle)
        try:
            yield callers
        finally:
            stop.set()
            trickled.result()


def test_500_trickling_callers_hurt_nobody_and_are_sent_away(
    url: str, astronaut_jpeg: bytes
) -> None:
    with trickling(url, 500) as callers:
        with httpx.Client(base_url=url, timeout=60) as http:
            for _ in range(3):
                assert http.get("/livez").status_code == 200
                response = http.post("/v1/align", content=astronaut_jpeg, headers=JPEG)
                assert response.status_code == 200, response.text
        give_up = time.monotonic() + 60
        answers = []
        for caller in callers:
            caller.settimeout(max(1, give_up - time.monotonic()))
            answers.append(rest(caller))
    # A reset may overtake the answer of a caller who goes on sending.
    told = [answer for answer in answers if answer]
    assert len(told) > 250
    assert all(answer.startswith(b"HTTP/1.1 408 ") for answer in told)
    assert metric(url, "lwbafa_upload_bytes") == 0


def test_more_connections_than_there_may_be_push_out_those_that_waited_longest(
    astronaut_jpeg: bytes,
) -> None:
    # Patient: on a busy machine some would time out before the last ones come.
    limits = {"header_timeout_ms": 60_000, "upload_timeout_ms": 60_000}
    with running_server(**limits, max_connections=CONNECTIONS, max_inflight_requests=4) as url:
        before = metric(url, "lwbafa_closed_connections_total", reason="crowded")
        with trickling(url, CONNECTIONS + 100), httpx.Client(base_url=url, timeout=60) as http:
            assert http.get("/livez").status_code == 200
            response = http.post("/v1/align", content=astronaut_jpeg, headers=JPEG)
            assert response.status_code == 200, response.text
        assert metric(url, "lwbafa_closed_connections_total", reason="crowded") >= before + 100


def test_a_connection_that_never_speaks_is_closed_without_a_word(url: str) -> None:
    assert rest(connect(url)) == b""


def test_headers_that_stop_are_a_408(url: str) -> None:
    answer = rest(connect(url, b"POST /v1/align HTTP/1.1\r\nHost: x\r\nContent-"))
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"code":"upload_too_slow"' in answer


def test_an_idle_connection_outlives_the_deadline_for_headers(url: str) -> None:
    with connect(url, LIVEZ) as caller:
        assert alive(caller)
        time.sleep(1.5 * HEADER_S)
        caller.sendall(LIVEZ)
        assert alive(caller)


def test_the_second_request_on_a_connection_has_the_deadline_too(url: str) -> None:
    caller = connect(url, LIVEZ)
    assert alive(caller)
    caller.sendall(b"GET /livez HT")
    assert rest(caller).startswith(b"HTTP/1.1 408 ")


def test_a_body_that_was_answered_before_its_end_is_not_read_for_ever(url: str) -> None:
    caller = connect(url, head("text/plain", "Content-Length: 1000000"))
    assert caller.recv(4096).startswith(b"HTTP/1.1 415 ")
    give_up = time.monotonic() + 60
    with caller, suppress(ConnectionResetError, BrokenPipeError):
        while True:
            assert time.monotonic() < give_up
            caller.sendall(b"a")
            time.sleep(0.1)


def test_a_connection_is_kept_once_the_rest_of_an_answered_body_is_in(url: str) -> None:
    before = metric(url, "lwbafa_closed_connections_total", reason="slow")
    with connect(url, head("text/plain", "Content-Length: 1000000")) as caller:
        assert refused(caller)
        caller.sendall(b"a" * 1_000_000)
        time.sleep(1.5 * HEADER_S)
        caller.sendall(LIVEZ)
        assert alive(caller)
    assert metric(url, "lwbafa_closed_connections_total", reason="slow") == before


def test_the_request_behind_a_refused_body_has_its_own_time(url: str) -> None:
    with connect(url, head("text/plain", "Content-Length: 2")) as caller:
        assert refused(caller)
        caller.sendall(b"a")
        time.sleep(0.75 * HEADER_S)
        caller.sendall(b"a" + LIVEZ[:10])
        time.sleep(0.75 * HEADER_S)
        caller.sendall(LIVEZ[10:])
        assert alive(caller)


async def test_nothing_is_kept_of_a_connection_that_was_reset() -> None:
    config = Config(PlainTextResponse("any"), log_config=None)
    config.load()
    limits, made = ConnectionLimits(10, HEADER_S, ANSWER_S), list[Connection]()

    def connection() -> Connection:
        made.append(Connection(config, ServerState(), {}, limits=limits, metrics=Metrics()))
        return made[0]

    loop = asyncio.get_running_loop()
    async with await loop.create_server(connection, "127.0.0.1", 0) as server:
        caller = socket.create_connection(server.sockets[0].getsockname())
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        caller.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.to_thread(caller.recv, 4096)
        assert made[0].timeout_keep_alive_task is not None
        caller.close()  # by a reset
        while not made[0].transport.is_closing():
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.01)
        assert made[0].timeout_keep_alive_task is None


@pytest.mark.parametrize(
    ("version", "lines"),
    [("1.0", ()), ("1.1", ("Connection: close",)), ("1.1", ("Connection: x, Close",))],
)
def test_a_caller_who_wants_no_more_gets_the_refusal_of_a_body_that_nobody_reads(
    url: str, version: str, lines: tuple[str, ...]
) -> None:
    body = bytes(8_000_000)
    asked = head("text/plain", f"Content-Length: {len(body)}", *lines)
    with connect(url, asked.replace(b"HTTP/1.1", f"HTTP/{version}".encode()) + body) as caller:
        answer = b""
        while more := caller.recv(65536):
            answer += more
    assert answer.startswith(b"HTTP/1.1 415 ")
    assert answer.endswith(b"}")


@pytest.mark.parametrize(
    ("start", "filler"),
    [
        (b"GET /livez HTTP/1.1\r\nHost: x\r\nA: ", b"a" * 1000),
        (b"GET /livez HTTP/1.1\r\nHost: x\r\n", b"A: b\r\n" * 100),
        (b"GET /", b"a" * 1000),
        (b"", b"\r\n" * 500),
        (head("image/png", "Transfer-Encoding: chunked") + b"1\r\na\r\n0\r\n", b"A: b\r\n" * 100),
        (head("image/png", "Transfer-Encoding: chunked") + b"1;", b"a" * 1000),
    ],
    ids=["value", "lines", "path", "blank lines", "trailers", "chunk extension"],
)
def test_endless_headers_are_a_431(url: str, start: bytes, filler: bytes) -> None:
    caller = connect(url, start)
    with suppress(ConnectionResetError, BrokenPipeError):
        for _ in range(3 * MAX_HEADER_BYTES // len(filler)):
            caller.sendall(filler)
            time.sleep(0.001)
    assert b'"code":"headers_too_large"' in rest(caller)


@pytest.mark.parametrize("line", [b"A: %b\r\n", b"A%b: b\r\n"], ids=["value", "name"])
def test_the_bound_on_headers_is_exact_also_if_they_come_at_once(url: str, line: bytes) -> None:
    frame = b"GET /livez HTTP/1.1\r\nHost: x\r\n" + line + b"\r\n"
    room = MAX_HEADER_BYTES - len(frame % b"")
    with connect(url, frame % (b"a" * room)) as caller:
        assert alive(caller)
    assert b" 431 " in rest(connect(url, frame % (b"a" * (room + 1))))


def test_many_short_lines_are_as_large_as_they_are(url: str) -> None:
    start, line = b"GET /livez HTTP/1.1\r\nHost: x\r\n", b"a: b\r\n"
    room = (MAX_HEADER_BYTES - len(start) - 2) // len(line)
    with connect(url, start + room * line + b"\r\n") as caller:
        assert alive(caller)
    assert b" 431 " in rest(connect(url, start + (room + 1) * line + b"\r\n"))


CHUNKED = head("image/png", "Transfer-Encoding: chunked", "Connection: close")


@pytest.mark.parametrize("pause", [0, 0.002])
def test_extensions_that_outweigh_their_chunks_are_a_431(url: str, pause: float) -> None:
    """Each chunk has a byte, so that none of them is without progress."""
    caller = connect(url, CHUNKED)
    with suppress(ConnectionResetError, BrokenPipeError):
        for _ in range(3 * MAX_HEADER_BYTES // 1000):
            caller.sendall(b"1;" + b"a" * 1000 + b"\r\na\r\n")
            time.sleep(pause)
    assert b'"code":"headers_too_large"' in rest(caller)


@pytest.mark.parametrize("size", [1, 10, 8000])
def test_chunks_may_be_small_and_signed(url: str, astronaut_jpeg: bytes, size: int) -> None:
    signature = b";chunk-signature=" + b"0" * 64 if size > 100 else b""
    parts = (astronaut_jpeg[at : at + size] for at in range(0, len(astronaut_jpeg), size))
    body = b"".join(b"%x%b\r\n%b\r\n" % (len(part), signature, part) for part in parts)
    asked = CHUNKED.replace(b"png", b"jpeg") + body + b"0\r\n\r\n"
    assert rest(connect(url, asked)).startswith(b"HTTP/1.1 200 ")


OFFERS = {
    "h2c": "Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAEAAEAA\r\nUpgrade: h2c",
    "websocket": "Connection: Upgrade\r\nUpgrade: websocket",
    "tls": "Upgrade: TLS/1.2\r\nconnection: keep-alive, upgrade",
    "several": "Connection: upgrade\r\nUpgrade: a\r\nUpgrade: b/1, c",
}


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("split", ["at once", "after the head", "in the head"])
@pytest.mark.parametrize("offer", OFFERS)
def test_an_offered_protocol_is_declined_and_the_request_answered(
    url: str, astronaut_jpeg: bytes, offer: str, split: str, chunked: bool
) -> None:
    size, body = f"Content-Length: {len(astronaut_jpeg)}", astronaut_jpeg
    if chunked:
        size = "Transfer-Encoding: chunked"
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    start = head("image/jpeg", OFFERS[offer], size)
    at = {"at once": 0, "after the head": len(start), "in the head": len(start) - 3}[split]
    sent = start + body
    with connect(url, sent[:at]) as caller:
        time.sleep(0.05)
        caller.sendall(sent[at:] + LIVEZ)
        answer = answer_up_to(caller, b"\r\n\r\nlive")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.count(b'"landmarks":') == 1


def test_offers_one_after_another_are_all_declined(url: str) -> None:
    offer = b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    with connect(url, 200 * offer) as caller:
        answers = b""
        while answers.count(b"\r\n\r\nlive") < 200:
            answers += (more := caller.recv(65536))
            assert more
    assert answers.count(b"HTTP/1.1 200 ") == 200


def test_an_offer_leaves_no_line_in_the_log() -> None:
    request = LIVEZ[:-2] + f"{OFFERS['websocket']}\r\n\r\n".encode()
    with tempfile.TemporaryFile() as log:
        quiet = server_process(log, log_level="warning")
        with quiet as (address, _), connect(address, request) as caller:
            assert alive(caller)
        log.seek(0)
        assert log.read() == b""


def test_whoever_closes_after_an_offer_is_closed(url: str) -> None:
    request = LIVEZ[:-2] + b"Upgrade: h2c\r\nConnection: Upgrade, close\r\n\r\n"
    assert rest(connect(url, request)).endswith(b"\r\n\r\nlive")


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 TLS\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        head("image/png", "Content-Length: many"),
        head("image/png", "Content-Length: 5", "Transfer-Encoding: chunked"),
        head("image/png", "Transfer-Encoding: chunked") + b"zz\r\n",
        b"GET /\xff HTTP/1.1\r\n\r\n",
        b"GET /livez HTTP/1.1\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n",
        b"GET /livez HTTP/1.0\r\nHost: x\r\nhost: y\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x/y\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x y\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: \xff\r\n\r\n",
        b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_what_is_not_http_is_a_400(url: str, request_bytes: bytes) -> None:
    answer = rest(connect(url, request_bytes))
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"application/problem+json" in answer
    assert b'"code":"bad_request"' in answer


@pytest.mark.parametrize("host", ["", "x.y:80", "[::1]:8000", "m%C3%BC.example"])
def test_every_host_that_can_be_is_answered(url: str, host: str) -> None:
    with connect(url, f"GET /livez HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()) as caller:
        assert alive(caller)


def test_http_1_0_needs_no_host(url: str) -> None:
    assert rest(connect(url, b"GET /livez HTTP/1.0\r\n\r\n")).endswith(b"\r\n\r\nlive")


def test_a_caller_who_does_not_fetch_the_answer_is_let_go(url: str) -> None:
    before = metric(url, "lwbafa_closed_connections_total", reason="slow")
    with socket.socket() as caller:
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        address = httpx.URL(url)
        caller.connect((address.host, address.port))
        script = b"GET /static-offline-docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n"
        caller.sendall(8 * script)
        give_up = time.monotonic() + 60
        while metric(url, "lwbafa_closed_connections_total", reason="slow") == before:
            assert time.monotonic() < give_up
            time.sleep(0.2)


def with_open_files(soft: int, hard: int, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """The outcome of Python with these arguments where the system allows so many open files."""
    return subprocess.run(
        [sys.executable, *arguments],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard)),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_system_that_allows_too_few_files_ends_the_start_with_one_line() -> None:
    ended = with_open_files(256, 512, "-m", "app")
    assert ended.returncode == 1
    assert ended.stderr.startswith("lwbafa: setting LWBAFA_MAX_CONNECTIONS: 1100 open files")
    assert ended.stderr.count("\n") == 1


def test_a_limit_on_open_files_is_raised_as_far_as_is_needed() -> None:
    code = (
        "import resource; from app.settings import Settings\n"
        "from app.server.connection import connection_limits\n"
        "connection_limits(Settings())\n"
        "print(resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    assert with_open_files(256, 4096, "-c", code).stdout.strip() == "(1100, 4096)"
    assert with_open_files(2000, 4096, "-c", code).stdout.strip() == "(2000, 4096)"


def test_uvicorn_still_has_the_members_that_the_connection_leans_on() -> None:
    """They are not public, so its minor version is pinned; this names what a new one has lost."""
    tree = ast.parse(inspect.getsource(connection))
    (body,) = [n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "Connection"]
    methods = {node.name for node in body.body if isinstance(node, ast.FunctionDef)}
    of_self = [
        node
        for node in ast.walk(body)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
        if node.value.id == "self"
    ]
    set_here = {node.attr for node in of_self if isinstance(node.ctx, ast.Store)}
    read = {node.attr for node in of_self if isinstance(node.ctx, ast.Load)}
    callbacks = {name for name in methods if not name.startswith("_")}
    inherited = (read - methods - set_here) | callbacks | {"timeout_keep_alive_task"}
    loop = asyncio.new_event_loop()
    plain = HttpToolsProtocol(Config(PlainTextResponse("")), ServerState(), {}, loop)
    plain.on_message_begin()
    loop.close()
    assert len(inherited) > 15
    assert sorted(name for name in inherited if not hasattr(plain, name)) == []
