"""The life of the process: warming up, faults, callers who leave, the end."""

import asyncio
import io
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image as Pillow

from app.api import answers
from app.api.app import create_app
from app.errors import NotReady
from app.service import Service
from app.settings import Settings
from lwbafa.engine import Alignment
from lwbafa.engine.choose import ENGINES
from lwbafa.types import Pixels
from proof.harness import faulty_service
from proof.harness.faulty_service import faulty_engine
from tests.conftest import encode, running_server, server_process

JPEG = {"Content-Type": "image/jpeg"}
BOX = {"boxes": "[[180, 90, 90, 88]]"}


@pytest.fixture
def service() -> Service:
    return Service(Settings(worker_threads=1))


def client_of(service: Service) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(create_app(service))
    return httpx.AsyncClient(transport=transport, base_url="http://service")


@pytest.fixture
async def started(service: Service) -> AsyncIterator[Service]:
    service.start()
    while service.readiness.not_ready_reasons():
        time.sleep(0.05)
    yield service
    await service.stop()


async def test_not_ready_before_the_start(service: Service, astronaut_jpeg: bytes) -> None:
    async with client_of(service) as http:
        readiness = await http.get("/readyz")
        assert readiness.status_code == 503
        assert "network is warming up" in readiness.json()["reasons"]
        refused = await http.post("/v1/align", files={"image": astronaut_jpeg})
        assert (refused.status_code, refused.json()["code"]) == (503, NotReady.code)
        assert "retry-after" in refused.headers


async def test_ready_after_warm_up_and_not_after_the_stop(service: Service) -> None:
    service.start()
    while service.readiness.not_ready_reasons():
        time.sleep(0.05)
    await service.stop()
    assert service.readiness.not_ready_reasons() == ["stopping"]
    assert service.readiness.failure is None


@pytest.mark.parametrize("raises", [True, False])
async def test_a_face_the_network_fails_on_is_a_500_for_that_face_alone(
    raises: bool, started: Service, astronaut: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = started.models.default.batcher._runner
    run = runner._run

    def fails_on_black(crops: list[Pixels]) -> list[Alignment]:
        if not any(crop.max() == 0 for crop in crops):
            return [*run(crops)]
        if raises:
            raise RuntimeError("secret detail")
        return [answer._replace(points=answer.points * np.nan) for answer in run(crops)]

    monkeypatch.setattr(runner, "_run", fails_on_black)
    monkeypatch.setattr(runner, "_begin", runner._at_once)
    black = encode(np.zeros_like(astronaut), ".jpg")
    async with client_of(started) as http:
        failed = await http.post("/v1/align", content=black, headers=JPEG, params=BOX)
        assert (failed.status_code, failed.json()["code"]) == (500, "inference_failed")
        assert "secret" not in failed.text
        good = encode(astronaut, ".jpg")
        answer = await http.post("/v1/align", content=good, headers=JPEG, params=BOX)
        assert answer.status_code == 200


async def test_a_bug_is_a_problem_document_without_a_traceback(
    started: Service, astronaut_jpeg: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(started.pipeline, "align", broken)
    async with client_of(started) as http:
        response = await http.post("/v1/align", content=astronaut_jpeg, headers=JPEG)
        assert (response.status_code, response.json()["code"]) == (500, "internal_error")
        assert response.json()["request_id"] == response.headers["x-request-id"]
        assert "secret" not in response.text
        assert "Traceback" not in response.text
        metrics = (await http.get("/metrics")).text
    assert 'lwbafa_errors_total{code="internal_error"} 1.0' in metrics
    assert 'status="500"' in metrics


@asynccontextmanager
async def quick(**settings: object) -> AsyncIterator[tuple[Service, httpx.AsyncClient]]:
    """A started service whose engine is quick, and slow on one colour."""
    service = Service(Settings.model_validate({"worker_threads": 1, **settings}), faulty_engine)
    service.start()
    while service.readiness.not_ready_reasons():
        await asyncio.sleep(0.01)
    async with client_of(service) as http:
        yield service, http
    await service.stop()


def flat(color: faulty_service.Color) -> bytes:
    return encode(np.full((512, 512, 3), color, np.uint8), ".jpg")


@pytest.mark.parametrize("value", ["0", "-5", "soon", "1.5", "", "9" * 5000])
async def test_a_deadline_that_is_none_is_a_422(value: str) -> None:
    headers = {**JPEG, "X-Deadline-Ms": value}
    async with quick() as (_, http):
        response = await http.post("/v1/align", content=b"", headers=headers)
    assert (response.status_code, response.json()["code"]) == (422, "invalid_parameter")
    assert response.json()["detail"].startswith("X-Deadline-Ms: ")


@pytest.mark.parametrize(
    ("setting", "header", "seconds", "code"),
    [
        (300, None, "0.3", "deadline_exceeded"),
        (300, "60000", "0.3", "deadline_exceeded"),
        (60_000, "400", "0.4", "caller_deadline_exceeded"),
    ],
)
async def test_a_caller_may_shorten_the_deadline_but_not_lengthen_it(
    setting: int, header: str | None, seconds: str, code: str
) -> None:
    headers = {**JPEG, "X-Deadline-Ms": header} if header else JPEG
    async with quick(request_deadline_ms=setting) as (_, http):
        slow = flat(faulty_service.SLOW)
        response = await http.post("/v1/align", content=slow, headers=headers, params=BOX)
    assert (response.status_code, response.json()["code"]) == (504, code)
    assert response.json()["detail"] == f"No answer within {seconds} seconds."


async def test_an_answer_that_is_late_at_the_very_end_is_a_504(
    astronaut_jpeg: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is awaited then that a timeout could interrupt."""
    brief = answers.model_brief

    def late_brief(*arguments: Any) -> Any:
        time.sleep(1.1)
        return brief(*arguments)

    monkeypatch.setattr(answers, "model_brief", late_brief)
    async with quick(request_deadline_ms=1000) as (_, http):
        response = await http.post("/v1/align", content=astronaut_jpeg, headers=JPEG, params=BOX)
    assert (response.status_code, response.json()["code"]) == (504, "deadline_exceeded")


async def test_a_deadline_that_the_queue_cannot_meet_is_refused_before_the_request_is_looked_at(
    astronaut_jpeg: bytes,
) -> None:
    read = False

    async def body() -> AsyncIterator[bytes]:
        nonlocal read
        read = True
        yield astronaut_jpeg

    async with quick(max_batch_faces=1) as (service, http), asyncio.TaskGroup() as callers:
        slow = flat(faulty_service.SLOW)
        first = callers.create_task(http.post("/v1/align", content=slow, headers=JPEG, params=BOX))
        while not service.models.default.batcher.pass_age_s():
            await asyncio.sleep(0.01)
        service.models.default.batcher._times.observe(1, 3600)
        for boxes in (BOX, {"boxes": "neither read nor checked"}):
            refused = await http.post("/v1/align", content=body(), headers=JPEG, params=boxes)
            assert (refused.status_code, refused.json()["code"]) == (429, "queue_full")
            assert int(refused.headers["retry-after"]) >= 1
            assert not read
    assert first.result().status_code == 200


async def test_a_service_that_is_leaving_tells_callers_to_close_their_connections(
    astronaut_jpeg: bytes,
) -> None:
    async with quick() as (service, http):
        post = partial(http.post, "/v1/align", content=astronaut_jpeg, headers=JPEG, params=BOX)
        answer = await post()
        assert answer.status_code == 200
        assert "connection" not in answer.headers
        service.drain()
        answer = await post()
        assert (answer.status_code, answer.headers["connection"]) == (200, "close")
        assert service.readiness.not_ready_reasons() == ["draining"]
        service.stop_admitting()
        answer = await post()
        assert (answer.status_code, answer.headers["connection"]) == (503, "close")
        assert service.finished
        assert (await http.get("/livez")).text == "live"


async def test_a_detector_that_cannot_be_warmed_up_is_a_failure_not_a_long_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    service = Service(Settings(worker_threads=1), faulty_engine)

    def broken(_: object) -> None:
        raise RuntimeError("no such layer")

    monkeypatch.setattr(service._detector, "detect", broken)
    service.start()
    while not service.readiness.failure:
        await asyncio.sleep(0.01)
    async with client_of(service) as http:
        live = await http.get("/livez")
        ready = await http.get("/readyz")
    assert (live.status_code, ready.status_code) == (503, 503)
    assert live.text == "dead: the detector's warm-up was ended by RuntimeError"
    assert ready.json()["reasons"] == ["the detector's warm-up was ended by RuntimeError"]
    await service.stop()


def test_a_late_answer_is_a_504(astronaut_jpeg: bytes) -> None:
    with running_server(request_deadline_ms=1) as url:
        response = httpx.post(f"{url}/v1/align", content=astronaut_jpeg, headers=JPEG)
    assert (response.status_code, response.json()["code"]) == (504, "deadline_exceeded")


def test_a_trickling_upload_is_a_408(astronaut_jpeg: bytes) -> None:
    with running_server(upload_timeout_ms=200) as url:
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as caller:
            head = "POST /v1/align HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\n"
            caller.sendall(f"{head}Content-Length: 5000\r\n\r\n".encode() + astronaut_jpeg[:100])
            assert caller.recv(1000).startswith(b"HTTP/1.1 408 ")
        assert httpx.get(f"{url}/livez").status_code == 200


def test_work_of_a_caller_who_left_is_given_up(client: httpx.Client, astronaut_jpeg: bytes) -> None:
    def left() -> float:
        lines = client.get("/metrics").text.splitlines()
        (line,) = [
            entry for entry in lines if 'status="499"' in entry and "seconds_count" in entry
        ] or ["0"]
        return float(line.split()[-1])

    before = left()
    url = client.base_url
    for _ in range(5):
        with socket.create_connection((url.host, url.port or 80)) as caller:
            head = "POST /v1/align HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\n"
            length = f"Content-Length: {len(astronaut_jpeg)}\r\n\r\n"
            caller.sendall((head + length).encode() + astronaut_jpeg)
    give_up = time.monotonic() + 10
    while left() < before + 5:
        assert time.monotonic() < give_up, "the departed were not noticed"
        time.sleep(0.05)
    assert client.post("/v1/align", content=astronaut_jpeg, headers=JPEG).status_code == 200


def test_sigterm_answers_what_was_accepted_and_exits_0(astronaut_jpeg: bytes) -> None:
    with server_process(None) as (url, process):
        answers: list[int] = []

        def post() -> None:
            with httpx.Client(timeout=30) as http:
                response = http.post(f"{url}/v1/align", content=astronaut_jpeg, headers=JPEG)
                answers.append(response.status_code)

        callers = [Thread(target=post) for _ in range(4)]
        for caller in callers:
            caller.start()
        while "lwbafa_inflight_requests 4" not in httpx.get(f"{url}/metrics").text:
            assert len(answers) == 0, "answered before the signal"
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        for caller in callers:
            caller.join()
        assert process.wait(timeout=30) == 0
    assert answers == [200] * 4


def test_a_wrong_setting_ends_the_start_with_one_line() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "app"],
        env={"LWBAFA_PORT": "high"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1
    assert ended.stderr.startswith("lwbafa: setting LWBAFA_PORT")


def test_no_log_level_writes_an_uploads_metadata(astronaut: Pixels, tmp_path: Path) -> None:
    exif = Pillow.Exif()
    exif[0x013B] = "Alice Secret"  # Artist
    exif[0x010E] = "At home, 51 N"  # ImageDescription
    body = io.BytesIO()
    Pillow.fromarray(astronaut).save(body, "JPEG", exif=exif)
    log = tmp_path / "log"
    with (
        log.open("wb") as stderr,
        server_process(stderr, log_level="debug") as (url, _),
        httpx.Client(base_url=url, timeout=60) as http,
    ):
        files = {"image": ("alice-at-home.jpg", body.getvalue())}
        assert http.post("/v1/align", files=files).status_code == 200
        assert http.post("/v1/align", files={"image": body.getvalue()[:2000]}).status_code == 400
        upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": "x"}
        http.get("/private?name=alice", headers=upgrade)
    lines = log.read_text().splitlines()
    assert any("lwbafa" in line or "app.access" in line for line in lines)
    (start,) = (json.loads(line) for line in lines if "listening on" in line)
    (model,) = start["models"]
    assert (model["name"], model["device"]) == ("lwbafa-lite-300w68", "cpu")
    assert model["version"]
    assert model["engine"] in ENGINES
    assert min(start["threads"].values()) >= 1
    assert start["limits"]["max_queue_faces"] == Settings().max_queue_faces
    assert "request_deadline_ms" in start["limits"]
    for line in lines:
        assert "secret" not in line.lower()
        assert "alice" not in line.lower()
        assert "127.0.0.1:" not in line or "listening on" in line
