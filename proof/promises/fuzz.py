"""Ten thousand hostile uploads: none is answered with 500 or more, and none leaves a trace."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from tqdm import tqdm

from app.settings import Settings
from proof.harness.target import Target, as_text, percentile, target
from proof.harness.wire import Answer, Caller, post
from proof.promises import fuzz_files
from proof.promises.fuzz_requests import Upload, upload
from proof.promises.promises import Plan, Promise, at_most, exactly

UPLOADS, WARM_UP = 10_000, 1_500
CALLERS = 6
BOMBS = 25
DEADLINE_S = Settings.model_fields["request_deadline_ms"].default / 1000
PATIENT_DEADLINE_S = 60  # of a short run: on a busy machine, late is not yet wrong
UPLOAD_TIMEOUT_MS = 1_000  # so that a body which never comes is given up within the run
REST_S = 2.0
MAY_STAY_UNANSWERED = ("headers", "lengths")
"""What is not HTTP, or ends early, may find its connection closed."""


@dataclass
class Outcome:
    """What came of the uploads; what broke a promise is kept by number, to be sent again."""

    deadline_s: float
    statuses: Counter[str] = field(default_factory=Counter)
    failed: list[dict[str, Any]] = field(default_factory=list)
    unanswered: list[dict[str, Any]] = field(default_factory=list)
    late: list[dict[str, Any]] = field(default_factory=list)
    blunt: list[dict[str, Any]] = field(default_factory=list)


async def run(plan: Plan) -> list[Promise]:
    """Warm up with uploads of the same kinds, then compare before and after."""
    uploads, warm_up = plan.pick(UPLOADS, 250), plan.pick(WARM_UP, 50)
    deadline_s = plan.pick(DEADLINE_S, PATIENT_DEADLINE_S)
    outcome, ignored = Outcome(deadline_s), Outcome(deadline_s)
    settings = {
        "upload_timeout_ms": UPLOAD_TIMEOUT_MS,
        "request_deadline_ms": 1000 * deadline_s,
    }
    async with target(**settings) as service:
        first = await service.reference_answer()
        await _send(service, _numbered(plan.seed + 1, range(warm_up)), ignored, "fuzz, warm-up")
        await _send(service, _photographs(plan), ignored, "fuzz, rush")
        await _settle(service)
        memory, files = service.resident_mib(), service.open_files()
        numbers = range(plan.first_upload, max(uploads, plan.first_upload + 1))
        await _send(service, _numbered(plan.seed, numbers), outcome, "fuzz", len(numbers))
        await _settle(service)
        left_open = await service.files_left_open(files)
        growth = service.resident_mib() - memory
        last = await service.reference_answer()
        logged = service.errors_logged()
        took, peak, refused_with = await _bombs(service)
    name = f"answers ≥ 500 to {len(numbers):,} hostile uploads"
    return [
        at_most(
            name, len(outcome.failed), 0, uploads=outcome.failed[:50],
            statuses=dict(outcome.statuses.most_common()),
        ),
        at_most(
            f"answers later than the deadline + 1 s ({deadline_s + 1:g} s)",
            len(outcome.late), 0, uploads=outcome.late[:50],
        ),
        at_most(
            "well-formed requests left unanswered",
            len(outcome.unanswered), 0, uploads=outcome.unanswered[:50],
        ),
        at_most("429 without Retry-After", len(outcome.blunt), 0, uploads=outcome.blunt[:50]),
        at_most("errors logged", len(logged), 0, lines=logged[:50]),
        at_most("memory growth", growth, 64, "MiB", timed=True, before_mib=memory),
        at_most("file descriptors left open", left_open, 0, before=files),
        exactly("last good answer against the first", _same(first, last), "bit-equal"),
        exactly("144 MP bomb", " ".join(sorted(refused_with)), "413 too_many_pixels"),
        at_most("time to refuse it, median", 1000 * percentile(took, 0.5), 10, "ms", timed=True),
        at_most("memory to refuse it", peak, 5, "MiB", timed=True),
    ]  # fmt: skip


def _numbered(seed: int, numbers: range) -> Iterator[tuple[int, Upload]]:
    return ((number, upload(seed, number)) for number in numbers)


def _photographs(plan: Plan) -> Iterator[tuple[int, Upload]]:
    """What goes all the way, back to back: batches of every size want their memory once."""
    everything = _numbered(plan.seed + 2, range(10**6))
    some = (one for one in everything if one[1].kind in ("whole", "large"))
    return islice(some, plan.pick(10 * CALLERS, CALLERS))


async def _send(
    service: Target,
    uploads: Iterator[tuple[int, Upload]],
    outcome: Outcome,
    description: str,
    count: int | None = None,
) -> None:
    """Several callers share the uploads."""
    with tqdm(total=count, desc=description, unit="upload", mininterval=1) as bar:

        async def caller() -> None:
            connection = Caller(service.address)
            for number, sent in uploads:
                await _send_one(connection, sent, number, outcome)
                bar.update()
            connection.close()

        await asyncio.gather(*(caller() for _ in range(CALLERS)))


async def _send_one(connection: Caller, sent: Upload, number: int, outcome: Outcome) -> None:
    while True:
        started = time.perf_counter()
        answer: Answer | None = None
        try:
            async with asyncio.timeout(outcome.deadline_s + 2):
                answer = await connection.ask(sent.wire, half_close=sent.ends_early)
        except (TimeoutError, ConnectionError, ValueError, IndexError) as error:
            connection.close()
            said = type(error).__name__
        else:
            said = as_text(answer)
        seconds = time.perf_counter() - started
        entry = {"number": number, "kind": sent.kind, "answer": said, "seconds": round(seconds, 3)}
        outcome.statuses[f"{sent.kind}: {said}"] += 1
        if sent.kind in MAY_STAY_UNANSWERED:
            connection.close()  # what the server made of its end would answer the next upload
        elif answer is None:
            outcome.unanswered.append(entry)
        if answer is not None and answer.status >= 500:
            outcome.failed.append(entry)
        if seconds > outcome.deadline_s + 1:
            outcome.late.append(entry)
        if answer is None or answer.status != 429:
            return
        if not answer.headers.get("retry-after", "").isdecimal():
            outcome.blunt.append(entry)
            return
        await asyncio.sleep(int(answer.headers["retry-after"]))


async def _settle(service: Target) -> None:
    """Until nothing is in progress and closed connections are gone."""
    await service.at_rest()
    await asyncio.sleep(REST_S)


async def _bombs(service: Target) -> tuple[list[float], float, set[str]]:
    """Seconds of each refusal, the most memory that one took (MiB), and what was answered."""
    request = post(fuzz_files.bomb(), "image/png")
    connection = Caller(service.address)
    took, peaks, answers = [], [], set()
    for _ in range(BOMBS):
        before = service.resident_mib()
        service.forget_peak_memory()
        started = time.perf_counter()
        answers.add(as_text(await connection.ask(request)))
        took.append(time.perf_counter() - started)
        peaks.append(service.peak_resident_mib() - before)
    connection.close()
    return took, max(0.0, *peaks), answers


def _same(first: object, last: object) -> str:
    return "bit-equal" if first == last else "different"
