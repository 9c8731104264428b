"""The place of a request in a distributed trace (W3C Trace Context)."""

import re
import secrets
from typing import NamedTuple

TRACEPARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
KNOWN_TRACE_FLAGS = 0x03  # sampled, random trace id


class Trace(NamedTuple):
    """One request's place in a distributed trace (W3C Trace Context): the ids are hexadecimal."""

    trace_id: str
    span_id: str
    flags: int

    @classmethod
    def of_headers(cls, headers: list[tuple[bytes, bytes]]) -> "Trace":
        """This service's span in the caller's trace; in a new one if there is no valid header."""
        sent = [value for name, value in headers if name == b"traceparent"]
        match = TRACEPARENT.fullmatch(sent[0]) if len(sent) == 1 else None
        span_id = secrets.token_hex(8)
        if match:
            version, trace_id, parent_id, flags, more = match.groups()
            known = version != b"ff" and not (version == b"00" and more)
            if known and trace_id.strip(b"0") and parent_id.strip(b"0"):
                return cls(trace_id.decode(), span_id, int(flags, 16) & KNOWN_TRACE_FLAGS)
        return cls(secrets.token_hex(16), span_id, 0)

    @property
    def traceparent(self) -> str:
        """The header that passes the trace on."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags:02x}"
