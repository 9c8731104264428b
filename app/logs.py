"""Log lines: JSON on standard error, nothing of an upload or its caller in them."""

import json
import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

access_log = logging.getLogger("app.access")


def log_fields(state: Mapping[str, Any]) -> dict[str, str]:
    """What ties a log line to its request."""
    return {"request_id": state["request_id"], "trace_id": state["trace_id"]}


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, message and the record's own `fields`.

    The time is UTC as RFC 3339 writes it, to the millisecond.
    """

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": _rfc3339(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


def _rfc3339(seconds: float) -> str:
    """A time since the epoch, such as 2026-01-31T23:59:59.123Z."""
    utc = datetime.fromtimestamp(seconds, UTC)
    return utc.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def configure_logging(level: str) -> None:
    """Send every logger's lines to standard error as JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(True)
    # What libraries say of a file in detail is its metadata: not for any log, at any level.
    for library in ("PIL", "python_multipart", "py.warnings"):
        logging.getLogger(library).setLevel(logging.ERROR)
    # This service writes its own line per request; uvicorn's would hold the caller's address.
    logging.getLogger("uvicorn.access").disabled = True
