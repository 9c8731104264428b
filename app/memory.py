"""How much memory this process may hold."""

import os
from contextlib import suppress
from pathlib import Path


def memory_limit_bytes(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """The limit of the process's cgroup, version 2 or 1, or the machine's memory if that is less.

    Without a limit, version 1 states one that is larger than any machine.
    """
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for file in ("memory.max", "memory/memory.limit_in_bytes"):
        with suppress(OSError, ValueError):  # the other version, or "max": no limit
            memory = min(memory, int((cgroup / file).read_text()))
    return memory
