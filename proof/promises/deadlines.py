"""More than the workers can prepare: what callers' deadlines leave time for is answered."""

import asyncio
import time

import cv2
import numpy as np

from proof.harness.open_loop import load, poisson
from proof.harness.photographs import astronaut, photograph
from proof.harness.target import Target, percentile, target
from proof.harness.wire import Caller, post
from proof.promises.promises import Plan, Promise, at_least, at_most

PORTRAIT = astronaut().body
TIMES = 1.4
DEADLINES_MS = (1000, 400)
CALLERS, CROWDS = 4, (16, 48)
LARGE_PX = (4000, 6000)
NOISE = 7.0
"""Brings an enlarged photograph to the size of a camera's JPEG."""

MOST_LATE = 5.0
"""Percent of those taken: an estimate is to be kept by most, and what is late cost others' time."""

REFUSED_MS = 50.0

FIRST_S = 2.0
"""Not counted: the service learns what the photographs cost."""


async def run(plan: Plan) -> list[Promise]:
    """Portraits to be searched at 1.4 times the capacity, then crowds with 24 MP photographs."""
    seconds = plan.pick(10, 2)
    async with target() as service:
        capacity = await _answered(service, post(PORTRAIT), CALLERS, plan.pick(8, 1))
        promises = []
        for deadline_ms in DEADLINES_MS[: plan.pick(2, 1)]:
            header = (f"X-Deadline-Ms: {deadline_ms}",)
            request = post(PORTRAIT, headers=header)
            rate = TIMES * capacity
            samples = await load(
                service.address,
                poisson(rate, seconds, plan.seed + deadline_ms),
                lambda number, request=request: request,  # type: ignore[misc]
                limit_s=30,
                description=f"deadlines of {deadline_ms} ms",
            )
            counted = [s for s in samples if s.due_s >= min(FIRST_S, seconds / 2)]
            answered = sum(sample.status == 200 for sample in counted)
            late = sum(sample.status == 504 for sample in counted)
            refused = [sample.latency_s for sample in counted if sample.status == 429]
            others = [s.status for s in samples if s.status not in (200, 429, 504)]
            promises += [
                at_least(
                    f"answered at {TIMES} × capacity, of capacity, deadlines of {deadline_ms} ms",
                    100 * TIMES * answered / len(counted), 90, "%", timed=True,
                    capacity_per_s=capacity,
                ),
                at_most(
                    f"taken, but not in time, {deadline_ms} ms",
                    100 * late / max(1, answered + late), MOST_LATE, "%", timed=True,
                ),
                at_most(
                    f"refusals, p99, {deadline_ms} ms", 1000 * percentile(refused, 0.99),
                    REFUSED_MS, "ms", timed=True, count=len(refused),
                ),
                at_most(f"neither answered nor told why, {deadline_ms} ms", len(others), 0),
            ]  # fmt: skip
            await service.at_rest()
        large = post(_large_photograph())
        few = await _answered(service, large, CALLERS, plan.pick(8, 1))
        for callers in CROWDS[: plan.pick(2, 1)]:
            many = await _answered(service, large, callers, plan.pick(12, 1))
            promises.append(
                at_least(
                    f"24 MP photographs answered to {callers} callers, of those to {CALLERS}",
                    100 * many / few,
                    90,
                    "%",
                    timed=True,
                    per_s=few,
                )
            )
            await service.at_rest()
    return promises


async def _answered(service: Target, request: bytes, callers: int, seconds: float) -> float:
    """Answers a second to callers who send again once answered, or as Retry-After says."""
    began = time.perf_counter()
    done = 0

    async def caller() -> None:
        nonlocal done
        connection = Caller(service.address)
        while time.perf_counter() - began < seconds:
            answer = await connection.ask(request)
            if answer is not None and answer.status == 200:
                done += 1
            else:
                waits = answer.headers.get("retry-after", "") if answer else ""
                await asyncio.sleep(min(float(waits or 0.2), seconds))
        connection.close()

    await asyncio.gather(*(caller() for _ in range(callers)))
    return max(1, done) / (time.perf_counter() - began)


def _large_photograph() -> bytes:
    """24 megapixels: the astronaut enlarged, with noise, JPEG of quality 88."""
    height, width = LARGE_PX
    enlarged = cv2.resize(photograph(), (width, width), interpolation=cv2.INTER_CUBIC)[:height]
    noise = np.random.default_rng(0).normal(0, NOISE, (height // 4, width // 4, 1))
    noisy = np.clip(enlarged + np.tile(noise, (4, 4, 1)), 0, 255).astype(np.uint8)
    return cv2.imencode(".jpg", noisy[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])[1].tobytes()
