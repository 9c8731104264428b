"""The client against a real service, and against answers that no service should give."""

import json
import re
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.keys import new_key
from lwbafa import AsyncClient, Client, FaceAligner, FaceBox
from lwbafa.answers import Face
from lwbafa.errors import NoAnswer, ServiceError
from lwbafa.imaging.photograph import Source
from lwbafa.types import Pixels
from proof.harness import ROOT
from proof.harness.checkpoints import LITE
from proof.harness.server import free_port
from tests.conftest import encode, running_server

KEY, ENTRY = new_key("tests")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running_server(api_keys=ENTRY) as address:
        yield address


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[Client]:
    with Client(url, KEY) as client:
        yield client


def test_a_path_bytes_and_pixels_give_the_librarys_points(
    client: Client, astronaut: Pixels, tmp_path: Path
) -> None:
    data = encode(astronaut, ".png")
    path = tmp_path / "face.png"
    path.write_bytes(data)
    (expected,) = FaceAligner.load(LITE).align(astronaut)
    for source in (path, str(path), data, astronaut):
        (face,) = client.align(source)
        assert np.abs(face.landmarks - expected.landmarks).max() < 0.5
        assert face.score == pytest.approx(expected.score, abs=0.02)
        assert np.abs(face.scores - expected.scores).max() < 0.02
        assert face.box_score == pytest.approx(expected.box_score, abs=1e-3)
        assert face.group("left_eye").shape == (6, 2)
        assert face.as_dict().keys() == expected.as_dict().keys()
    with pytest.raises(KeyError, match="no group ear; there are: jaw"):
        face.group("ear")


def test_boxes_faces_and_models_are_asked_for(client: Client, astronaut: Pixels) -> None:
    twice = np.hstack((astronaut, astronaut))
    left, right = client.align(twice, boxes=[(181, 86, 88, 92), FaceBox(693, 86, 88, 92)])
    assert right.landmarks[:, 0].mean() - left.landmarks[:, 0].mean() == pytest.approx(512, abs=3)
    assert left.box_score is None
    assert len(client.align(twice, max_faces=1)) == 1
    answer = client.answer(twice)
    assert (answer.width, answer.height, len(answer.faces)) == (1024, 512, 2)
    (model,) = client.models()
    assert answer.model == model
    drawn = client.draw(twice, boxes=[face.box for face in answer.faces])
    assert drawn.startswith(b"\x89PNG")
    assert model.name == LITE.name
    assert len(client.align(astronaut, model=model.name)) == 1


@pytest.mark.parametrize("model", ["lwbafa-lite-300w68", "lwbafa-lite-wflw98"])
def test_map_values_are_the_librarys_and_come_only_if_asked(model: str, astronaut: Pixels) -> None:
    folder = LITE.with_name(model)
    (expected,) = FaceAligner.load(folder).align(astronaut)
    with running_server(checkpoint_dirs=folder) as url, Client(url) as client:
        (without,) = client.align(astronaut)
        (face,) = client.align(astronaut, map_values=True)
    assert without.map_values is None
    assert face.map_values is not None
    assert face.map_values.dtype == expected.map_values.dtype
    np.testing.assert_allclose(face.map_values, expected.map_values, atol=0.02)  # NaN where NaN is


def test_a_refusal_has_the_problem_documents_fields(
    client: Client, url: str, astronaut_jpeg: bytes, tmp_path: Path
) -> None:
    with pytest.raises(ServiceError) as refused:
        client.align(b"no picture")
    assert (refused.value.status, refused.value.code) == (415, "unsupported_media_type")
    assert "not a JPEG" in refused.value.detail
    assert len(refused.value.request_id) == 32
    with pytest.raises(ServiceError) as refused, Client(url) as stranger:
        stranger.align(astronaut_jpeg)
    assert refused.value.code == "api_key_missing"
    with pytest.raises(ServiceError) as refused:
        client.align(astronaut_jpeg, boxes=[(900, 900, 9, 9)])
    assert refused.value.code == "invalid_parameter"
    with pytest.raises(FileNotFoundError):
        client.align(tmp_path / "absent.jpg")
    with pytest.raises(ValueError, match="pixels are H×W×3"):
        client.align(np.zeros((4, 4), np.uint8))


def test_many_come_in_their_order_each_with_faces_or_why_not(
    client: Client, astronaut: Pixels, astronaut_jpeg: bytes
) -> None:
    sources: list[Source] = [astronaut_jpeg, b"bad", astronaut, "absent.jpg", astronaut_jpeg]
    found = list(client.align_many(sources, concurrency=3))
    assert [type(outcome) for outcome in found] == [
        *(list, ServiceError, list, FileNotFoundError, list)
    ]


async def test_the_async_client_does_the_same(
    client: Client, url: str, astronaut: Pixels, astronaut_jpeg: bytes
) -> None:
    (expected,) = client.align(astronaut_jpeg)
    async with AsyncClient(url, KEY) as other:
        (face,) = await other.align(astronaut_jpeg)
        assert np.abs(face.landmarks - expected.landmarks).max() < 0.5
        (with_values,) = await other.align(astronaut_jpeg, map_values=True)
        assert with_values.map_values is not None
        assert with_values.map_values.shape == (68,)
        assert (await other.draw(astronaut_jpeg)).startswith(b"\x89PNG")
        assert await other.models() == client.models()
        sources: list[Source] = [astronaut_jpeg, b"bad", astronaut, "absent.jpg", astronaut_jpeg]
        found = [outcome async for outcome in other.align_many(sources, concurrency=2)]
    assert [type(outcome) for outcome in found] == [
        *(list, ServiceError, list, FileNotFoundError, list)
    ]


def test_every_block_of_the_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, astronaut_jpeg: bytes
) -> None:
    (tmp_path / "portrait.jpg").write_bytes(astronaut_jpeg)
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "client.md").read_text(), re.S)
    assert len(blocks) == 5
    names: dict[str, object] = {}
    with running_server() as url:
        for block in blocks:
            there = block.replace("http://127.0.0.1:8000", url)
            exec(compile(there, "docs/client.md", "exec"), names)  # noqa: S102


# From here on the other side is not the service.

Handler = Callable[[BaseHTTPRequestHandler, int], None]
"""Answers a request, of which it is told the number, from 0."""


@contextmanager
def answering(handler: Handler) -> Iterator[str]:
    count = iter(range(10**6))

    class Server(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            handler(self, next(count))

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign] # callers may leave
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def send(http: BaseHTTPRequestHandler, status: int, body: bytes, **headers: str) -> None:
    http.send_response(status)
    for name, value in headers.items():
        http.send_header(name.replace("_", "-"), value)
    http.send_header("Content-Length", str(len(body)))
    http.end_headers()
    http.wfile.write(body)


def good(**changed: Any) -> dict[str, Any]:
    box = {"x": 1, "y": 2.5, "width": 3, "height": 4, "roll_degrees": 0, "score": 0.9}
    face = {"box": box, "score": None, "landmarks": [{"x": 1, "y": 2, "score": None}]}
    return {
        "request_id": "1",
        "model": {"name": "m", "version": "1", "markup": "k", "groups": {"eye": [0]}},
        "image": {"width": 4, "height": 3, "something": "new"},
        "faces": [face],
        "news": 1,
    } | changed


GOOD = json.dumps(good()).encode()
PROBLEM = json.dumps({"code": "queue_full", "detail": "Full.", "request_id": "r", "status": 429})


def align(url: str, timeout_s: float = 5.0) -> list[Face]:
    with Client(url, timeout_s=timeout_s) as client:
        return client.align(b"picture")


def test_what_a_newer_service_says_more_is_ignored() -> None:
    with answering(lambda http, _: send(http, 200, GOOD)) as url:
        (face,) = align(url)
    assert face.landmarks.tolist() == [[1, 2]]
    assert np.isnan(face.score)
    assert face.as_dict()["score"] is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"\xff\xfe",
        b"[" * 100_000,
        b"{}",
        GOOD[:-1],
        GOOD.replace(b'"x": 1,', b'"x": NaN,'),
        GOOD.replace(b'"x": 1,', b'"x": 1e999,'),
        GOOD.replace(b'"x": 1,', b'"x": "1",'),
        GOOD.replace(b"[0]", b"[1]"),
        GOOD.replace(b"[0]", b"[-1]"),
        GOOD.replace(b'"width": 4', b'"width": -4'),
        json.dumps(good(faces=None)).encode(),
        json.dumps(good(faces=[{}])).encode(),
        GOOD.replace(b'"landmarks"', b'"map_values": [], "landmarks"'),
        GOOD.replace(b'"landmarks"', b'"map_values": ["1"], "landmarks"'),
    ],
)
def test_a_200_that_is_no_answer_is_a_service_error(body: bytes) -> None:
    with (
        answering(lambda http, _: send(http, 200, body)) as url,
        pytest.raises(ServiceError) as error,
    ):
        align(url)
    assert (error.value.status, error.value.code) == (200, "unexpected_answer")


@pytest.mark.parametrize("status", [204, 302, 400, 500, 502, 503, 504])
def test_a_proxys_own_page_is_a_service_error(status: int) -> None:
    def page(http: BaseHTTPRequestHandler, _: int) -> None:
        body = b"" if status == 204 else b"<html>"
        send(http, status, body, X_Request_ID="p", Location="http://127.0.0.1:1/")

    with answering(page) as url, pytest.raises(ServiceError, match="unexpected_answer") as error:
        align(url)
    assert (error.value.status, error.value.request_id) == (status, "p")


@pytest.mark.parametrize("status", [429, 503])
def test_what_is_refused_for_now_is_asked_again_when_it_says_so(status: int) -> None:
    deadlines: list[int] = []

    def busy(http: BaseHTTPRequestHandler, number: int) -> None:
        deadlines.append(int(http.headers["X-Deadline-Ms"]))
        if number < 2:
            send(http, status, PROBLEM.encode(), Retry_After=("0", "1")[number])
        else:
            send(http, 200, GOOD)

    begun = time.monotonic()
    with answering(busy) as url:
        assert len(align(url, timeout_s=8)) == 1
    assert time.monotonic() - begun >= 1.1
    assert 8000 >= deadlines[0] > deadlines[1] > deadlines[2] >= 1000


@pytest.mark.parametrize("after", ["9", "999999999999", "-1", "nan", "1e1", "soon", "", "²"])
def test_what_would_be_too_late_or_makes_no_sense_is_not_waited_for(after: str) -> None:
    def busy(http: BaseHTTPRequestHandler, number: int) -> None:
        http.send_response(429)
        http.wfile.write(b"".join(http._headers_buffer))  # type: ignore[attr-defined]
        http._headers_buffer = []  # type: ignore[attr-defined]
        http.wfile.write(b"Retry-After: " + after.encode() + b"\r\n")
        body = PROBLEM.encode()
        http.send_header("Content-Length", str(len(body)))
        http.end_headers()
        http.wfile.write(body)

    begun = time.monotonic()
    with answering(busy) as url, pytest.raises(ServiceError, match="Full") as error:
        align(url, timeout_s=3)
    assert (error.value.code, error.value.request_id) == ("queue_full", "r")
    assert time.monotonic() - begun < 2


def test_a_service_that_is_always_busy_is_given_up_in_time() -> None:
    begun = time.monotonic()
    with (
        answering(lambda http, _: send(http, 429, PROBLEM.encode(), Retry_After="0")) as url,
        pytest.raises(ServiceError, match="Full"),
    ):
        align(url, timeout_s=0.5)
    assert time.monotonic() - begun < 3


def slowly(http: BaseHTTPRequestHandler, _: int) -> None:
    http.send_response(200)
    http.send_header("Content-Length", "1000000")
    http.end_headers()
    for _second in range(50):
        http.wfile.write(b" ")
        time.sleep(0.1)


def without_end(http: BaseHTTPRequestHandler, _: int) -> None:
    http.send_response(200)
    http.send_header("Content-Length", str(1 << 40))
    http.end_headers()
    while True:
        http.wfile.write(bytes(1 << 20))


def silent(http: BaseHTTPRequestHandler, _: int) -> None:
    time.sleep(3)


def not_http(http: BaseHTTPRequestHandler, _: int) -> None:
    http.wfile.write(b"SSH-2.0-OpenSSH\r\n")
    http.close_connection = True


def hangs_up(http: BaseHTTPRequestHandler, _: int) -> None:
    http.close_connection = True


HOSTILE: list[tuple[Handler, type[Exception], str]] = [
    (slowly, NoAnswer, "within 0.5 seconds"),
    (silent, NoAnswer, "no answer"),
    (not_http, NoAnswer, "no answer"),
    (hangs_up, NoAnswer, "without sending"),
]


@pytest.mark.parametrize(("handler", "error", "says"), HOSTILE, ids=lambda value: str(value)[:20])
def test_an_answer_that_never_comes_ends_in_time(
    handler: Handler, error: type[Exception], says: str
) -> None:
    begun = time.monotonic()
    with answering(handler) as url:
        with pytest.raises(error, match=says):
            align(url, timeout_s=0.5)
        assert time.monotonic() - begun < 2


def test_a_line_that_is_too_slow_for_the_photograph_is_given_up_in_time() -> None:
    """Each piece is taken in time, but not all."""

    def take(server: socket.socket) -> None:
        caller, _ = server.accept()
        with caller, suppress(OSError):
            while caller.recv(1 << 18):
                time.sleep(0.1)

    begun = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=take, args=(server,)).start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(NoAnswer), Client(url, timeout_s=0.8) as client:
            client.align(bytes(1 << 25))
    assert time.monotonic() - begun < 3


async def test_an_answer_whose_headers_do_not_end_is_given_up_in_time_by_an_event_loop() -> None:
    def drip(http: BaseHTTPRequestHandler, _: int) -> None:
        http.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
        for _second in range(50):
            http.wfile.write(b"a")
            time.sleep(0.1)

    begun = time.monotonic()
    with answering(drip) as url:
        async with AsyncClient(url, timeout_s=0.5) as client:
            with pytest.raises(NoAnswer, match=r"within 0\.5 seconds"):
                await client.align(b"picture")
        assert time.monotonic() - begun < 3


def test_an_answer_without_end_is_cut() -> None:
    with answering(without_end) as url, pytest.raises(ServiceError, match="does not end"):
        align(url, timeout_s=30)


def test_a_connection_that_was_idle_for_too_long_is_opened_anew() -> None:
    def once(http: BaseHTTPRequestHandler, number: int) -> None:
        if number == 1:
            http.close_connection = True
            return
        send(http, 200, GOOD)

    with answering(once) as url, Client(url) as client:
        assert len(client.align(b"one")) == len(client.align(b"two")) == 1


def test_nobody_there_and_no_address_are_said() -> None:
    begun = time.monotonic()
    with pytest.raises(NoAnswer, match="refused"):
        align(f"http://127.0.0.1:{free_port()}")
    assert time.monotonic() - begun < 2
    with pytest.raises(ValueError, match="begins with http"):
        Client("127.0.0.1:8000")
    for wrong in "http://", "http://host:port", "http://host:99999", "http://[::1":
        with pytest.raises(ValueError, match="address"):
            Client(wrong)
    for time_s in 0, -1, float("nan"), float("inf"):
        with pytest.raises(ValueError, match="seconds above 0"):
            Client("http://127.0.0.1", timeout_s=time_s)
    Client("HTTP://127.0.0.1").close()


@pytest.mark.parametrize("key", [f"{KEY}\n", f" {KEY}", "schlüssel"], ids=["end", "space", "text"])
def test_a_key_that_cannot_be_sent_is_refused_and_not_quoted(key: str) -> None:
    with pytest.raises(ValueError, match="api_key holds") as refused:
        Client("http://127.0.0.1:8000", key).models()
    assert key.strip() not in str(refused.value)


async def test_the_async_client_meets_the_same_answers() -> None:
    def busy(http: BaseHTTPRequestHandler, number: int) -> None:
        send(http, *((200, GOOD) if number else (429, PROBLEM.encode())), Retry_After="0")

    with answering(busy) as url:
        async with AsyncClient(url) as client:
            assert len(await client.align(b"picture")) == 1
    with answering(slowly) as url:
        async with AsyncClient(url, timeout_s=0.5) as client:
            with pytest.raises(NoAnswer):
                await client.align(b"picture")
    with answering(lambda http, _: send(http, 200, b"{}")) as url:
        async with AsyncClient(url) as client:
            with pytest.raises(ServiceError):
                await client.align(b"picture")


class Load:
    """How many requests were at hand at once."""

    def __init__(self) -> None:
        self.now = self.most = self.all = 0
        self._lock = threading.Lock()

    def __call__(self, http: BaseHTTPRequestHandler, _: int) -> None:
        with self._lock:
            self.all += 1
            self.now += 1
            self.most = max(self.most, self.now)
        time.sleep(0.02)
        with self._lock:
            self.now -= 1
        send(http, 200, GOOD)


def test_no_more_are_asked_for_at_once_and_sources_are_taken_when_needed() -> None:
    load, taken = Load(), 0

    def sources() -> Iterator[bytes]:
        nonlocal taken
        while True:
            taken += 1
            yield b"picture"

    with answering(load) as url, Client(url) as client:
        outcomes = client.align_many(sources(), concurrency=4)
        for _ in range(12):
            assert isinstance(next(outcomes), list)
        outcomes.close()  # type: ignore[attr-defined]
    assert 2 <= load.most <= 4
    assert taken <= 16
    assert load.all <= 16


async def test_an_iteration_that_is_left_leaves_no_task() -> None:
    load = Load()
    with answering(load) as url:
        async with AsyncClient(url) as client:
            outcomes: AsyncIterator[Any] = client.align_many([b"picture"] * 50, concurrency=4)
            async for outcome in outcomes:
                assert isinstance(outcome, list)
                break
            await outcomes.aclose()  # type: ignore[attr-defined]
    assert load.most <= 4
    assert load.all < 20
