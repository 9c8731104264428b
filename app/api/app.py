"""The application: wiring only."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI
from fastapi.routing import APIRoute
from fastapi_offline import FastAPIOffline
from starlette.middleware.cors import CORSMiddleware

from app.api.middleware.admission import Admission
from app.api.middleware.api_keys import ApiKeyGuard
from app.api.middleware.close_without_reset import CloseWithoutReset
from app.api.middleware.head import HeadAsGet
from app.api.middleware.problems import ProblemAnswers
from app.api.middleware.security_headers import SecurityHeaders
from app.api.middleware.telemetry import RequestTelemetry
from app.api.openapi import RESPONSE_HEADERS, install_openapi
from app.api.problems import install_error_handlers
from app.api.routes import align, batch, models, page, probes
from app.api.upload import UploadMemory
from app.keys import KeyRing
from app.service import Service

ROUTERS = (align.router, batch.router, models.router, probes.router, page.router)

CALLERS_HEADERS = ("Authorization", "Content-Type", "X-API-Key", "X-Deadline-Ms", "traceparent")
"""What a page of another origin may send; browsers ask for the rest in vain."""


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
        license_info={"name": "Apache 2.0", "identifier": "Apache-2.0"},
        servers=[{"url": "/", "description": "Where this document came from"}],
        generate_unique_id_function=_operation_id,
        lifespan=lifespan,
    )
    app.state.service = service
    app.state.upload_memory = memory = UploadMemory(
        settings.max_held_upload_bytes, service.expected_wait_s
    )
    metrics.upload_bytes.set_function(lambda: memory.held_bytes)
    if keys is not None:
        metrics.key_file_broken.set_function(keys.file_is_broken)
    for router in ROUTERS:
        app.include_router(router)
    install_openapi(app, keys_needed=keys is not None)
    install_error_handlers(app)
    # From the innermost outwards: a request passes them from the last to the first.
    app.add_middleware(HeadAsGet)
    app.add_middleware(Admission, routes=(align.ROUTE, batch.ROUTE), service=service)
    if keys is not None:
        rate = settings.api_key_requests_per_minute
        app.add_middleware(ApiKeyGuard, keys=keys, requests_per_minute=rate, metrics=metrics)
    app.add_middleware(ProblemAnswers, metrics=metrics)
    if settings.cors_origins:
        # Outside the keys, which a browser's preflight does not bring.
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=("GET", "HEAD", "POST"),
            allow_headers=CALLERS_HEADERS,
            expose_headers=tuple(RESPONSE_HEADERS),
        )
    app.add_middleware(SecurityHeaders)
    app.add_middleware(
        RequestTelemetry,
        # A router that is included shows no paths of its own.
        routes=(*app.routes, *(route for router in ROUTERS for route in router.routes)),
        metrics=metrics,
        log_probes=settings.log_probes,
    )
    app.add_middleware(CloseWithoutReset, is_leaving=lambda: service.readiness.leaving)
    return app


def _operation_id(route: APIRoute) -> str:
    """What generated clients call the route: its function's name."""
    return route.name
