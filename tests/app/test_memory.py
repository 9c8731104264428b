import os
import subprocess
import sys
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


KEPT_MIB = """
import numpy as np, psutil
from app.memory import return_large_blocks
{call}
np.ones(31 * 2**20, np.uint8)  # freed at once: glibc raises its threshold
process = psutil.Process()
before = process.memory_info().rss
blocks = [(np.ones(20 * 2**20, np.uint8), np.ones(50_000, np.uint8)) for _ in range(3)]
small = [block for _, block in blocks]
del blocks
print((process.memory_info().rss - before) / 2**20)
"""


@pytest.mark.parametrize(("call", "low", "high"), [("", 50, 70), ("return_large_blocks()", -1, 5)])
def test_large_blocks_go_back_to_the_system_though_small_ones_stay(
    call: str, low: float, high: float
) -> None:
    python = [sys.executable, "-c", KEPT_MIB.format(call=call)]
    kept = float(subprocess.run(python, check=True, capture_output=True, text=True).stdout)
    assert low < kept < high
