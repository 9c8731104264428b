"""How often a shard was begun, so that no photograph can end worker after worker for ever.

A process may die of a photograph without a chance to say so: killed for its memory, or in a
library's fault. A shard that was begun often and never finished is done carefully: one photograph
at a time, each written down before it is tried. What was written down when two processes died is
to blame, and becomes an error; what was so by chance once is tried again.
"""

import json
from contextlib import suppress

from lwbafa.bulk import store

MOST_QUICK_TRIES = 3
MOST_DEATHS = 2


class Tries:
    """The tries of one shard, in a file of the run."""

    def __init__(self, uri: str) -> None:
        """Note another try. Raises OSError."""
        self._uri = uri
        self._tries, self._at = 0, -1
        self._deaths: dict[str, int] = {}
        with suppress(FileNotFoundError):
            before = json.loads(store.read(uri))
            self._tries, self._deaths = before["tries"], before["deaths"]
            if before["at"] >= 0:
                at = str(before["at"])
                self._deaths[at] = self._deaths.get(at, 0) + 1
        self._tries += 1
        self._write()

    @property
    def careful(self) -> bool:
        """Whether to go on one photograph at a time."""
        return self._tries > MOST_QUICK_TRIES

    def to_blame(self, index: int) -> bool:
        """Whether processes died of the shard's photograph of that index."""
        return self._deaths.get(str(index), 0) >= MOST_DEATHS

    def trying(self, index: int) -> None:
        """Write down which photograph is tried next. Raises OSError."""
        self._at = index
        self._write()

    def forget(self) -> None:
        """The shard is done. Raises OSError."""
        store.remove(self._uri)

    def _write(self) -> None:
        content = {"tries": self._tries, "at": self._at, "deaths": self._deaths}
        store.write(self._uri, json.dumps(content).encode())
