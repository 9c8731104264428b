"""Real processes that are told to stop, or whose network hangs or dies."""

import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import numpy as np
import pytest

from app.server.lifecycle import EXIT_FAILED, WORKER_NICENESS
from app.settings import Settings
from proof.harness import ROOT, faulty_service
from proof.harness.metrics import metric
from tests.conftest import encode, server_process

PATIENCE_S = 60
BOX = {"boxes": "[[16, 16, 32, 32]]"}
PNG = {"Content-Type": "image/png"}


class Target:
    """A service in a process of its own, and callers of it."""

    def __init__(self, url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self.url = url
        self.process = process
        self._log = log
        self._callers = ThreadPoolExecutor(32)

    def post(self, body: bytes, **headers: str) -> httpx.Response:
        """One face, on a connection of its own."""
        return httpx.post(
            f"{self.url}/v1/align",
            content=body,
            params=BOX,
            headers={**PNG, **headers},
            timeout=PATIENCE_S,
        )

    def posting(self, body: bytes) -> "Future[httpx.Response]":
        """The same, meanwhile."""
        return self._callers.submit(self.post, body)

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", timeout=PATIENCE_S)

    def reasons(self) -> list[str]:
        return list(self.get("/readyz").json()["reasons"])

    def metric(self, name: str) -> float:
        return metric(self.get("/metrics").text, name)

    def connect(self) -> socket.socket:
        host, port = self.url.removeprefix("http://").split(":")
        return socket.create_connection((host, int(port)), timeout=PATIENCE_S)

    def ended(self) -> int:
        """The exit status, once there is one."""
        return self.process.wait(PATIENCE_S)

    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._log.read_text().splitlines()]


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., Any]:
    @contextmanager
    def target(
        module: str = "proof.harness.faulty_service", **settings: object
    ) -> Iterator[Target]:
        log = tmp_path / "log"
        settings = {"log_level": "info", "worker_threads": 1, **settings}
        with (
            log.open("wb") as stderr,
            server_process(stderr, module, **settings) as (url, process),
        ):
            yield Target(url, process, log)

    return target


def until(condition: Callable[[], bool], what: str) -> None:
    give_up = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < give_up, what
        time.sleep(0.01)


def flat(color: faulty_service.Color) -> bytes:
    """A picture of one colour, on which the engine fails."""
    return encode(np.full((64, 64, 3), color, np.uint8), ".png")


@pytest.fixture(scope="module")
def picture() -> bytes:
    """A picture of no one colour, on which the engine does not fail."""
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    return encode(noise, ".png")


def handles(pid: int, number: signal.Signals) -> bool:
    """Whether a process has a handler for a signal (Linux)."""
    (caught,) = re.findall(r"SigCgt:\s*(\w+)", Path(f"/proc/{pid}/status").read_text())
    return bool(int(caught, 16) >> (number - 1) & 1)


def test_a_sigterm_while_the_libraries_load_ends_it_even_as_a_containers_first_process() -> None:
    command = [sys.executable, "-m", "app"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE) as process:
        try:
            while not handles(process.pid, signal.SIGTERM):
                assert process.poll() is None
                time.sleep(0.001)
            process.terminate()
            _, said = process.communicate(timeout=PATIENCE_S)
        finally:
            process.kill()
    assert (process.returncode, said) == (0, b"")  # it did not come as far as to listen


def test_a_rolling_restart_fails_no_request(start: Callable[..., Any], picture: bytes) -> None:
    """Callers who leave once told to, as a proxy does, lose nothing."""
    with start(drain_delay_ms=3_600_000) as target:
        told_to_leave = Event()
        answers: list[httpx.Response] = []

        def caller() -> None:
            with httpx.Client(timeout=PATIENCE_S) as http:
                while not told_to_leave.is_set():
                    url = f"{target.url}/v1/align"
                    answers.append(http.post(url, content=picture, params=BOX, headers=PNG))

        with ThreadPoolExecutor(8) as pool:
            callers = [pool.submit(caller) for _ in range(8)]
            until(lambda: len(answers) > 20, "no load")
            assert target.get("/readyz").status_code == 200
            before = len(answers)
            target.process.send_signal(signal.SIGTERM)
            until(lambda: target.get("/readyz").status_code == 503, "still ready")
            until(lambda: len(answers) > before + 20, "served nobody during the drain")
            assert target.reasons() == ["draining"]
            assert target.metric("lwbafa_ready") == 0
            assert target.get("/livez").status_code == 200
            told_to_leave.set()
            for done in callers:
                done.result()
        target.process.send_signal(signal.SIGTERM)
        assert target.ended() == 0
    assert {answer.status_code for answer in answers} == {200}
    hung_up = [answer.headers.get("connection") == "close" for answer in answers]
    assert not any(hung_up[:20])
    assert all(hung_up[-8:])
    assert "SIGTERM received" in [line["message"] for line in target.log()]


def test_a_second_sigterm_skips_the_drain_and_finishes_what_was_taken(
    start: Callable[..., Any], picture: bytes
) -> None:
    with start(drain_delay_ms=3_600_000) as target:
        target.process.send_signal(signal.SIGTERM)
        until(lambda: target.reasons() == ["draining"], "did not drain")
        assert target.post(picture).status_code == 200
        slow = target.posting(flat(faulty_service.SLOW))
        until(lambda: target.metric("lwbafa_inflight_requests") == 1, "not taken")
        target.process.send_signal(signal.SIGTERM)
        until(lambda: "stopping" in target.reasons(), "did not stop")
        refused = target.post(picture)
        assert (refused.status_code, refused.json()["code"]) == (503, "not_ready")
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.headers["connection"] == "close"
        assert target.get("/livez").text == "live"
        assert slow.result().status_code == 200
        assert target.ended() == 0


def test_an_interrupt_does_not_wait_for_proxies(start: Callable[..., Any]) -> None:
    with start(drain_delay_ms=3_600_000) as target:
        target.process.send_signal(signal.SIGINT)
        assert target.ended() == 0


def test_a_stop_answers_who_is_still_sending(start: Callable[..., Any], picture: bytes) -> None:
    with start(drain_delay_ms=200, request_deadline_ms=500) as target, target.connect() as caller:
        head = "POST /v1/align HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
        caller.sendall(f"{head}Content-Length: 100000\r\nExpect: 100-continue\r\n\r\n".encode())
        assert caller.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"  # so it is being read
        caller.sendall(picture[:100])
        target.process.send_signal(signal.SIGTERM)
        answer = _all_of(caller)
        assert target.ended() == 0
    head, body = answer.split("\r\n\r\n")
    assert head.startswith("HTTP/1.1 503 ")
    assert "connection: close" in head.lower()
    assert "retry-after: 1" in head.lower()
    assert json.loads(body)["code"] == "not_ready"


def test_who_was_refused_while_sending_gets_the_answer_and_not_a_reset(
    start: Callable[..., Any], picture: bytes
) -> None:
    """To close a connection with unread bytes resets it, and the answer is lost."""
    with start(request_deadline_ms=10_000) as target:
        slow = target.posting(flat(faulty_service.SLOW))
        until(lambda: target.metric("lwbafa_inflight_requests") == 1, "not taken")
        target.process.send_signal(signal.SIGINT)
        until(lambda: "stopping" in target.reasons(), "did not stop")
        with target.connect() as caller:
            head = "POST /v1/align HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
            caller.sendall(f"{head}Content-Length: 4000000\r\n\r\n".encode())
            time.sleep(0.3)  # it is refused by now
            for _ in range(40):
                caller.sendall(bytes(100_000))
            assert _all_of(caller).startswith("HTTP/1.1 503 ")
        assert slow.result().status_code == 200
        assert target.ended() == 0


def test_a_third_signal_gives_up_what_was_taken(start: Callable[..., Any]) -> None:
    with start(request_deadline_ms=3_600_000) as target:
        slow = target.posting(flat(faulty_service.HANG))
        until(lambda: target.metric("lwbafa_forward_age_seconds") > 0, "not taken")
        target.process.send_signal(signal.SIGINT)
        until(lambda: "stopping" in target.reasons(), "did not stop")
        assert not slow.done()
        target.process.send_signal(signal.SIGINT)
        answer = slow.result()
        assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")
        assert target.ended() == 0


def test_a_hung_forward_pass_ends_the_process(start: Callable[..., Any], picture: bytes) -> None:
    with start(forward_timeout_ms=500, max_batch_faces=1) as target:
        hung = target.posting(flat(faulty_service.HANG))
        until(lambda: target.metric("lwbafa_forward_age_seconds") > 0, "not run")
        behind = [target.posting(picture) for _ in range(3)]
        until(lambda: target.get("/livez").status_code == 503, "still live")
        assert target.reasons()[0].startswith("a forward pass has not ended for")
        _nobody_waits_in_vain(hung, behind)
        refused = target.post(picture)
        assert (refused.status_code, refused.json()["code"]) == (503, "not_ready")
        assert target.ended() == EXIT_FAILED
    said = [line["message"] for line in target.log() if line["level"] == "critical"]
    assert len(said) == 1
    assert said[0].startswith("ending with status 70: a forward pass has not ended for")


@pytest.mark.parametrize(
    ("color", "error"), [(faulty_service.KILL, "SystemExit"), (faulty_service.LOSE, "DeviceLost")]
)
def test_a_device_thread_that_dies_ends_the_process(
    start: Callable[..., Any], picture: bytes, color: faulty_service.Color, error: str
) -> None:
    with start(max_batch_faces=1) as target:
        slow = target.posting(flat(faulty_service.SLOW))
        until(lambda: target.metric("lwbafa_forward_age_seconds") > 0, "not run")
        dead = target.posting(flat(color))
        until(lambda: target.metric("lwbafa_queue_faces") == 1, "not queued")
        behind = [target.posting(picture) for _ in range(3)]
        until(lambda: target.metric("lwbafa_queue_faces") == 4, "not queued")
        assert slow.result().status_code == 200
        until(lambda: target.get("/livez").status_code == 503, "still live")
        assert target.get("/livez").text == f"dead: the network's thread was ended by {error}"
        _nobody_waits_in_vain(dead, behind)
        assert target.ended() == EXIT_FAILED


def _nobody_waits_in_vain(
    at_fault: "Future[httpx.Response]", behind: "list[Future[httpx.Response]]"
) -> None:
    failed = at_fault.result()
    assert (failed.status_code, failed.json()["code"]) == (500, "internal_error")
    for caller in behind:
        answer = caller.result()
        assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")
        assert answer.headers["connection"] == "close"


def test_short_memory_is_counted_and_costs_nobody_an_answer(start: Callable[..., Any]) -> None:
    with start(max_batch_faces=4) as target:
        slow = target.posting(flat(faulty_service.SLOW))
        until(lambda: target.metric("lwbafa_forward_age_seconds") > 0, "not run")
        greedy = [target.posting(flat(faulty_service.GREEDY)) for _ in range(4)]
        until(lambda: target.metric("lwbafa_queue_faces") == 4, "not queued")
        assert target.metric("lwbafa_batch_limit_faces") == 4
        assert {caller.result().status_code for caller in (slow, *greedy)} == {200}
        assert target.metric("lwbafa_out_of_memory_total") == 2
        assert target.metric("lwbafa_batch_limit_faces") == 1


def test_idle_connections_outlive_a_proxys(start: Callable[..., Any]) -> None:
    assert Settings().keep_alive_ms > 60_000  # nginx's upstream keep-alive
    with start(keep_alive_ms=200) as target, target.connect() as caller:
        caller.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        assert _all_of(caller).endswith("live")  # and then it was closed


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads have no priorities here")
def test_the_event_loop_goes_before_all_other_threads(start: Callable[..., Any]) -> None:
    with start() as target:
        pid = target.process.pid

        def niceness() -> dict[int, int]:
            tasks = Path(f"/proc/{pid}/task").iterdir()
            stats = {int(task.name): (task / "stat").read_text() for task in tasks}
            return {tid: int(stat.rpartition(")")[2].split()[16]) for tid, stat in stats.items()}

        def gave_way() -> bool:
            found = niceness()
            return all(
                value == found[pid] + WORKER_NICENESS for tid, value in found.items() if tid != pid
            )

        until(gave_way, "the other threads kept their priority")
        assert len(niceness()) > 2


def _all_of(caller: socket.socket) -> str:
    """What is answered until the connection is closed."""
    return b"".join(iter(lambda: caller.recv(65536), b"")).decode()
