"""Read the settings, load, serve."""

import logging
import os
import socket
import sys
from functools import partial
from importlib.metadata import version
from typing import Any

import uvicorn

from app.api.app import create_app
from app.errors import StartupError
from app.logs import configure_logging
from app.memory import return_large_blocks
from app.server.connection import Connection, connection_limits
from app.server.lifecycle import serve
from app.service import MakeEngine, Service
from app.settings import Settings, read_settings
from lwbafa.cpus import granted_cpus
from lwbafa.engine.choose import create_engine
from lwbafa.errors import LwbafaError

SENDING_S = 5
"""How long shutdown waits for slow readers to fetch their last answers."""


def main(make_engine: MakeEngine = create_engine) -> None:
    """Serve until told to stop; a wrong setting or checkpoint ends it with one line, status 1."""
    try:
        settings = read_settings()
        configure_logging(settings.log_level)
        return_large_blocks()
        listener = listen(settings)
        service = Service(settings, make_engine)
        config = server_config(service)
    except LwbafaError as error:
        sys.exit(f"lwbafa: {error}")
    host, port = listener.getsockname()[:2]
    logging.getLogger(__name__).info(
        "listening on http://%s:%d", host, port, extra={"fields": what_serves(service)}
    )
    # No thread that a hostile file still occupies may delay the end.
    os._exit(serve(config, service, listener))


def what_serves(service: Service) -> dict[str, Any]:
    """What a log should say of a process: its checkpoints, its threads and its limits."""
    settings = service.settings
    return {
        "version": version("lwbafa"),
        "models": [
            {
                "name": model.name,
                "version": model.checkpoint.manifest.version,
                "engine": model.aligner.engine.name,
                "device": model.aligner.engine.device,
            }
            for model in service.models
        ],
        "threads": {
            "network": settings.network_threads or granted_cpus(),
            "workers": settings.worker_threads or granted_cpus(),
        },
        "limits": {
            name: getattr(settings, name)
            for name in Settings.model_fields
            if name.startswith("max_") or name.endswith("_ms")
        },
    }


def server_config(service: Service) -> uvicorn.Config:
    """How uvicorn serves the application around a loaded service. Raises StartupError."""
    limits = connection_limits(service.settings)
    return uvicorn.Config(
        create_app(service),
        http=partial(Connection, limits=limits, metrics=service.metrics),  # type: ignore[arg-type]
        log_config=None,
        access_log=False,
        # Nothing here speaks WebSocket, and uvicorn would log the callers of those who try.
        ws="none",
        server_header=False,
        proxy_headers=False,  # nobody here asks for the caller's address
        timeout_keep_alive=service.settings.keep_alive_ms / 1000,  # type: ignore[arg-type]
        timeout_graceful_shutdown=SENDING_S,
    )


def listen(settings: Settings) -> socket.socket:
    """The listening socket, so that a taken port is known before anything is loaded."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    place = f"{settings.host}:{settings.port}"
    try:
        socket.getaddrinfo(settings.host, settings.port, family)  # says what names it does not take
        return socket.create_server((settings.host, settings.port), family=family, backlog=2048)
    except OSError as error:
        raise StartupError(f"cannot listen on {place}: {error.strerror}") from error
    except UnicodeError as error:  # of a name that no host can have
        raise StartupError(f"cannot listen on {place}: {error}") from error
