"""The service as it is deployed: a process of its own, reached over HTTP."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
import psutil

from app.settings import ROOT

START_LIMIT_S = 300
# A slow machine is to yield slow figures, not refused requests.
DEADLINE_S = 600


class Server(NamedTuple):
    """A running, ready service."""

    url: str
    process: psutil.Process

    @property
    def align_url(self) -> str:
        """Where photographs are sent."""
        return f"{self.url}/v1/align"

    def resident_mib(self) -> float:
        """Resident memory of the process."""
        return float(self.process.memory_info().rss / 2**20)


@contextmanager
def running_service(checkpoint: Path) -> Iterator[Server]:
    """Start `python -m app` on a free port, wait until it is ready, stop it in the end."""
    port = free_port()
    environment = os.environ | {
        "LWBAFA_HOST": "127.0.0.1",
        "LWBAFA_PORT": str(port),
        "LWBAFA_CHECKPOINT_DIR": str(checkpoint.resolve()),
        "LWBAFA_LOG_LEVEL": "warning",
        "LWBAFA_REQUEST_DEADLINE_MS": str(1000 * DEADLINE_S),
        "LWBAFA_DRAIN_DELAY_MS": "0",
    }
    process = subprocess.Popen([sys.executable, "-m", "app"], cwd=ROOT, env=environment)
    try:
        server = Server(f"http://127.0.0.1:{port}", psutil.Process(process.pid))
        _wait_until_ready(server, process)
        yield server
    finally:
        process.terminate()
        process.wait()


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_ready(server: Server, process: "subprocess.Popen[bytes]") -> None:
    end = time.monotonic() + START_LIMIT_S
    with httpx.Client(trust_env=False) as client:
        while time.monotonic() < end:
            if process.poll() is not None:
                raise RuntimeError("the service ended before it was ready")
            try:
                if client.get(f"{server.url}/readyz").is_success:
                    return
            except httpx.TransportError:
                pass  # not listening yet
            time.sleep(0.1)
    raise RuntimeError(f"the service was not ready within {START_LIMIT_S} s")
