"""The life of the process: serving, leaving when told to, and ending where only a restart helps.

    SIGTERM → drains: not ready, still serves, for LWBAFA_DRAIN_DELAY_MS
            → stops: refuses with 503, answers the rest, within LWBAFA_REQUEST_DEADLINE_MS
            → exits with 0

SIGINT, a second SIGTERM, or one while not ready, skips the drain; one more ends the rest at once.
A network that hangs or has died ends the process with EXIT_FAILED, whether anybody probes or not.
"""

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import uvicorn

from app.service import Service

EXIT_FAILED = 70
"""Exit status after a failure that only a restart can mend (EX_SOFTWARE of sysexits.h)."""

LAST_WORDS_S = 5.0
"""How long the last answers, and the probes that tell why, are given after a failure."""

WATCH_EVERY_S = 0.25

WORKER_NICENESS = 4
"""Of all threads but the event loop's, so that a refusal or a probe need not wait for a core."""

SWITCH_INTERVAL_S = 0.0005
"""Python's default of 5 ms is how long the device's thread would wait to begin the next batch."""

logger = logging.getLogger(__name__)


def serve(config: uvicorn.Config, service: Service, listener: socket.socket) -> int:
    """Serve until told to stop; the exit status. A failure ends the process from within."""
    threading.Thread(target=_watch, args=(service,), name="watchdog", daemon=True).start()
    # What is loaded so far stays for the process's life. Without this, the garbage collector would
    # look through all of it again and again, and stop all answers for a tenth of a second.
    gc.collect()
    gc.freeze()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    _Server(config, service).run(sockets=[listener])
    return EXIT_FAILED if service.readiness.failure else 0


class _Server(uvicorn.Server):
    """uvicorn closes its listener the moment a signal comes; this one when all is answered."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service
        self._stopping = False

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Handle signals as callbacks of the event loop."""
        loop = asyncio.get_running_loop()
        handled = (signal.SIGTERM, signal.SIGINT)
        for number in handled:
            loop.add_signal_handler(number, self._on_signal, number)
        yield
        for number in handled:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)  # the exit status is decided by now

    async def on_tick(self, counter: int) -> bool:
        """Called by uvicorn ten times a second; True makes it shut down."""
        return await super().on_tick(counter) or self._service.finished

    def _on_signal(self, number: signal.Signals) -> None:
        logger.info("%s received", number.name)
        if self._stopping:
            self._service.abandon()
        elif number == signal.SIGINT or self._service.readiness.not_ready_reasons():
            self._stop()
        else:
            self._service.drain()
            delay_s = self._service.settings.drain_delay_ms / 1000
            asyncio.get_running_loop().call_later(delay_s, self._stop)

    def _stop(self) -> None:
        if not self._stopping:
            self._stopping = True
            self._service.stop_admitting()


def _lower_worker_priority() -> None:
    """Lower the priority of all threads but the event loop's, where threads have their own."""
    tasks = Path("/proc/self/task")
    usual = os.getpriority(os.PRIO_PROCESS, os.getpid())
    for task in tasks.iterdir() if tasks.is_dir() else ():
        if int(task.name) != os.getpid():
            with suppress(ProcessLookupError):  # has just ended
                os.setpriority(os.PRIO_PROCESS, int(task.name), usual + WORKER_NICENESS)


def _watch(service: Service) -> None:
    """Give the event loop the right of way once all threads are there; end a failed process."""
    gave_way = False
    while not service.readiness.failure:
        time.sleep(WATCH_EVERY_S)
        service.check_progress()
        if not gave_way and not service.readiness.not_ready_reasons():
            _lower_worker_priority()
            gave_way = True
    logger.critical("ending with status %d: %s", EXIT_FAILED, service.readiness.failure)
    time.sleep(LAST_WORDS_S)
    os._exit(EXIT_FAILED)
