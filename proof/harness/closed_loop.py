"""Saturating load from threads, and probes that show how long the server's event loop is away.

Every connection of the closed loop sends its next request as soon as it may. Beside them `/livez`,
which costs the server next to nothing, is asked at a fixed rate whether or not it answers in time
(an open loop): what such a probe waits for is the event loop, its turn on a core, and HTTP.
"""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from proof.harness.photographs import Upload
from proof.harness.server import Caller, Server

RAMP_S = 5.0
"""Until all connections are open and the batches are full."""

PROBE_EVERY_S = 0.05


class Probe(NamedTuple):
    """Seconds to the answer of one probe: from when it was due, and from when it was sent.

    What lies between the two is the prober's own wait for a core.
    """

    from_due: float
    from_sent: float


class Load(NamedTuple):
    """What a saturated server did: faces per second, probes, CPU time in percent of one core."""

    faces_per_second: float
    probes: list[Probe]
    server_cpu_percent: float
    generator_cpu_percent: float

    def p99_ms(self) -> tuple[float, float]:
        """99th percentiles of the probes, milliseconds: from due, from sent."""
        from_due, from_sent = 1000 * np.percentile(self.probes, 99, axis=0)
        return float(from_due), float(from_sent)


def saturate(server: Server, upload: Upload, connections: int, seconds: float) -> Load:
    """Send `upload`, of one face and with its box, for some seconds after a ramp."""
    begin = time.perf_counter() + RAMP_S
    end = begin + seconds

    def caller() -> list[float]:
        answered = []
        with Caller(server) as connection:
            while time.perf_counter() < end:
                connection.align(upload, with_box=True)
                answered.append(time.perf_counter())
        return answered

    with ThreadPoolExecutor(connections + 1) as threads:
        callers = [threads.submit(caller) for _ in range(connections)]
        prober = threads.submit(_probe, server, begin, end)
        time.sleep(max(0.0, begin - time.perf_counter()))
        before = time.perf_counter(), server.cpu_s(), time.process_time()
        time.sleep(max(0.0, end - time.perf_counter()))
        after = time.perf_counter(), server.cpu_s(), time.process_time()
        answered = sorted(moment for each in callers for moment in each.result())
    passed, server_s, own_s = (b - a for a, b in zip(before, after, strict=True))
    return Load(
        rate(answered, begin, end),
        prober.result(),
        100 * server_s / passed,
        100 * own_s / passed,
    )


def rate(answered: Sequence[float], begin: float, end: float) -> float:
    """Answers per second between the last one before `begin` and the last one before `end`.

    Answers come a whole batch at a time; a window that began and ended anywhere could be wrong by
    a batch, which on a slow machine is much.
    """
    first = max((moment for moment in answered if moment <= begin), default=begin)
    within = [moment for moment in answered if begin < moment <= end]
    return len(within) / (max(within) - first) if within else 0.0


def _probe(server: Server, begin: float, end: float) -> list[Probe]:
    probes = []
    with Caller(server) as connection:
        connection.get("/livez")  # opens the connection
        due = begin
        while due < end:
            time.sleep(max(0.0, due - time.perf_counter()))
            sent = time.perf_counter()
            connection.get("/livez")
            done = time.perf_counter()
            probes.append(Probe(done - due, done - sent))
            due += PROBE_EVERY_S
    return probes
