"""docker-compose.yml: up, healthy, a photograph through the published port, a stop that drains."""

import asyncio
import time

from app.settings import Settings
from proof.container.engine import STOP_LIMIT_S, compose, inspect, wait_until_ready
from proof.harness.open_loop import load
from proof.harness.photographs import astronaut
from proof.harness.server import free_port
from proof.harness.target import REFERENCE, alike, as_text, content, until
from proof.harness.wire import Address, Caller, post
from proof.promises.promises import Promise, at_least, at_most, exactly

HEALTH_LIMIT_S = 60
REQUESTS_PER_S = 2
STOP_AFTER_S = 3.0
DRAIN_S = Settings().drain_delay_ms / 1000
SLACK_S = 1.0
"""So long before the drain's end the last request is sent: later ones may be refused."""


async def run() -> list[Promise]:
    """Bring the service up as a user would, and stop it under a light load."""
    address = ("127.0.0.1", free_port())
    listen = f"{address[0]}:{address[1]}"
    try:
        began = time.monotonic()
        await compose("up", "--detach", "--no-build", "lwbafa", LISTEN=listen)
        container = (await compose("ps", "--quiet", "lwbafa", LISTEN=listen)).strip()
        await wait_until_ready(address, container)
        ready_s = time.monotonic() - began

        async def healthy() -> bool:
            return bool((await inspect(container))["State"]["Health"]["Status"] == "healthy")

        became_healthy = await until(healthy, HEALTH_LIMIT_S, 0.5)
        photo = await Caller(address).ask(post(astronaut().body))
        points = len(photo.json()["faces"][0]["landmarks"]) if photo and photo.status == 200 else 0
        failed, sent, stop_s = await _stop_under_load(address, listen)
        status = (await inspect(container))["State"]["ExitCode"]
    finally:
        await compose("down", "--volumes", LISTEN=listen)
    return [
        at_most("ready after `up`", ready_s, 60, "s"),
        exactly("healthy by its own check", became_healthy, True),
        exactly("landmarks in a photograph, detected", points, 68),
        at_most("requests failed while it drains", len(failed), 0, failed=failed),
        at_least("requests sent meanwhile", sent, 10),
        at_most("`stop` takes", stop_s, STOP_LIMIT_S, "s"),
        exactly("exit status", status, 0),
    ]


async def _stop_under_load(address: Address, listen: str) -> tuple[list[str], int, float]:
    """What was not answered rightly, of how many, and how long the stop took."""
    first = await Caller(address).ask(REFERENCE)
    if first is None or first.status != 200:
        raise RuntimeError(f"the reference photograph was not aligned: {as_text(first)}")

    async def stop() -> float:
        await asyncio.sleep(STOP_AFTER_S)
        began = time.monotonic()
        await compose("stop", "lwbafa", LISTEN=listen)
        return time.monotonic() - began

    stopping = asyncio.create_task(stop())
    last_s = STOP_AFTER_S + DRAIN_S - SLACK_S
    due = [number / REQUESTS_PER_S for number in range(int(REQUESTS_PER_S * last_s))]
    samples = await load(
        address,
        due,
        lambda number: REFERENCE,
        limit_s=STOP_LIMIT_S,
        keep_alive=False,
        kept_bodies=lambda number: True,
    )
    stop_s = await stopping
    failed = [
        as_text(sample.answer) if sample.status != 200 else "wrong points"
        for sample in samples
        if sample.answer is None
        or sample.status != 200
        or not alike(content(sample.answer), content(first))
    ]
    return failed, len(samples), stop_s
