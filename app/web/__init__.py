"""The page that shows what the service does, and the files it is made of."""

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent
PAGE = "index.html"

MEDIA_TYPES = {
    PAGE: "text/html",
    "page.css": "text/css",
    "page.mjs": "text/javascript",
    "core.mjs": "text/javascript",
    "svg.mjs": "text/javascript",
    "view.mjs": "text/javascript",
    "camera.mjs": "text/javascript",
    "astronaut.jpg": "image/jpeg",
}
"""Every file that may be asked for, with its media type; no other name reaches the disk."""


@dataclass(frozen=True)
class WebFile:
    """A file as it is sent."""

    body: bytes
    media_type: str
    etag: str


@cache
def web_file(name: str) -> WebFile:
    """A file of the page, read once. Raises KeyError if the page has none of that name."""
    media_type = MEDIA_TYPES[name]
    body = (FOLDER / name).read_bytes()
    return WebFile(body, media_type, f'"{hashlib.sha256(body).hexdigest()[:32]}"')
