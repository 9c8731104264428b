"""Twenty rolling restarts of two instances behind a real nginx: no caller notices.

What stands between an instance and its callers is what stands there in a cluster: something that
watches `/readyz` and takes who is not ready out of the balancer's list, while the instance goes on
serving for its drain delay.
"""

import asyncio
import signal
import subprocess
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from PIL import Image as Pillow
from tqdm import tqdm

from proof.harness.nginx import IN_ITS_FOLDER, NGINX
from proof.harness.open_loop import Sample, load
from proof.harness.server import free_port
from proof.harness.target import (
    REFERENCE,
    Target,
    alike,
    as_text,
    content,
    faceless,
    percentile,
    target,
    until,
)
from proof.harness.wire import Address, get, post
from proof.promises.fuzz_files import KINDS
from proof.promises.promises import Plan, Promise, at_least, at_most

LIMIT_S = 60
SETTINGS = {
    "network_threads": 1,
    "max_batch_faces": 1,
    "drain_delay_ms": 1500,
    # Every request is to be answered, however busy the machine is with a start.
    "request_deadline_ms": 1000 * LIMIT_S,
    "max_inflight_requests": 512,
}
WATCH_EVERY_S = 0.1
FACE_EVERY = 25
"""One request in this many is aligned; the others hold no face: they cost the detector's time."""
LONGEST_S = 1800

CONFIG = (
    IN_ITS_FOLDER
    + """    client_max_body_size 20m;
    client_body_buffer_size 1m;   # no upload touches the disk
    include {folder}/upstream.conf;
    server {{
        listen 127.0.0.1:{port} backlog=2048;
        location / {{
            proxy_pass http://instances;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
            # Another instance is tried only if no connection came about: a POST that was sent is
            # never sent again (nginx's default for requests that are not idempotent).
            proxy_next_upstream error timeout;
            proxy_connect_timeout 2s;
        }}
    }}
}}
"""
)
UPSTREAM = """upstream instances {{
    {servers}
    keepalive 16;
    keepalive_timeout 1s;   # shorter than the instances' own, and than their drain delay
}}
"""


class Balancer:
    """nginx, and the list of instances that it sends requests to."""

    def __init__(
        self, folder: Path, process: "subprocess.Popen[bytes]", port: int, listed: list[int]
    ) -> None:
        self.address: Address = ("127.0.0.1", port)
        self.listed = listed
        self._folder = folder
        self._process = process

    async def follow(self, ports: list[int]) -> None:
        """Keep the list to those who are ready; never empty it."""
        while True:
            states = await asyncio.gather(*(_is_ready(port) for port in ports))
            ready = [port for port, state in zip(ports, states, strict=True) if state]
            if ready and ready != self.listed:
                write_upstream(self._folder, ready)
                self._process.send_signal(signal.SIGHUP)  # reload, losing no connection
                self.listed = ready
            await asyncio.sleep(WATCH_EVERY_S)


class Instance:
    """One of the two, at a port that it keeps."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def start(self) -> Target:
        """Until it is ready."""
        self._running = target(port=self.port, **SETTINGS)
        self._service = await self._running.__aenter__()
        return self._service

    async def stop(self) -> int:
        """SIGTERM, and its exit status."""
        await self._running.__aexit__(None, None, None)
        status = self._service.process.returncode
        assert status is not None
        return status


async def run(plan: Plan) -> list[Promise]:
    """Restart one after the other under a steady load, until both counts are reached."""
    restarts, requests = plan.pick(20, 2), plan.pick(5_000, 100)
    name = f"requests failed in {restarts} rolling restarts"
    if NGINX is None:
        return [Promise(name, "0", "not run: no nginx", None)]
    instances = [Instance(free_port()), Instance(free_port())]
    try:
        reference = await (await instances[0].start()).reference_answer()
        try:
            await instances[1].start()
            async with balancer([instance.port for instance in instances]) as front:
                samples, statuses = await _measure(plan, front, instances, restarts, requests)
        finally:
            await asyncio.gather(*(instance.stop() for instance in instances))
    except RuntimeError as error:
        return [Promise(name, "0", str(error)[-100:].strip(), False)]
    failed = Counter(
        as_text(sample.answer) if not _has_face(number) or sample.status != 200 else "wrong points"
        for number, sample in enumerate(samples)
        if not _is_right(number, sample, reference)
    )
    latencies = [sample.latency_s for sample in samples]
    spread = {f"p{share:g}_s": percentile(latencies, share / 100) for share in (50, 99, 100)}
    return [
        at_most(name, failed.total(), 0, failed=dict(failed), latency=spread),
        at_least("requests sent meanwhile", len(samples), requests),
        at_most("restarts that did not exit with 0", restarts - statuses.count(0), 0),
    ]


async def _measure(
    plan: Plan, front: Balancer, instances: list[Instance], restarts: int, requests: int
) -> tuple[list[Sample], list[int]]:
    """What came of the load, and the exit statuses of the restarted."""
    picture = KINDS["jpeg"](Pillow.fromarray(faceless()).resize((32, 32)))
    no_face = post(picture)
    rate = plan.pick(30, 8)
    rolling = asyncio.create_task(_roll(front, instances, restarts))
    samples = await load(
        front.address,
        [number / rate for number in range(rate * LONGEST_S)],
        lambda number: REFERENCE if _has_face(number) else no_face,
        limit_s=LIMIT_S,
        description="rolling, requests",
        keep_alive=False,
        enough=lambda sent: rolling.done() and sent >= requests,
        kept_bodies=_has_face,
    )
    return samples, await rolling


async def _roll(front: Balancer, instances: list[Instance], restarts: int) -> list[int]:
    """One restart after the other, each once both are listed again."""
    statuses = []
    for number in tqdm(range(restarts), desc="rolling, restarts", unit="restart"):
        await until(lambda: _both_listed(front, instances))
        instance = instances[number % len(instances)]
        statuses.append(await instance.stop())
        await instance.start()
    await until(lambda: _both_listed(front, instances))
    return statuses


@asynccontextmanager
async def balancer(ports: list[int]) -> AsyncIterator[Balancer]:
    """nginx as an ordinary process with its own configuration, following who is ready."""
    assert NGINX is not None
    port = free_port()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)  # started by root, nginx works as somebody else
        (folder / "nginx.conf").write_text(CONFIG.format(folder=folder, port=port))
        write_upstream(folder, ports)
        command = [NGINX, "-p", name, "-e", f"{name}/error.log", "-c", f"{name}/nginx.conf"]
        with subprocess.Popen(command) as process:
            try:
                if not await until(lambda: _is_ready(port), 30):
                    raise RuntimeError("nginx does not answer for the instances")
                front = Balancer(folder, process, port, ports)
                following = asyncio.create_task(front.follow(ports))
                yield front
                following.cancel()
            finally:
                process.terminate()


def write_upstream(folder: Path, ports: list[int]) -> None:
    """The list that nginx reads at its next reload."""
    servers = " ".join(f"server 127.0.0.1:{port} max_fails=0;" for port in ports)
    (folder / "upstream.conf").write_text(UPSTREAM.format(servers=servers))


async def _is_ready(port: int) -> bool:
    try:
        async with asyncio.timeout(LIMIT_S):
            return (await get(("127.0.0.1", port), "/readyz")).status == 200
    except OSError:
        return False


async def _both_listed(front: Balancer, instances: list[Instance]) -> bool:
    return len(front.listed) == len(instances)


def _has_face(number: int) -> bool:
    return number % FACE_EVERY == 0


def _is_right(number: int, sample: Sample, reference: Any) -> bool:
    if sample.status != 200 or sample.answer is None:
        return False
    return not _has_face(number) or alike(content(sample.answer), reference)
