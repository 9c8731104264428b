"""Closes connections, of a leaving process and where callers ask it, without losing an answer."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from starlette.types import ASGIApp, Message, Receive, Scope, Send

# How long an answered caller may go on sending what nobody reads: less than a process that ends
# waits for what it still sends.
LINGER_S = 4.0


class CloseWithoutReset:
    """ASGI middleware: `Connection: close` on every answer once the service is leaving.

    A proxy that keeps connections thus moves on to another instance. A connection that is closed
    while its caller still sends is reset, and the caller may lose the answer: so the rest of a body
    that was refused is awaited for a while, after the answer.
    """

    def __init__(self, app: ASGIApp, is_leaving: Callable[[], bool]) -> None:
        self._app = app
        self._is_leaving = is_leaving

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        closing = _is_to_be_closed(scope)
        received = lingering = False

        async def watched_receive() -> Message:
            nonlocal received
            message = await receive()
            received = not message.get("more_body", False)
            return message

        async def closing_send(message: Message) -> None:
            nonlocal closing, lingering
            if message["type"] == "http.response.start":
                if self._is_leaving():
                    closing = True
                    message["headers"] = [*message["headers"], (b"connection", b"close")]
            elif closing and not received and not message.get("more_body", False):
                lingering = True
                message["more_body"] = True
            await send(message)

        await self._app(scope, watched_receive, closing_send)
        if lingering:
            with suppress(TimeoutError):
                async with asyncio.timeout(LINGER_S):
                    while not received:
                        await watched_receive()
            await send({"type": "http.response.body"})


def _is_to_be_closed(scope: Scope) -> bool:
    """Whether the caller wants one answer on this connection and no more (RFC 9112, 9.3)."""
    lines = [value.lower() for name, value in scope["headers"] if name == b"connection"]
    options = [option.strip() for line in lines for option in line.split(b",")]
    return scope["http_version"] == "1.0" or b"close" in options
