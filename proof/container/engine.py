"""Containers of the image on this machine's Docker engine, driven by its command line."""

import asyncio
import json
import os
import shutil
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from proof.harness import ROOT
from proof.harness.server import free_port
from proof.harness.target import metric_at, until
from proof.harness.wire import Address, get

IMAGE = "lwbafa:cpu"
OURS = f"lwbafa-check-{os.getpid()}"
"""What all names begin with: another run at the same time has its own."""

START_LIMIT_S = 180
STOP_LIMIT_S = 30
HARDENED = (
    *("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges:true"),
    *("--pids-limit", "512"),
)
"""What docker-compose.yml asks for as well."""


class Container:
    """One instance, at a port of this machine that it keeps when it is replaced."""

    def __init__(self, name: str, cpus: float, memory: str = "1536m") -> None:
        self.name = f"{OURS}-{name}"
        self.address: Address = ("127.0.0.1", free_port())
        self._limits = ("--cpus", f"{cpus:g}", "--memory", memory, "--memory-swap", memory)

    async def start(self) -> float:
        """Run it; seconds until it is ready."""
        began = time.monotonic()
        publish = f"{self.address[0]}:{self.address[1]}:8000"
        await docker("run", "--detach", "--name", self.name, "--publish", publish,
                     *HARDENED, *self._limits, IMAGE)  # fmt: skip
        await wait_until_ready(self.address, self.name)
        return time.monotonic() - began

    async def stop(self) -> int:
        """SIGTERM, as an orchestrator sends it; the exit status."""
        await docker("stop", "--time", str(STOP_LIMIT_S), self.name)
        return int((await self.state())["ExitCode"])

    async def kill(self) -> None:
        """SIGKILL."""
        await docker("kill", self.name)

    async def remove(self) -> None:
        """Leave nothing behind, running or not."""
        await docker("rm", "--force", "--volumes", self.name)

    async def state(self) -> Any:
        """What the engine says of it: whether it runs, was killed for memory, is healthy."""
        return (await inspect(self.name))["State"]

    async def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that have these labels."""
        return await metric_at(self.address, name, **labels)


@asynccontextmanager
async def containers(count: int, cpus: float) -> AsyncIterator[list[Container]]:
    """This many, ready, with `cpus` each; removed in the end."""
    started = [Container(str(number + 1), cpus) for number in range(count)]
    try:
        await asyncio.gather(*(container.start() for container in started))
        yield started
    finally:
        await asyncio.gather(*(container.remove() for container in started))


async def build() -> None:
    """Build the CPU image with DOCKER_BUILD_ARGS, its output shown."""
    arguments = os.environ.get("DOCKER_BUILD_ARGS", "").split()
    command = ["docker", "build", "--file", "docker/Dockerfile", "--tag", IMAGE, *arguments, "."]
    await asyncio.to_thread(subprocess.run, command, cwd=ROOT, check=True)


async def wait_until_ready(address: Address, name: str) -> None:
    """Raises RuntimeError if the container ends first, or takes too long."""

    async def ready_or_ended() -> bool:
        try:
            return (await get(address, "/readyz")).status == 200
        except OSError:  # not listening yet, or no more
            return not (await inspect(name))["State"]["Running"]

    in_time = await until(ready_or_ended, START_LIMIT_S, 0.2)
    state = (await inspect(name))["State"]
    if not in_time or not state["Running"]:
        raise RuntimeError(f"{name} did not become ready: {state['Status']}, {state['ExitCode']}")


async def inspect(name: str) -> Any:
    """What the engine says of a container or an image."""
    return json.loads(await docker("inspect", name))[0]


async def docker(*arguments: str) -> str:
    """Standard output of a docker command. Raises RuntimeError if it fails."""
    return await output("docker", *arguments)


async def compose(*arguments: str, **environment: str) -> str:
    """Standard output of Compose, version 2 or 1, on docker-compose.yml."""
    version_1 = shutil.which("docker-compose")
    program = [version_1] if version_1 else ["docker", "compose"]
    file = str(ROOT / "docker-compose.yml")
    return await output(*program, "--project-name", OURS, "--file", file, *arguments, **environment)


async def output(*command: str, **environment: str) -> str:
    """Standard output of a command. Raises RuntimeError with what it says when it fails."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **environment},
        cwd=Path(ROOT),
    )
    printed, complaint = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command[:3])} …: {complaint.decode()[-300:].strip()}")
    return printed.decode()
