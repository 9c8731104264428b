"""Parts that fail: the network on one face or on all, its memory, its thread, its file."""

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from app.settings import Settings
from proof.harness import ROOT
from proof.harness import faulty_service as faulty
from proof.harness.checkpoints import LITE
from proof.harness.faulty_service import Color
from proof.harness.photographs import astronaut
from proof.harness.target import (
    PATIENCE_S,
    REFERENCE_BOX,
    REFERENCE_PX,
    Target,
    alike,
    as_text,
    content,
    target,
    until,
)
from proof.harness.wire import Answer, Caller, get, post
from proof.promises.promises import Plan, Promise, at_most, exactly

FAULTY = "proof.harness.faulty_service --network"
BATCH = 16
PATIENT = {"request_deadline_ms": 1000 * PATIENCE_S}
FORWARD_TIMEOUT_S = 8
NOTICE_S = 3

Answers = list[Answer | None]


async def run(plan: Plan) -> list[Promise]:
    """One service for what it survives, one for each fault that ends it."""
    async with target(FAULTY, max_batch_faces=BATCH, **PATIENT) as service:
        alone = [await _ask(service, _face(shift)) for shift in range(BATCH)]
        promises = [
            await _poison(service, alone),
            await _flaky(service, alone),
            *await _out_of_memory(service, alone),
            await _other_pixels(service, plan.pick(40, 8)),
        ]
    return [
        *promises,
        *await _lethal("a forward pass that hangs", faulty.HANG, FORWARD_TIMEOUT_S),
        *await _lethal("the device thread killed", faulty.KILL, 0),
        await asyncio.to_thread(_tampered_checkpoint),
    ]


async def _poison(service: Target, alone: Answers) -> Promise:
    answers, right = await _batch(service, faulty.POISON, alone)
    others = Counter(as_text(answer) for answer in answers[1:] if answer and answer.status != 200)
    found = f"{right} right, the other {as_text(answers[0])}"
    wanted = f"{BATCH - 1} right, the other 500 inference_failed"
    return exactly(f"a poison face in a batch of {BATCH}", found, wanted, others=others)


async def _flaky(service: Target, alone: Answers) -> Promise:
    answers, right = await _batch(service, faulty.FLAKY, alone)
    found = f"{right} right, the other {as_text(answers[0])}"
    wanted = f"{BATCH - 1} right, the other 200"
    return exactly("a forward pass that raises once", found, wanted)


async def _out_of_memory(service: Target, alone: Answers) -> list[Promise]:
    answers, right = await _batch(service, faulty.GREEDY, alone)
    found = f"{right} right, the other {as_text(answers[0])}"
    wanted = f"{BATCH - 1} right, the other 200"
    small, passes = await _batches(service)
    await _batch(service, None, alone)
    small_after, passes_after = await _batches(service)
    larger = (passes_after - small_after) - (passes - small)
    return [
        exactly(f"out of memory with more than {faulty.ROOM} faces", found, wanted),
        at_most(f"batches of more than {faulty.ROOM} right after it", larger, 0),
    ]


async def _batches(service: Target) -> tuple[float, float]:
    """Batches of no more than ROOM faces so far, and all batches."""
    small = await service.metric("lwbafa_batch_faces_bucket", le=f"{faulty.ROOM}.0")
    return small, await service.metric("lwbafa_batch_faces_count")


async def _batch(service: Target, color: Color | None, alone: Answers) -> tuple[Answers, int]:
    """As many callers as make one batch, the first with a fault if there is a colour.

    Each has a box of its own, so that answers in the wrong hands would be noticed. Returns the
    answers, and how many of those without a fault are what the face `alone` was answered.
    """
    requests = [_face(shift) for shift in range(BATCH)]
    if color is not None:
        requests[0] = _flat(color)
    holding = asyncio.create_task(_ask(service, _flat(faulty.HOLD)))
    await until(lambda: _is_held(service))
    asking = [asyncio.create_task(_ask(service, request)) for request in requests]
    await until(lambda: _all_wait(service))
    service.process.send_signal(faulty.RELEASE)
    answers = await asyncio.gather(*asking)
    await holding
    right = sum(
        answer is not None
        and answer.status == 200
        and one is not None
        and alike(content(answer), content(one))
        for answer, one in list(zip(answers, alone, strict=True))[1:]
    )
    return list(answers), right


async def _is_held(service: Target) -> bool:
    return await service.metric("lwbafa_forward_age_seconds") > 0


async def _all_wait(service: Target) -> bool:
    return await service.metric("lwbafa_queue_faces") == BATCH


async def _other_pixels(service: Target, cuts: int) -> Promise:
    """A JPEG whose end is missing is drawn alike, whatever picture was decoded before it.

    OpenCV before 4.12 filled the gap with the pixels of an earlier upload.
    """
    whole = astronaut(REFERENCE_PX).body
    depend = 0
    for number in range(cuts):
        cut = len(whole) * (number + 2) // (cuts + 3)
        damaged = post(
            whole[:cut] + b"\xff\xd9", boxes=[REFERENCE_BOX], headers=["Accept: image/png"]
        )
        drawn = set()
        for color in ((255, 0, 0), (0, 0, 255)):
            # More than there are workers, so that each has just decoded it.
            for _ in range(4):
                await _ask(service, _flat(color, REFERENCE_PX))
            answer = await _ask(service, damaged)
            drawn.add(answer and (answer.status, answer.status == 200 and answer.body))
        depend += len(drawn) > 1
    name = f"truncated JPEGs ({cuts}) that show an earlier upload"
    return at_most(name, depend, 0)


async def _lethal(name: str, color: Color, after_s: float) -> list[Promise]:
    """What ends a process: it says so, nobody waits for it in vain, and it does end."""
    settings = {"max_batch_faces": 1, "forward_timeout_ms": 1000 * FORWARD_TIMEOUT_S}
    try:
        async with target(FAULTY, **settings) as service:
            return await _watch_it_die(service, name, color, after_s)
    except RuntimeError as error:
        return [Promise(f"{name}: the process", "ends non-zero", str(error)[-100:].strip(), False)]


async def _watch_it_die(service: Target, name: str, color: Color, after_s: float) -> list[Promise]:
    started = time.monotonic()
    fatal = asyncio.create_task(_ask(service, _flat(color)))
    await asyncio.sleep(0.5)
    behind = [asyncio.create_task(_ask(service, _face(shift))) for shift in range(4)]
    limit = after_s + Settings.model_fields["request_deadline_ms"].default / 1000
    dead = await until(lambda: _not_live(service), limit)
    dead_after = time.monotonic() - started
    answers = await asyncio.gather(fatal, *behind)
    ended = await until(lambda: _has_ended(service), NOTICE_S + limit, 0.1)
    code: Any = service.process.returncode if ended else "still running"
    return [
        Promise(
            f"{name}: liveness fails within",
            f"≤ {after_s + NOTICE_S:g} s",
            f"{dead_after:.1f} s" if dead else "never",
            dead and dead_after <= after_s + NOTICE_S,
            timed=True,
        ),
        Promise(
            f"{name}: answers to those who wait",
            "5xx or closed",
            ", ".join(sorted({as_text(answer) for answer in answers})),
            all(answer is None or answer.status >= 500 for answer in answers),
        ),
        Promise(f"{name}: the process", "ends non-zero", f"status {code}", ended and code != 0),
    ]


async def _not_live(service: Target) -> bool:
    try:
        return (await get(service.address, "/livez")).status == 503
    except OSError:
        return True


async def _has_ended(service: Target) -> bool:
    return service.process.poll() is not None


def _tampered_checkpoint() -> Promise:
    """One bit of the weights turned over."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "checkpoint"
        shutil.copytree(LITE, copy)
        weights = next(copy.glob("*.safetensors"))
        data = bytearray(weights.read_bytes())
        data[len(data) // 2] ^= 1
        weights.write_bytes(data)
        ended = subprocess.run(
            [sys.executable, "-m", "app"],
            cwd=ROOT,
            env={**os.environ, "LWBAFA_PORT": "0", "LWBAFA_CHECKPOINT_DIRS": str(copy)},
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
    lines = ended.stderr.splitlines()
    found = f"status {ended.returncode}, {len(lines)} line{'s' * (len(lines) != 1)}"
    return exactly("a tampered checkpoint", found, "status 1, 1 line", said=lines[:3])


def _face(shift: int) -> bytes:
    x, y, width, height = REFERENCE_BOX
    return post(astronaut(REFERENCE_PX).body, boxes=[[x + shift / 2, y, width, height]])


def _flat(color: Color, side_px: int = 64) -> bytes:
    """An upload of one colour, of which the network sees nothing else."""
    pixels = np.full((side_px, side_px, 3), color[::-1], np.uint8)
    middle = side_px // 4
    body = cv2.imencode(".png", pixels)[1].tobytes()
    return post(body, "image/png", boxes=[[middle, middle, 2 * middle, 2 * middle]])


async def _ask(service: Target, request: bytes) -> Answer | None:
    caller = Caller(service.address)
    try:
        async with asyncio.timeout(PATIENCE_S):
            return await caller.ask(request)
    except (ConnectionError, TimeoutError):
        return None
    finally:
        caller.close()
