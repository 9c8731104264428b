"""The way in: who may call `/v1`, how often, and what every answer tells browsers."""

import math
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import ApiKeyMissing, ApiKeyWrong, RateLimited
from app.keys import KeyRing
from app.telemetry import Metrics

# The documentation page brings its own script and style, from here and nowhere else.
DOCS_POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)


def is_guarded(path: str) -> bool:
    """Whether a path needs a key where there are keys: all of the API, routed or not."""
    return path == "/v1" or path.startswith("/v1/")


class ApiKeyGuard:
    """ASGI middleware: lets only the bearers of known keys through to `/v1`, body unread.

    Raises ApiKeyMissing, ApiKeyWrong, and RateLimited with the time until the next request.
    """

    def __init__(
        self, app: ASGIApp, keys: KeyRing, requests_per_minute: int, metrics: Metrics
    ) -> None:
        self._app = app
        self._keys = keys
        self._requests_per_minute = requests_per_minute
        self._metrics = metrics
        self._buckets: dict[str, TokenBucket] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan" and is_guarded(scope["path"]):
            name = self._caller(Headers(scope=scope))
            scope["state"]["api_key"] = name
            self._metrics.key_requests.labels(name).inc()
            self._spend(name)
        await self._app(scope, receive, send)

    def _caller(self, headers: Headers) -> str:
        key = headers.get("x-api-key")
        if key is None:
            scheme, _, key = headers.get("authorization", "").partition(" ")
            if scheme.lower() != "bearer":
                raise ApiKeyMissing(
                    "Send a key as Authorization: Bearer KEY or as X-API-Key: KEY.",
                    headers={"WWW-Authenticate": "Bearer"},
                )
        name = self._keys.name_of(key.strip())
        if name is None:
            raise ApiKeyWrong(
                "The key is not known here.",
                headers={"WWW-Authenticate": 'Bearer error="invalid_token"'},
            )
        return name

    def _spend(self, name: str) -> None:
        if not self._requests_per_minute:
            return
        bucket = self._buckets.setdefault(name, TokenBucket(self._requests_per_minute))
        if wait := bucket.take():
            raise RateLimited(
                f"This key may make {self._requests_per_minute} requests a minute.",
                headers={"Retry-After": str(math.ceil(wait))},
            )


class TokenBucket:
    """Allows `per_minute` events at once, and that many a minute in the long run."""

    def __init__(self, per_minute: int) -> None:
        self._most = self._tokens = float(per_minute)
        self._per_second = per_minute / 60
        self._at = time.monotonic()

    def take(self) -> float:
        """0 if the event is allowed, else the seconds until one will be."""
        now = time.monotonic()
        self._tokens = min(self._most, self._tokens + (now - self._at) * self._per_second)
        self._at = now
        if self._tokens < 1:
            return (1 - self._tokens) / self._per_second
        self._tokens -= 1
        return 0.0


class SecurityHeaders:
    """ASGI middleware: no browser guesses types, no cache keeps a face, no page frames the docs."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["X-Content-Type-Options"] = "nosniff"
                if is_guarded(scope["path"]):
                    headers["Cache-Control"] = "no-store"
                elif scope["path"].startswith("/docs"):
                    headers["Content-Security-Policy"] = DOCS_POLICY
            await send(message)

        await self._app(scope, receive, send_guarded)
