"""`python -m app`: read the settings, load, serve."""

import logging
import signal
import sys

import uvicorn

from app.errors import StartupError
from app.main import create_app
from app.service import Service
from app.settings import read_settings
from app.telemetry import configure_logging


def main() -> None:
    """Serve until told to stop; a wrong setting or checkpoint ends it with one line, status 1."""
    try:
        settings = read_settings()
        configure_logging(settings.log_level)
        service = Service(settings)
    except StartupError as error:
        sys.exit(f"lwbafa: {error}")
    # uvicorn raises the signal again once all is answered: a stop that was asked for is a success.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    logging.getLogger(__name__).info("serving on http://%s:%d", settings.host, settings.port)
    uvicorn.run(
        create_app(service),
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=settings.request_deadline_ms // 1000 + 1,
    )


if __name__ == "__main__":
    main()
