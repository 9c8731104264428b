"""Log lines: JSON on standard error, nothing of an upload or its caller in them."""

import json
import logging
import sys
from collections.abc import Mapping
from typing import Any

access_log = logging.getLogger("app.access")


def log_fields(state: Mapping[str, Any]) -> dict[str, str]:
    """What ties a log line to its request."""
    return {"request_id": state["request_id"], "trace_id": state["trace_id"]}


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, message and the record's own `fields`."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": self.formatTime(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


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
