"""A client of the service: `Client`, and `AsyncClient` for an event loop. Needs httpx.

Both do the same: an `Exchange` says what to send and what an answer means, they only carry it.
"""

import asyncio
import json
import re
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import TIMEOUT_MAX
from typing import Any, Self

import httpx
import numpy as np

from lwbafa.answers import Answer, Face, Model, read_answer, read_models
from lwbafa.errors import LwbafaError
from lwbafa.exchange import Exchange
from lwbafa.imaging.draw import png
from lwbafa.imaging.photograph import Photograph, Source
from lwbafa.types import FaceBox

Boxes = Sequence[FaceBox | Sequence[float]]

Outcome = list[Face] | Exception
"""What `align_many` yields for a source: its faces, or why there are none."""

PNG = "image/png"

BROKE_WHILE_IDLE = (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError)
"""How a connection shows that it was closed while nobody used it."""


class _Base:
    """What both clients are told."""

    def __init__(self, url: str, api_key: str | None = None, timeout_s: float = 30.0) -> None:
        try:
            address = httpx.URL(url)
        except httpx.InvalidURL as error:
            raise ValueError(f"{url!r} is no address: {error}") from error
        if address.scheme not in ("http", "https") or not address.host:
            raise ValueError(f"the service's address begins with http:// or https://, not {url!r}")
        if address.port is not None and not 0 < address.port < 65536:
            raise ValueError(f"{url!r} is no address: ports are 1 to 65535")
        if api_key and not re.fullmatch("[!-~]+", api_key):  # not quoted: errors are logged
            raise ValueError("the api_key holds a space, an end of line or what is no ASCII")
        if not 0 < timeout_s <= TIMEOUT_MAX:
            raise ValueError(f"timeout_s is a number of seconds above 0, not {timeout_s}")
        self._timeout_s = timeout_s
        # The library reads no environment, so no proxy and no password from there either.
        self._options: dict[str, Any] = {
            "base_url": address,
            "headers": {"Authorization": f"Bearer {api_key}"} if api_key else {},
            "limits": httpx.Limits(max_connections=None, max_keepalive_connections=100),
            "trust_env": False,
        }

    def _alignment(
        self,
        image: bytes,
        boxes: Boxes | None,
        model: str | None,
        max_faces: int | None,
        detection_px: int | None,
        map_values: bool = False,
        accept: str = "application/json",
    ) -> Exchange:
        query = {
            "boxes": None if boxes is None else json.dumps([_plain(box) for box in boxes]),
            "model": model,
            "max_faces": max_faces,
            "detection_px": detection_px,
            "map_values": map_values or None,
        }
        return Exchange(self._timeout_s, image, query, accept)


class Client(_Base):
    """Aligns photographs by a running service. Safe to call from several threads.

    Connections are kept and used again. `timeout_s` is for one call, with all its attempts: what
    the service refuses for now (429, 503) is asked again when its `Retry-After` says so. Raises
    ValueError for an address, a key or a time that is none.
    """

    def __init__(self, url: str, api_key: str | None = None, timeout_s: float = 30.0) -> None:
        super().__init__(url, api_key, timeout_s)
        self._http = httpx.Client(**self._options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def align(
        self,
        image: Source,
        boxes: Boxes | None = None,
        model: str | None = None,
        max_faces: int | None = None,
        detection_px: int | None = None,
        map_values: bool = False,
    ) -> list[Face]:
        """The faces of a path, an encoded image or upright RGB pixels H×W×3 (uint8).

        Boxes are as in `FaceAligner.align`. Faces have `map_values` only if asked. Raises
        ServiceError, which has the problem document's `status`, `code`, `detail` and `request_id`;
        NoAnswer; OSError for a path; ValueError for an array that is no picture.
        """
        return self.answer(image, boxes, model, max_faces, detection_px, map_values).faces

    def answer(
        self,
        image: Source,
        boxes: Boxes | None = None,
        model: str | None = None,
        max_faces: int | None = None,
        detection_px: int | None = None,
        map_values: bool = False,
    ) -> Answer:
        """As `align`, with what else the service says of the photograph."""
        data = _encoded(image)
        asked = self._alignment(data, boxes, model, max_faces, detection_px, map_values)
        return read_answer(self._ask(asked))

    def draw(
        self,
        image: Source,
        boxes: Boxes | None = None,
        model: str | None = None,
        max_faces: int | None = None,
        detection_px: int | None = None,
    ) -> bytes:
        """The upright photograph with its faces drawn over it, as PNG. Raises as `align`."""
        data = _encoded(image)
        asked = self._alignment(data, boxes, model, max_faces, detection_px, accept=PNG)
        return self._ask(asked)

    def models(self) -> list[Model]:
        """The models that answer; the first is asked where none is named. Raises as `align`."""
        return read_models(self._ask(Exchange(self._timeout_s, None, {})))

    def align_many(self, sources: Iterable[Source], concurrency: int = 8) -> Iterator[Outcome]:
        """Each source's faces, or the exception that `align` raised, in the sources' order.

        At most `concurrency` sources are taken ahead and asked for at a time.
        """
        ahead: deque[Future[list[Face]]] = deque()
        with ThreadPoolExecutor(concurrency) as threads:
            try:
                for source in sources:
                    ahead.append(threads.submit(self.align, source))
                    if len(ahead) == concurrency:
                        yield _outcome(ahead.popleft())
                while ahead:
                    yield _outcome(ahead.popleft())
            finally:
                threads.shutdown(cancel_futures=True)

    def _ask(self, exchange: Exchange) -> bytes:
        while True:
            arguments = exchange.arguments()
            if exchange.image is not None:
                arguments["content"] = exchange.pieces()
            try:
                with self._http.stream(exchange.method, exchange.path, **arguments) as response:
                    for chunk in response.iter_raw():
                        exchange.take(chunk)
            except httpx.HTTPError as error:
                idle = isinstance(error, BROKE_WHILE_IDLE)
                exchange.broke(str(error) or type(error).__name__, may_be_idle=idle)
                continue
            wait_s = exchange.wait_s(response.status_code, response.headers)
            if wait_s is None:
                return bytes(exchange.body)
            time.sleep(wait_s)


class AsyncClient(_Base):
    """`Client` for an event loop; one client belongs to one loop."""

    def __init__(self, url: str, api_key: str | None = None, timeout_s: float = 30.0) -> None:
        super().__init__(url, api_key, timeout_s)
        self._http = httpx.AsyncClient(**self._options)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def align(
        self,
        image: Source,
        boxes: Boxes | None = None,
        model: str | None = None,
        max_faces: int | None = None,
        detection_px: int | None = None,
        map_values: bool = False,
    ) -> list[Face]:
        """As `Client.align`."""
        return (await self.answer(image, boxes, model, max_faces, detection_px, map_values)).faces

    async def answer(
        self,
        image: Source,
        boxes: Boxes | None = None,
        model: str | None = None,
        max_faces: int | None = None,
        detection_px: int | None = None,
        map_values: bool = False,
    ) -> Answer:
        """As `Client.answer`."""
        data = await asyncio.to_thread(_encoded, image)
        asked = self._alignment(data, boxes, model, max_faces, detection_px, map_values)
        return read_answer(await self._ask(asked))

    async def draw(
        self,
        image: Source,
        boxes: Boxes | None = None,
        model: str | None = None,
        max_faces: int | None = None,
        detection_px: int | None = None,
    ) -> bytes:
        """As `Client.draw`."""
        data = await asyncio.to_thread(_encoded, image)
        asked = self._alignment(data, boxes, model, max_faces, detection_px, accept=PNG)
        return await self._ask(asked)

    async def models(self) -> list[Model]:
        """As `Client.models`."""
        return read_models(await self._ask(Exchange(self._timeout_s, None, {})))

    async def align_many(
        self, sources: Iterable[Source], concurrency: int = 8
    ) -> AsyncIterator[Outcome]:
        """As `Client.align_many`. Tasks of an iteration that is left early are cancelled."""
        ahead: deque[asyncio.Task[Outcome]] = deque()
        try:
            for source in sources:
                ahead.append(asyncio.create_task(self._outcome(source)))
                if len(ahead) >= concurrency:
                    yield await ahead.popleft()
            while ahead:
                yield await ahead.popleft()
        finally:
            for task in ahead:
                task.cancel()
            await asyncio.gather(*ahead, return_exceptions=True)

    async def _outcome(self, source: Source) -> Outcome:
        try:
            return await self.align(source)
        except (LwbafaError, OSError, ValueError) as error:
            return error

    async def _ask(self, exchange: Exchange) -> bytes:
        try:
            async with asyncio.timeout(exchange.left_s()):
                return await self._ask_until_answered(exchange)
        except TimeoutError as error:
            raise exchange.late() from error

    async def _ask_until_answered(self, exchange: Exchange) -> bytes:
        while True:
            arguments = exchange.arguments() | {"content": exchange.image}
            try:
                stream = self._http.stream(exchange.method, exchange.path, **arguments)
                async with stream as response:
                    async for chunk in response.aiter_raw():
                        exchange.take(chunk)
            except httpx.HTTPError as error:
                idle = isinstance(error, BROKE_WHILE_IDLE)
                exchange.broke(str(error) or type(error).__name__, may_be_idle=idle)
                continue
            wait_s = exchange.wait_s(response.status_code, response.headers)
            if wait_s is None:
                return bytes(exchange.body)
            await asyncio.sleep(wait_s)


def _encoded(image: Source) -> bytes:
    """The bytes that are sent: an array as a PNG, which loses nothing."""
    if isinstance(image, np.ndarray):
        return png(Photograph.of_pixels(image).picture().pixels)
    return image if isinstance(image, bytes) else Path(image).read_bytes()


def _plain(box: FaceBox | Sequence[float]) -> list[float]:
    return [float(value) for value in box]


def _outcome(future: Future[list[Face]]) -> Outcome:
    try:
        return future.result()
    except (LwbafaError, OSError, ValueError) as error:
        return error
