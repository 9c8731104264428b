"""One question to the service: what to send, how long to wait, when to give up.

It carries nothing itself: `Client` and `AsyncClient` do, each in its way.
"""

import re
import time
from collections.abc import Iterator, Mapping
from typing import Any

from lwbafa.answers import UNEXPECTED, read_problem
from lwbafa.errors import NoAnswer, ServiceError

MOST_ANSWER_BYTES = 1 << 26
"""Of one answer; a hundred faces are less than a megabyte, a drawn picture ten."""

SHORTEST_WAIT_S = 0.1
"""Before the same is asked again, whatever the answer says."""

PIECE_BYTES = 1 << 18
"""Of an image that is sent, between two looks at the time."""

OK, ASK_AGAIN = 200, (429, 503)


class Exchange:
    """One question, until it has its answer or its time is over."""

    def __init__(
        self,
        timeout_s: float,
        image: bytes | None,
        query: Mapping[str, Any],
        accept: str = "application/json",
    ) -> None:
        self.method, self.path = ("GET", "/v1/models") if image is None else ("POST", "/v1/align")
        self.image = image
        self.query = {name: value for name, value in query.items() if value is not None}
        self.body = bytearray()
        self._accept = accept
        self._timeout_s = timeout_s
        self._end = time.monotonic() + timeout_s
        self._broken = 0

    def left_s(self) -> float:
        """The seconds that are left. Raises NoAnswer if there are none."""
        left_s = self._end - time.monotonic()
        if left_s <= 0:
            raise self.late()
        return left_s

    def late(self) -> NoAnswer:
        """The time is over."""
        return NoAnswer(f"no answer within {self._timeout_s:g} seconds")

    def arguments(self) -> dict[str, Any]:
        """What httpx is to send now, but for the image. Raises NoAnswer if the time is over."""
        left_s = self.left_s()
        self.body.clear()
        # Compressed, a small answer could become an endless one.
        headers = {"Accept": self._accept, "Accept-Encoding": "identity"}
        if self.image is not None:
            headers["Content-Type"] = "application/octet-stream"
            headers["Content-Length"] = str(len(self.image))
            headers["X-Deadline-Ms"] = str(max(1, int(1000 * left_s)))
        return {"params": self.query, "headers": headers, "timeout": left_s}

    def pieces(self) -> Iterator[bytes]:
        """The image, piece by piece. Raises NoAnswer once the time is over.

        httpx has a time for each piece, not for all: a slow line would never be given up.
        """
        image = self.image or b""
        for start in range(0, len(image), PIECE_BYTES):
            self.left_s()
            yield image[start : start + PIECE_BYTES]

    def take(self, chunk: bytes) -> None:
        """A part of the answer. Raises NoAnswer if it comes too slowly, ServiceError too much."""
        if time.monotonic() > self._end:
            raise NoAnswer(f"no whole answer within {self._timeout_s:g} seconds")
        self.body += chunk
        if len(self.body) > MOST_ANSWER_BYTES:
            raise ServiceError(200, UNEXPECTED, "the answer does not end", "")

    def broke(self, said: str, *, may_be_idle: bool) -> None:
        """A connection that broke; the first may only have been idle for too long.

        Raises NoAnswer if it is not to be tried once more.
        """
        self._broken += 1
        if not may_be_idle or self._broken > 1:
            raise NoAnswer(f"no answer from the service: {said}")

    def wait_s(self, status: int, headers: Mapping[str, str]) -> float | None:
        """How long to wait before the same is asked again; None for a 200.

        Raises ServiceError if asking again is no use, or the time is over before.
        """
        if status == OK:
            return None
        after = headers.get("Retry-After", "")
        if status in ASK_AGAIN and re.fullmatch(r"[0-9]{1,6}", after):
            wait_s = max(SHORTEST_WAIT_S, float(after))
            if time.monotonic() + wait_s < self._end:
                return wait_s
        raise read_problem(status, bytes(self.body), headers.get("X-Request-ID", ""))
