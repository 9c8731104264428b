from pathlib import Path

import pytest

from app.errors import StartupError
from app.settings import read_settings
from lwbafa.cpus import granted_cpus


def test_defaults_are_valid() -> None:
    settings = read_settings()
    assert settings.device == "auto"
    assert settings.checkpoint_dir.name == "lwbafa-300w68"


def test_environment_changes_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LWBAFA_MAX_BATCH_FACES", "3")
    assert read_settings().max_batch_faces == 3


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LWBAFA_PORT", "70000"),
        ("LWBAFA_DEVICE", "tpu"),
        ("LWBAFA_MAX_UPLAOD_BYTES", "5000"),
        ("LWBAFA_MAX_UPLOAD_BYTES", "lots"),
        ("LWBAFA_DETECTION_SCORE_THRESHOLD", "1.5"),
    ],
)
def test_a_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(StartupError, match=name):
        read_settings()


def test_a_request_must_fit_the_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LWBAFA_MAX_QUEUE_FACES", "10")
    with pytest.raises(StartupError, match="LWBAFA_MAX_REQUEST_FACES cannot exceed"):
        read_settings()


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
