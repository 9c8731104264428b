"""The application: wiring only."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from app.api.middleware.admission import Admission
from app.api.middleware.api_keys import ApiKeyGuard
from app.api.middleware.close_without_reset import CloseWithoutReset
from app.api.middleware.problems import ProblemAnswers
from app.api.middleware.security_headers import SecurityHeaders
from app.api.middleware.telemetry import RequestTelemetry
from app.api.openapi import install_openapi
from app.api.problems import install_error_handlers
from app.api.routes import align, models, probes
from app.api.upload import UploadMemory
from app.keys import KeyRing
from app.service import Service

ROUTERS = (align.router, models.router, probes.router)


def create_app(service: Service) -> FastAPI:
    """The ASGI application around a loaded service, which it starts and stops.

    Raises StartupError if the API keys that the settings name are not right.
    """
    settings, metrics = service.settings, service.metrics
    keys = KeyRing.of_settings(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.start()
        yield
        await service.stop()

    # FastAPI's own page loads its scripts from a public server: offline it stays blank.
    app = FastAPIOffline(
        redoc_url=None,
        # A redirect would lead callers of a TLS proxy to plain HTTP, photograph and key in hand.
        redirect_slashes=False,
        title="LW-BAFA face alignment",
        version=version("lwbafa"),
        summary="Facial landmarks in named groups, each scored, for every face in a photograph.",
        lifespan=lifespan,
    )
    app.state.service = service
    app.state.upload_memory = memory = UploadMemory(
        settings.max_held_upload_bytes, service.expected_wait_s
    )
    metrics.upload_bytes.set_function(lambda: memory.held_bytes)
    for router in ROUTERS:
        app.include_router(router)
    install_openapi(app, keys_needed=keys is not None)
    install_error_handlers(app)
    # From the innermost outwards: a request passes them from the last to the first.
    app.add_middleware(Admission, route=align.ROUTE, service=service)
    if keys is not None:
        rate = settings.api_key_requests_per_minute
        app.add_middleware(ApiKeyGuard, keys=keys, requests_per_minute=rate, metrics=metrics)
    app.add_middleware(ProblemAnswers, metrics=metrics)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(RequestTelemetry, metrics=metrics)
    app.add_middleware(CloseWithoutReset, is_leaving=lambda: service.readiness.leaving)
    return app
