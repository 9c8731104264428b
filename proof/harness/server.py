"""A service as it is deployed: a process of its own, reached over HTTP."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from http.client import HTTPConnection, HTTPException, HTTPMessage
from pathlib import Path
from typing import IO, NamedTuple, Self
from urllib.parse import urlencode

import psutil

from proof.harness import ROOT
from proof.harness.metrics import metric
from proof.harness.photographs import Upload

START_LIMIT_S = 300
STOP_LIMIT_S = 60
# A slow machine is to yield slow figures, not refused requests.
DEADLINE_S = 600


class Server(NamedTuple):
    """A running, ready service."""

    port: int
    process: "subprocess.Popen[bytes]"

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def resident_mib(self) -> float:
        """Resident memory of the process."""
        return float(psutil.Process(self.process.pid).memory_info().rss / 2**20)

    def cpu_s(self) -> float:
        """CPU time that the process has taken so far, in user mode and in the kernel."""
        times = psutil.Process(self.process.pid).cpu_times()
        return float(times.user + times.system)


class Caller:
    """One keep-alive connection; for one thread at a time.

    The standard library's client: one with more comforts would take several times its CPU time,
    which on a machine shared with the service is the service's.
    """

    def __init__(self, server: Server) -> None:
        self._connection = HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def get(self, path: str) -> bytes:
        """The body. Raises RuntimeError unless the answer is a 200."""
        return self._ask("GET", path)[1]

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that have these labels."""
        return metric(self.get("/metrics").decode(), name, **labels)

    def models(self) -> list[str]:
        """The names of the models that answer."""
        return [model["name"] for model in json.loads(self.get("/v1/models"))["models"]]

    def align(self, upload: Upload, with_box: bool, model: str | None = None) -> HTTPMessage:
        """The answer's headers. Raises RuntimeError unless it is a 200."""
        query = (upload.boxes if with_box else {}) | ({"model": model} if model else {})
        path = f"/v1/align?{urlencode(query)}"
        return self._ask("POST", path, upload.body, upload.headers)[0]

    def _ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[HTTPMessage, bytes]:
        self._connection.request(method, path, body, headers or {})
        response = self._connection.getresponse()
        content = response.read()
        if response.status != 200:
            raise RuntimeError(f"{method} {path}: {response.status} {content[:300]!r}")
        return response.headers, content


@contextmanager
def running(
    command: str = "app", stderr: IO[bytes] | None = None, /, **settings: object
) -> Iterator[Server]:
    """Start `python -m command` on a free port, wait until it is ready, stop it in the end.

    `command` is a module with its arguments; `settings` become its environment. Raises
    RuntimeError if it ends before it is ready, or takes too long; subprocess.TimeoutExpired if it
    has to be killed in the end.
    """
    port = int(str(settings.pop("port", None) or free_port()))
    settings |= {"host": "127.0.0.1", "port": port}
    environment = os.environ | {f"LWBAFA_{k.upper()}": str(v) for k, v in settings.items()}
    line = [sys.executable, "-m", *command.split()]
    with subprocess.Popen(line, cwd=ROOT, env=environment, stderr=stderr) as process:
        try:
            server = Server(port, process)
            _wait_until_ready(server)
            yield server
        finally:
            process.terminate()
            try:
                process.wait(STOP_LIMIT_S)
            finally:
                process.kill()  # one that hangs would else be waited for without end


def running_service(
    *checkpoints: Path, command: str = "app", **settings: object
) -> AbstractContextManager[Server]:
    """`running`, with some checkpoints and what lets a slow machine yield slow figures."""
    usual: dict[str, object] = {
        "checkpoint_dirs": ",".join(str(checkpoint.resolve()) for checkpoint in checkpoints),
        "log_level": "warning",
        "request_deadline_ms": 1000 * DEADLINE_S,
        "drain_delay_ms": 0,
    }
    return running(command, **usual | settings)


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_ready(server: Server) -> None:
    end = time.monotonic() + START_LIMIT_S
    while time.monotonic() < end:
        if server.process.poll() is not None:
            raise RuntimeError("the server ended before it was ready")
        # Not listening yet, or not ready.
        with suppress(OSError, HTTPException, RuntimeError), Caller(server) as caller:
            caller.get("/readyz")
            return
        time.sleep(0.1)
    raise RuntimeError(f"the server was not ready within {START_LIMIT_S} s")
