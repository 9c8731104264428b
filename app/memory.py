"""How much memory this process may hold, and what it gives back."""

import ctypes
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


LARGE_BLOCK_BYTES = 4 * 2**20
"""Costs nothing: a block takes longer to be decoded into than to be mapped."""


def return_large_blocks() -> None:
    """Have every large block go back to the system once it is freed, where the C library is glibc.

    glibc raises its own threshold to 32 MiB as blocks are freed. What a decoder then takes for one
    large photograph stays with the process, once for each worker.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is None:
        return
    mmap_threshold, trim_threshold = -3, -1  # of malloc.h
    set_option(mmap_threshold, LARGE_BLOCK_BYTES)
    # Fixing the one fixes the other, far too low: the heap's end would come and go.
    set_option(trim_threshold, 2 * LARGE_BLOCK_BYTES)
