"""The refusal of what could not be answered in time, before the application looks at it."""

from collections.abc import Iterable
from contextlib import suppress
from urllib.parse import parse_qs

from fastapi.routing import APIRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from app.errors import InvalidParameter
from app.models import LoadedModel
from app.service import Service


class Admission:
    """ASGI middleware: refuses what is posted to some routes and could not be answered in time.

    Under overload most requests are refused: what a refusal costs is lost to the others. So it
    comes before routing, parameters and body. Raises NotReady or QueueFull.
    """

    def __init__(self, app: ASGIApp, routes: Iterable[APIRoute], service: Service) -> None:
        self._app = app
        self._asked = {("POST", route.path) for route in routes}
        self._service = service
        self._deadline_s = service.settings.request_deadline_ms / 1000

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Neither is there when the process starts.
        asked = (scope.get("method"), scope.get("path"))
        if asked in self._asked:
            self._service.refuse_if_late(self._model(scope), self._deadline_s)
        await self._app(scope, receive, send)

    def _model(self, scope: Scope) -> LoadedModel:
        """The model that the query names; the default if it names none, or one there is not."""
        query: bytes = scope["query_string"]
        if b"model=" in query:
            for name in parse_qs(query.decode("latin-1")).get("model", ()):
                with suppress(InvalidParameter):
                    return self._service.models.get(name)
        return self._service.models.default
