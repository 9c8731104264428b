"""JPEGs that stop without their end marker, as some cameras and interrupted copies leave them."""

import re
from collections.abc import Iterator
from typing import NamedTuple, Self

END = b"\xff\xd9"

# Bits to stand in the place of missing ones. A few bits may happen to change no pixel, such as the
# code for "nothing more in this block": so there are several, and the opposite of each.
_SOME_BITS = [bytes.fromhex(bits) * 16 for bits in ("fe96c35ab42de178", "a54b3c87d2691ef0")]
_CONTINUATIONS = [bits for some in _SOME_BITS for bits in (some, bytes(b ^ 0xFF for b in some))]

# Each continuation is decoded: what takes long to decode would take several times as long.
MAX_SCANS = 20

_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")
_RESTARTS = [bytes((0xFF, marker)) for marker in range(0xD0, 0xD8)]
_SEQUENTIAL = (0xC0, 0xC1, 0xC3, 0xC9, 0xCB)
_PROGRESSIVE = (0xC2, 0xCA)
_SCAN, _END = 0xDA, 0xD9


class _Scan(NamedTuple):
    """What one scan brings (ITU T.81, B.2.3): components, coefficients, and down to which bit."""

    components: bytes
    first: int
    last: int
    lowest_bit: int


class EndlessJpeg(NamedTuple):
    """A JPEG without an end marker that has begun its last scan; `last_scan` is where."""

    data: bytes
    last_scan: int

    @classmethod
    def of(cls, data: bytes) -> Self | None:
        """None if there is an end marker, if scans are missing, or if there are very many."""
        place, components, progressive, scans = 2, b"", False, list[_Scan]()
        while (found := _MARKER.search(data, place)) is not None:
            marker, place = found[1][0], found.end()
            if marker == _END:
                return None
            length = int.from_bytes(data[place : place + 2], "big")
            segment = data[place + 2 : place + length]
            if length < 2 or len(segment) < length - 2:
                break
            place += length
            if marker in (*_SEQUENTIAL, *_PROGRESSIVE):
                progressive, components = marker in _PROGRESSIVE, segment[6::3]
            elif marker == _SCAN and len(segment) > 5:
                *_, first, last, bits = segment
                scans.append(_Scan(segment[1:-3:2], first, last, bits & 15))
        if len(scans) > MAX_SCANS:
            return None
        coefficients = range(64 if progressive else 1)
        brought = {place for scan in scans for place in _brought(scan, progressive)}
        needed = {(component, at) for component in components for at in coefficients}
        return cls(data, place) if needed and needed <= brought else None

    def ended(self) -> bytes:
        """The file with an end marker."""
        return self._begun() + END

    def continued(self) -> Iterator[bytes]:
        """The file continued in several ways, each with an end marker."""
        # A restart is where the decoder waits for the next restart marker before it reads on.
        seen = [self.data.rfind(restart, self.last_scan) for restart in _RESTARTS]
        restart = _RESTARTS[(seen.index(max(seen)) + 1) % 8 if max(seen) >= 0 else 0]
        for bits in _CONTINUATIONS:
            yield self._begun() + bits + restart + bits + END

    def _begun(self) -> bytes:
        return self.data.removesuffix(END[:1])  # half an end marker


def _brought(scan: _Scan, progressive: bool) -> Iterator[tuple[int, int]]:
    """Component and index of each coefficient that a scan completes."""
    if not progressive:
        yield from ((component, 0) for component in scan.components)
    elif scan.lowest_bit == 0:
        for component in scan.components:
            yield from ((component, at) for at in range(scan.first, min(scan.last, 63) + 1))
