"""Callers who leave mid-request: their work is dropped, their places are given back."""

import asyncio
import random
import socket
import struct
from contextlib import suppress

from tqdm import tqdm

from proof.harness.checkpoints import FULL
from proof.harness.photographs import astronaut
from proof.harness.target import (
    PATIENCE_S,
    REFERENCE,
    REFERENCE_BOX,
    REFERENCE_PX,
    Target,
    alike,
    content,
    target,
    until,
)
from proof.harness.wire import Caller, post
from proof.promises.promises import Plan, Promise, at_least, at_most, exactly

CALLERS = 24
LONGEST_STAY_S = 0.4
LONGEST_QUEUE_S = 5.0
LOOK_EVERY_S = 0.05
LEAVER = post(astronaut(REFERENCE_PX).body, boxes=[REFERENCE_BOX] * 4)
"""Four faces, of which some still wait for the paper's network whenever their caller leaves."""
HEAD = LEAVER.index(b"\r\n\r\n") + 4
PHASES = ("in the headers", "in the body", "while queued")


async def run(plan: Plan) -> list[Promise]:
    """Leave a thousand times, while one who stays is answered all along."""
    count = plan.pick(1000, 90)
    async with target(checkpoint_dirs=FULL) as service:
        first = await service.reference_answer()
        files = service.open_files()
        requests = await _align_requests(service)
        staying = asyncio.create_task(_stay(service, first, plan.pick(20, 2)))
        waiting = asyncio.Event()
        looking = asyncio.create_task(_look(service, waiting))
        phases = await _leave(service, count, plan.seed, waiting)
        looking.cancel()
        wrong, asked = await staying
        rested = await until(service.idle)
        entered = count - phases[0] + asked
        # A request whose caller left is counted when the service notices, not when it happens.
        settled = await until(lambda: _reached(service, requests + entered), limit_s=15)
        counted = await _align_requests(service) - requests
        dropped = await service.metric("lwbafa_dropped_faces_total", reason="ended")
        inflight = await service.metric("lwbafa_inflight_requests")
        queued = await service.metric("lwbafa_queue_faces")
        last = await service.reference_answer()
        left_open = await service.files_left_open(files)
        logged = service.errors_logged()
    evidence = dict(zip(PHASES, phases, strict=True)) | {"settled": settled, "rested": rested}
    return [
        at_most(f"errors logged after {count:,} disconnects", len(logged), 0, lines=logged[:50]),
        at_most("places and queued faces not given back", inflight + queued, 0),
        exactly("requests accounted for", f"{counted:.0f}", f"{entered}", **evidence),
        at_least("work dropped and counted", dropped, 1, "faces"),
        at_most(f"wrong answers to the caller who stayed ({asked} requests)", wrong, 0),
        exactly("last answer against the first", "equal" if first == last else "not", "equal"),
        at_most("file descriptors left open", left_open, 0),
    ]


async def _look(service: Target, waiting: asyncio.Event) -> None:
    """Keep `waiting` set while faces wait for the network."""
    while True:
        if await service.metric("lwbafa_queue_faces"):
            waiting.set()
        else:
            waiting.clear()
        await asyncio.sleep(LOOK_EVERY_S)


async def _leave(service: Target, count: int, seed: int, waiting: asyncio.Event) -> list[int]:
    """How many left in each phase; half of them close, half reset the connection."""
    phases = [0] * len(PHASES)
    numbers = iter(range(count))
    with tqdm(total=count, desc="disconnects", unit="caller", mininterval=1) as bar:

        async def caller() -> None:
            for number in numbers:
                chance = random.Random(f"{seed}/{number}")
                phase = number % len(PHASES)
                await _leave_once(service, phase, chance, waiting)
                phases[phase] += 1
                bar.update()

        await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return phases


async def _leave_once(
    service: Target, phase: int, chance: random.Random, waiting: asyncio.Event
) -> None:
    end = (
        chance.randrange(1, HEAD - 1),
        chance.randrange(HEAD, len(LEAVER)),
        len(LEAVER),
    )[phase]
    reader, writer = await asyncio.open_connection(*service.address)
    # Sent, and not merely buffered: on a loopback, what drain leaves is in the server's hands.
    writer.write(LEAVER[:end])
    with suppress(ConnectionError):
        await writer.drain()
    try:
        # A refusal comes at once and ends the stay; an answer may come before the caller leaves.
        async with asyncio.timeout(chance.uniform(0.02, LONGEST_STAY_S)):
            await reader.read(1)
    except ConnectionError:
        pass
    except TimeoutError:
        if PHASES[phase] == "while queued":
            with suppress(TimeoutError):
                await asyncio.wait_for(waiting.wait(), LONGEST_QUEUE_S)
    if chance.random() < 0.5:
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


async def _stay(service: Target, expected: object, count: int) -> tuple[int, int]:
    """Wrong answers, and requests sent, by a caller who waits for each answer."""
    caller, wrong, asked, answered = Caller(service.address), 0, 0, 0
    async with asyncio.timeout(PATIENCE_S):
        while answered < count:
            asked += 1
            answer = await caller.ask(REFERENCE)
            if answer is not None and answer.status == 429:
                await asyncio.sleep(int(answer.headers["retry-after"]) / 4)
                continue
            answered += 1
            wrong += answer is None or answer.status != 200 or not alike(content(answer), expected)
    caller.close()
    return wrong, asked


async def _align_requests(service: Target) -> float:
    return await service.metric("lwbafa_request_seconds_count", route="/v1/align")


async def _reached(service: Target, count: float) -> bool:
    return await _align_requests(service) >= count
