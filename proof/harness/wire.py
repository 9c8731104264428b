"""A lean HTTP/1.1 caller that sends bytes as they are, since some are meant to be wrong."""

import asyncio
import json
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, NamedTuple
from urllib.parse import quote

Address = tuple[str, int]


class Answer(NamedTuple):
    """A whole answer; header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)


class Caller:
    """One keep-alive connection, opened when needed. Not for two tasks at once."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, request: bytes, *, half_close: bool = False) -> Answer | None:
        """The answer to a request; None if the connection ended without one.

        With `half_close` nothing more can follow: the server learns that the request ended early.
        A kept connection may have been closed by the server meanwhile: then a new one is tried.
        """
        reused = self._writer is not None
        answer = await self._ask_once(request, half_close)
        if answer is None and reused:
            answer = await self._ask_once(request, half_close)
        return answer

    async def _ask_once(self, request: bytes, half_close: bool) -> Answer | None:
        reader, writer = await self._connection()
        answer = None
        try:
            # Whoever is refused early still has an answer to read.
            with suppress(ConnectionError):
                writer.write(request)
                await writer.drain()
                if half_close:
                    writer.write_eof()
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                answer = await _read_answer(reader)
        finally:
            kept = answer is not None and answer.headers.get("connection") != "close"
            if not kept or half_close:
                self.close()
        return answer

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._reader is None or self._writer is None or self._writer.is_closing():
            self._reader, self._writer = await asyncio.open_connection(*self._address)
        return self._reader, self._writer

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None


async def get(address: Address, path: str) -> Answer:
    """One GET on a connection of its own. Raises ConnectionError if there is no answer."""
    caller = Caller(address)
    try:
        request = f"GET {path} HTTP/1.1\r\nHost: chaos\r\nConnection: close\r\n\r\n"
        answer = await caller.ask(request.encode())
    finally:
        caller.close()
    if answer is None:
        raise ConnectionError(f"no answer to GET {path}")
    return answer


def post(
    body: bytes,
    content_type: str = "image/jpeg",
    boxes: object = None,
    headers: Iterable[str] = (),
    query: str = "",
) -> bytes:
    """A well-formed upload, ready to send; `boxes` or a whole `query` go into the URL."""
    if boxes is not None:
        query = f"boxes={quote(json.dumps(boxes))}"
    lines = (
        f"POST /v1/align{'?' if query else ''}{query} HTTP/1.1",
        "Host: chaos",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
        *headers,
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def _read_answer(reader: asyncio.StreamReader) -> Answer:
    """Raises ConnectionError or IncompleteReadError if it does not arrive whole."""
    while True:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status_line, *lines = head.rstrip("\r\n").split("\r\n")
        status = int(status_line.split(" ")[1])
        if status >= 200:
            break
    headers = {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    if "content-length" in headers:
        body = await reader.readexactly(int(headers["content-length"]))
    elif "chunked" in headers.get("transfer-encoding", ""):
        body = await _read_chunks(reader)
    else:
        body = await reader.read()
        headers["connection"] = "close"
    return Answer(status, headers, body)


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readuntil(b"\r\n")
    return body
