"""The service under test: a process of its own, watched from outside."""

import asyncio
import json
import re
import subprocess
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
from skimage.data import astronaut

from proof.harness.metrics import metric
from proof.harness.photographs import FACE, SIDE_PX
from proof.harness.photographs import astronaut as photograph
from proof.harness.server import Server, running
from proof.harness.wire import Address, Answer, Caller, get, post

REFERENCE_PX = 160
REFERENCE_BOX = [value * REFERENCE_PX / SIDE_PX for value in FACE[:4]]
REFERENCE = post(photograph(REFERENCE_PX).body, boxes=[REFERENCE_BOX])
"""One small photograph, its face's box given: decode, crop, network, answer."""

PER_REQUEST = ("request_id", "timing_ms")
"""What differs between two answers to the same upload."""

USUAL: dict[str, object] = {"log_level": "error", "drain_delay_ms": 0}
CLOSING_S = 15
PATIENCE_S = 120
"""For what has no target: long enough for a busy machine."""


class Target:
    """A running service: where it is, what it uses, what it logs."""

    def __init__(self, server: Server, log: Path) -> None:
        self.address: Address = ("127.0.0.1", server.port)
        self.process = server.process
        self._usage = psutil.Process(server.process.pid)
        self._log = log

    def resident_mib(self) -> float:
        """Resident memory now."""
        return float(self._usage.memory_info().rss / 2**20)

    def forget_peak_memory(self) -> None:
        """Let `peak_resident_mib` begin anew (Linux)."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def peak_resident_mib(self) -> float:
        """The most resident memory since it was last forgotten."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) / 1024

    def open_files(self) -> int:
        """File descriptors now."""
        return int(self._usage.num_fds())

    def log(self) -> str:
        """Everything written to standard error so far."""
        return self._log.read_text(errors="replace")

    def errors_logged(self) -> list[str]:
        """The JSON log lines of level error, and every line of a traceback outside of one.

        libpng and libjpeg write of damaged files on their own: that is no error of the service.
        """
        return [
            line
            for line in self.log().splitlines()
            if line.startswith(('{"time"', "Traceback", "  File"))
        ]

    async def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that have these labels."""
        return await metric_at(self.address, name, **labels)

    async def reference_answer(self) -> Any:
        """What the service answers to the reference photograph, alone; raises if it refuses."""
        caller = Caller(self.address)
        try:
            answer = await caller.ask(REFERENCE)
        finally:
            caller.close()
        if answer is None or answer.status != 200:
            raise RuntimeError(f"the reference photograph was not aligned: {answer}")
        return content(answer)

    async def files_left_open(self, before: int) -> int:
        """File descriptors beyond those before, once closed connections had time to go."""

        async def gone() -> bool:
            return self.open_files() <= before

        await until(gone, CLOSING_S)
        return self.open_files() - before

    async def at_rest(self) -> None:
        """Wait until nothing is in progress and nothing waits."""
        await until(self.idle)

    async def idle(self) -> bool:
        """Whether nothing is in progress and nothing waits."""
        inflight = await self.metric("lwbafa_inflight_requests")
        return inflight == 0 and await self.metric("lwbafa_queue_faces") == 0


@asynccontextmanager
async def target(command: str = "app", /, **settings: object) -> AsyncIterator[Target]:
    """Start `python -m command` with some settings changed, wait until it is ready, stop it.

    Started and stopped on another thread, so that load may go on meanwhile.
    """
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with log.open("wb") as stderr:
            service = running(command, stderr, **USUAL | settings)
            try:
                server = await asyncio.to_thread(service.__enter__)
            except RuntimeError as error:
                raise RuntimeError(f"{error}: {log.read_text(errors='replace')[-300:]}") from error
            try:
                yield Target(server, log)
            finally:
                with suppress(subprocess.TimeoutExpired):
                    await asyncio.to_thread(service.__exit__, None, None, None)


async def metric_at(address: Address, name: str, **labels: str) -> float:
    """The sum of a metric's samples that have these labels, in the service at an address."""
    return metric((await get(address, "/metrics")).body.decode(), name, **labels)


async def until(
    condition: Callable[[], Awaitable[bool]], limit_s: float = PATIENCE_S, every_s: float = 0.05
) -> bool:
    """Whether a condition came to hold within a limit."""
    with suppress(TimeoutError):
        async with asyncio.timeout(limit_s):
            while not await condition():
                await asyncio.sleep(every_s)
            return True
    return False


def content(answer: Answer) -> Any:
    """An answer without what differs from request to request."""
    return {key: value for key, value in answer.json().items() if key not in PER_REQUEST}


def alike(answer: object, expected: object) -> bool:
    """Equal, but for what a batch's companions may change in the last digits."""
    if isinstance(answer, dict) and isinstance(expected, dict):
        return answer.keys() == expected.keys() and all(
            alike(answer[k], expected[k]) for k in answer
        )
    if isinstance(answer, list) and isinstance(expected, list):
        return len(answer) == len(expected) and all(map(alike, answer, expected))
    if isinstance(answer, float) and isinstance(expected, float):
        return abs(answer - expected) <= 0.01
    return answer == expected


def faceless() -> Any:
    """A part of the photograph without a face, RGB: its answer needs the detector only."""
    return astronaut()[320:480, 330:490]


def percentile(values: list[float], share: float) -> float:
    """The value that a share of all do not exceed; 0 of none."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else 0.0


def as_text(answer: Answer | None) -> str:
    """An answer's status and code, for evidence."""
    if answer is None:
        return "no answer"
    with suppress(json.JSONDecodeError, UnicodeDecodeError, AttributeError, TypeError):
        return f"{answer.status} {answer.json().get('code', '')}".strip()
    return str(answer.status)
