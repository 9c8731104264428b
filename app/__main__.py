"""`python -m app`: read the settings, load, serve."""

import logging
import os
import signal
import socket
import sys
from functools import partial

import uvicorn

from app.api.connection import Connection, ConnectionLimits
from app.errors import StartupError
from app.main import create_app
from app.service import Service
from app.settings import Settings, read_settings
from app.telemetry import configure_logging


def main() -> None:
    """Serve until told to stop; a wrong setting or checkpoint ends it with one line, status 1."""
    try:
        settings = read_settings()
        configure_logging(settings.log_level)
        limits = ConnectionLimits.of_settings(settings)
        listener = _listen(settings)
        service = Service(settings)
        app = create_app(service)
    except StartupError as error:
        sys.exit(f"lwbafa: {error}")
    # uvicorn raises the signal again once all is answered: a stop that was asked for is a success,
    # and no thread that a hostile file still occupies may delay it.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    host, port = listener.getsockname()[:2]
    logging.getLogger(__name__).info("listening on http://%s:%d", host, port)
    config = uvicorn.Config(
        app,
        http=partial(Connection, limits=limits, metrics=service.metrics),  # type: ignore[arg-type]
        log_config=None,
        access_log=False,
        # Nothing here speaks WebSocket, and uvicorn would log the callers of those who try.
        ws="none",
        server_header=False,
        timeout_graceful_shutdown=settings.request_deadline_ms // 1000 + 1,
    )
    uvicorn.Server(config).run(sockets=[listener])


def _listen(settings: Settings) -> socket.socket:
    """The listening socket, so that a taken port is known before anything is loaded."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=2048)
    except OSError as error:
        place = f"{settings.host}:{settings.port}"
        raise StartupError(f"cannot listen on {place}: {error.strerror}") from error


if __name__ == "__main__":
    main()
