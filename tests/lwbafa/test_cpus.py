from pathlib import Path

import pytest

from lwbafa.cpus import granted_cpus, has_vnni


def test_at_least_one_cpu_is_granted() -> None:
    assert granted_cpus() >= 1


@pytest.mark.parametrize(
    ("files", "granted"),
    [
        ({"cpu.max": "150000 100000"}, 2),
        ({"cpu.max": "max 100000"}, 8),
        ({"cpu.max": "20000 100000"}, 1),
        ({"cpu.max": "6400000 100000"}, 8),
        ({"cpu/cpu.cfs_quota_us": "250000", "cpu/cpu.cfs_period_us": "100000"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 8),
        ({}, 8),
    ],
)
def test_the_quota_of_either_cgroup_version_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], granted: int
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)))
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"{text}\n")
    assert granted_cpus(tmp_path) == granted


@pytest.mark.parametrize(
    ("flags", "exact"),
    [
        ("sse4_2 avx2 avx512f avx512_vnni", True),
        ("sse4_2 avx2 avx_vnni", True),
        ("sse4_2 avx2 avx512f avx512bw", False),
        ("sse4_2 avx2 avx_vnni_int8", False),
    ],
)
def test_int8_is_exact_where_the_cpu_says_so(tmp_path: Path, flags: str, exact: bool) -> None:
    cpu_info = tmp_path / "cpuinfo"
    cpu_info.write_text(f"processor\t: 0\nmodel name\t: A CPU\nflags\t\t: fpu {flags} fma\n\n" * 2)
    assert has_vnni(cpu_info) is exact


def test_where_the_system_does_not_tell_int8_is_not_trusted(tmp_path: Path) -> None:
    assert not has_vnni(tmp_path / "cpuinfo")
