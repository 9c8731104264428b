"""API keys: who may call, by the hashes of what they present. `lwbafa keys new NAME` makes one.

The service holds `name:sha256` entries and never a key. A key is 256 random bits, which nobody can
search, so a plain SHA-256 protects it; a slow password hash would only help those who wish to keep
the service busy.
"""

import hashlib
import logging
import re
import secrets
import time
from pathlib import Path

from app.errors import StartupError
from app.settings import Settings

PREFIX = "lwbafa_"  # lets secret scanners know one when they see it
NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
ENTRY = re.compile(rf"({NAME.pattern}):([0-9a-f]{{64}})")
MAX_FILE_BYTES = 1 << 20
RELOAD_SECONDS = 1.0

logger = logging.getLogger(__name__)


class KeyRing:
    """The names of the keys that are let in, from a text and a file of `name:sha256` entries.

    The file is read again at most once a second, when a key is presented or the metrics are read:
    its bytes are compared, not its time stamp or inode, so a replaced, rewritten or re-linked file
    is noticed alike. A file
    that cannot be read or understood leaves the keys as they were and one line in the log.
    """

    def __init__(self, text: str, file: Path | None) -> None:
        """Raises StartupError if an entry is wrong or there is none."""
        self._text = text
        self._file = file
        try:
            content = _read(file) if file else b""
            self._names = _parse(text, content)
        except (OSError, ValueError) as error:
            raise StartupError(f"API keys: {_reason(error)}") from error
        # What the file held, or why it could not be read: what is the same again is old news.
        self._seen: bytes | str = content
        self._looked = time.monotonic()
        self._broken = False

    @classmethod
    def of_settings(cls, settings: Settings) -> "KeyRing | None":
        """The keys that the settings name; None if they name none, so that all may call."""
        if not settings.wants_api_keys:
            return None
        return cls(settings.api_keys, settings.api_keys_file)

    def name_of(self, key: str) -> str | None:
        """The name of a presented key, None if it is not known.

        What a search's time tells of a stored hash does not help to find a key that has it.
        """
        self._reload()
        return self._names.get(hashlib.sha256(key.encode()).digest())

    def file_is_broken(self) -> bool:
        """Whether the file, looked at now, cannot be read or understood: the older keys hold."""
        self._reload()
        return self._broken

    def _reload(self) -> None:
        now = time.monotonic()
        if self._file is None or now - self._looked < RELOAD_SECONDS:
            return
        self._looked = now
        try:
            content: bytes | str = _read(self._file)
        except OSError as error:
            content = _reason(error)
        if content == self._seen:
            return
        self._seen = content
        try:
            if isinstance(content, str):
                raise ValueError(content)
            self._names = _parse(self._text, content)
            self._broken = False
            logger.info("API keys reloaded: %d", len(self._names))
        except ValueError as error:
            self._broken = True
            logger.error("API keys not reloaded, the old ones stay: %s", _reason(error))


def _read(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(MAX_FILE_BYTES)


def _parse(text: str, content: bytes) -> dict[bytes, str]:
    """Names by digest. Raises ValueError, which never quotes an entry: it might be a key."""
    names: dict[bytes, str] = {}
    lines = [*text.splitlines(), *content.decode().splitlines()]
    entries = [entry for line in lines for entry in re.split(r"[\s,]+", line.split("#")[0])]
    for number, entry in enumerate(filter(None, entries), 1):
        match = ENTRY.fullmatch(entry)
        if not match:
            raise ValueError(f"entry {number} is not name:sha256")
        name, digest = match[1], bytes.fromhex(match[2])
        if name in names.values() or digest in names:
            raise ValueError(f"entry {number} has the name or the hash of another")
        names[digest] = name
    if not names:
        raise ValueError("there is none")
    return names


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"the file cannot be read: {error.strerror}"
    return "the file is not text" if isinstance(error, UnicodeDecodeError) else str(error)


def new_key(name: str) -> tuple[str, str]:
    """A fresh key, and the entry that lets it in. Raises ValueError if the name is not one."""
    if not NAME.fullmatch(name):
        raise ValueError("a name is 1 to 64 letters, digits, dots, dashes and underscores")
    key = PREFIX + secrets.token_urlsafe(32)
    return key, f"{name}:{hashlib.sha256(key.encode()).hexdigest()}"
