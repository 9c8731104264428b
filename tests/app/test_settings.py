from pathlib import Path

import pytest

from app.errors import StartupError
from app.settings import read_settings


def test_defaults_are_valid() -> None:
    settings = read_settings()
    assert settings.device == "auto"
    assert [folder.name for folder in settings.checkpoint_dirs] == ["lwbafa-lite-300w68"]


def test_environment_changes_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LWBAFA_MAX_BATCH_FACES", "3")
    assert read_settings().max_batch_faces == 3


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LWBAFA_HOST", ""),
        ("LWBAFA_PORT", "70000"),
        ("LWBAFA_DEVICE", "tpu"),
        ("LWBAFA_ENGINE", "onnx"),
        ("LWBAFA_DETECTOR", "haar"),
        ("LWBAFA_CHECKPOINT_DIRS", " , "),
        ("LWBAFA_MAX_UPLAOD_BYTES", "5000"),
        ("LWBAFA_MAX_UPLOAD_BYTES", "lots"),
        ("LWBAFA_DETECTION_SCORE_THRESHOLD", "1.5"),
        ("LWBAFA_CORS_ORIGINS", "https://photos.example/"),
        ("LWBAFA_CORS_ORIGINS", "photos.example"),
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


def test_checkpoints_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LWBAFA_CHECKPOINT_DIRS", "a/one, /b/two,")
    assert read_settings().checkpoint_dirs == (Path("a/one"), Path("/b/two"))


def test_a_setting_that_does_not_exist_is_told_the_nearest_that_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LWBAFA_CHECKPOINT_DIR", "a/one")
    with pytest.raises(StartupError, match=r"did you mean LWBAFA_CHECKPOINT_DIRS\?"):
        read_settings()
