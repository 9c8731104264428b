import os
from pathlib import Path

import pytest

from app.memory import memory_limit_bytes

MACHINE = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
LIMIT = 64 * 2**20


@pytest.mark.parametrize(
    ("file", "text", "limit"),
    [
        ("memory.max", str(LIMIT), LIMIT),
        ("memory.max", "max", MACHINE),
        ("memory/memory.limit_in_bytes", str(LIMIT), LIMIT),
        ("memory/memory.limit_in_bytes", "9223372036854771712", MACHINE),
        ("elsewhere", "", MACHINE),
    ],
)
def test_the_limit_of_either_cgroup_version_counts_else_the_machines_memory(
    tmp_path: Path, file: str, text: str, limit: int
) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(f"{text}\n")
    assert memory_limit_bytes(tmp_path) == limit
