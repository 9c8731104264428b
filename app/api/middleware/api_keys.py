"""API keys: who may call `/v1`, and how often."""

import time

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from app.errors import ApiKeyMissing, ApiKeyWrong, RateLimited
from app.keys import KeyRing
from app.metrics import Metrics


def needs_key(path: str) -> bool:
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
        if scope["type"] != "lifespan" and needs_key(scope["path"]):
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
                retry_after_s=wait,
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
