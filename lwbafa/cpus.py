"""What this process may use of the machine's CPUs, and what they can do."""

import math
import os
from contextlib import suppress
from pathlib import Path


def granted_cpus(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """CPUs this process may use: its affinity, and its cgroup's quota rounded up."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _cpu_quota(cgroup)
    return cpus if quota is None else max(1, min(cpus, math.ceil(quota)))


def _cpu_quota(cgroup: Path) -> float | None:
    """CPUs that the cgroup, version 2 or 1, is granted; None if it has no quota."""
    for files in (["cpu.max"], ["cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"]):
        with suppress(OSError, ValueError):  # the other version, or "max": no quota
            quota, period = (int(n) for f in files for n in (cgroup / f).read_text().split())
            return quota / period if quota > 0 else None
    return None


def has_vnni(cpu_info: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the CPU adds products of int8 up exactly; older x86-64 CPUs saturate on the way.

    False where the system does not tell.
    """
    with suppress(OSError):
        flags = set(cpu_info.read_text().split())
        return bool(flags & {"avx512_vnni", "avx_vnni"})
    return False
