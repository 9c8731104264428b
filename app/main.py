"""The application: wiring only."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from app.api import align, probes
from app.api.problems import install_problem_answers
from app.service import Service
from app.telemetry import RequestTelemetry


def create_app(service: Service) -> FastAPI:
    """The ASGI application around a loaded service, which it starts and stops."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.start()
        yield
        await service.stop()

    # FastAPI's own page loads its scripts from a public server: offline it stays blank.
    app = FastAPIOffline(
        redoc_url=None,
        title="LW-BAFA face alignment",
        version=version("lwbafa"),
        summary="Facial landmarks, named and scored, for every face in a photograph.",
        lifespan=lifespan,
    )
    app.state.service = service
    app.include_router(align.router)
    app.include_router(probes.router)
    install_problem_answers(app, service.metrics)
    app.add_middleware(RequestTelemetry, metrics=service.metrics)
    return app
