"""One container with one CPU and 1.5 GB of memory: full batches and large photographs at once."""

import asyncio
import time

import cv2
import numpy as np
import skimage.data

from proof.container.engine import Container
from proof.harness.target import REFERENCE
from proof.harness.wire import Address, Caller, post
from proof.promises.promises import Promise, at_least, at_most, exactly

SECONDS = 40
SMALL, LARGE = 12, 3
"""Callers who send one face each, and callers who send photographs of 48 MP, in closed loops."""
LARGE_SIDE_PX = (8000, 6000)
QUALITY = (cv2.IMWRITE_WEBP_QUALITY, 80)
WATCH_EVERY_S = 0.25


async def run() -> list[Promise]:
    """Send, watch, and see whether it is still the same process."""
    container = Container("limits", cpus=1, memory="1536m")
    try:
        await container.start()
        peak = asyncio.create_task(_peak_mib(container))
        large = post(_large_photograph(), "image/webp", query="max_faces=4")
        end = time.monotonic() + SECONDS
        callers = [_send(container.address, REFERENCE, end) for _ in range(SMALL)]
        callers += [_send(container.address, large, end) for _ in range(LARGE)]
        statuses = [status for caller in await asyncio.gather(*callers) for status in caller]
        peak_mib = await peak
        state = await container.state()
    finally:
        await container.remove()
    wrong = [status for status in statuses if status not in (200, 429, 504)]
    return [
        exactly("still running, not killed for memory",
                (state["Status"], state["OOMKilled"]), ("running", False)),
        at_most("resident memory at most", peak_mib, 1536, "MiB"),
        at_least("answers", statuses.count(200), 20),
        at_most("neither answered nor refused in time", len(wrong), 0, statuses=wrong),
    ]  # fmt: skip


async def _send(address: Address, request: bytes, end: float) -> list[int]:
    """Statuses of a caller who sends again as soon as it is answered; 0 for no answer."""
    statuses = []
    caller = Caller(address)
    while time.monotonic() < end:
        answer = await caller.ask(request)
        statuses.append(answer.status if answer else 0)
        if answer is None or answer.status == 429:
            await asyncio.sleep(1)
    caller.close()
    return statuses


async def _peak_mib(container: Container) -> float:
    peak = 0.0
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        resident = await container.metric("process_resident_memory_bytes")
        peak = max(peak, resident / 2**20)
        await asyncio.sleep(WATCH_EVERY_S)
    return peak


def _large_photograph() -> bytes:
    pixels = cv2.resize(np.asarray(skimage.data.astronaut()), LARGE_SIDE_PX)
    # Not a JPEG, which is decoded no finer than need be.
    encoded, body = cv2.imencode(".webp", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), QUALITY)
    assert encoded
    return body.tobytes()
