import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import keys
from app.errors import StartupError
from app.keys import KeyRing, new_key
from app.settings import Settings

LWBAFA = str(Path(sys.executable).parent / "lwbafa")
"""The installed command."""

KEY, ENTRY = new_key("web")
OTHER_KEY, OTHER_ENTRY = new_key("batch.job-2")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.write_text(f"# the web site\n{ENTRY}  # since May\n\n")
    return path


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is looked at with every key."""
    monkeypatch.setattr(keys, "RELOAD_SECONDS", 0.0)


def test_a_key_is_known_by_its_hash_from_the_text_and_from_the_file(file: Path) -> None:
    ring = KeyRing(OTHER_ENTRY, file)
    assert ring.name_of(KEY) == "web"
    assert ring.name_of(OTHER_KEY) == "batch.job-2"
    assert KeyRing(f"{ENTRY}, {OTHER_ENTRY}", None).name_of(OTHER_KEY) == "batch.job-2"


@pytest.mark.parametrize(
    "wrong",
    ["", "web", ENTRY, ENTRY[4:], KEY + "x", KEY[:-1], KEY.upper()],
    ids=["nothing", "name", "entry", "hash", "longer", "shorter", "upper case"],
)
def test_nothing_else_is_known(file: Path, wrong: str) -> None:
    assert KeyRing("", file).name_of(wrong) is None


@given(st.text())
def test_no_text_is_a_key_by_chance(text: str) -> None:
    assert KeyRing(ENTRY, None).name_of(text) is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "there is none"),
        (" ,\n# web\n", "there is none"),
        (KEY, "entry 1 is not name:sha256"),
        (f"{ENTRY} {KEY}", "entry 2 is not name:sha256"),
        (f"{ENTRY}0", "entry 1 is not name:sha256"),
        (ENTRY.replace("web", "wéb"), "entry 1 is not name:sha256"),
        (ENTRY.replace("web", "w" * 65), "entry 1 is not name:sha256"),
        (f"{ENTRY} {OTHER_ENTRY.replace('batch.job-2', 'web')}", "entry 2 has the name"),
        (f"{ENTRY} {ENTRY.replace('web', 'site')}", "entry 2 has the name"),
    ],
    ids=["nothing", "comment", "key", "two", "longer", "accent", "name", "same name", "same key"],
)
def test_wrong_entries_end_the_start_and_are_not_shown(text: str, says: str) -> None:
    with pytest.raises(StartupError, match=says) as caught:
        KeyRing(text, None)
    assert KEY not in str(caught.value)
    assert ENTRY[4:] not in str(caught.value)


def test_a_file_that_is_missing_or_not_text_ends_the_start(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="cannot be read: No such file"):
        KeyRing(ENTRY, tmp_path / "missing")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(StartupError, match="not text"):
        KeyRing(ENTRY, tmp_path / "bytes")


def test_without_settings_there_is_no_ring(file: Path) -> None:
    assert KeyRing.of_settings(Settings()) is None
    assert KeyRing.of_settings(Settings(api_keys=ENTRY)) is not None
    assert KeyRing.of_settings(Settings(api_keys_file=file)) is not None


@pytest.mark.usefixtures("impatient")
def test_a_rewritten_file_counts_at_once_even_with_its_old_size_and_time(file: Path) -> None:
    ring = KeyRing("", file)
    assert ring.name_of(KEY) == "web"
    stat = file.stat()
    file.write_text(file.read_text().replace(ENTRY, OTHER_ENTRY.replace("batch.job-2", "web")))
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert ring.name_of(KEY) is None
    assert ring.name_of(OTHER_KEY) == "web"


@pytest.mark.usefixtures("impatient")
def test_a_secret_that_is_a_swapped_symbolic_link_counts(tmp_path: Path) -> None:
    """As Kubernetes does it: keys → ..data/keys, ..data → a folder, replaced by another."""
    for folder, entry in (("1", ENTRY), ("2", OTHER_ENTRY)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "keys").write_text(entry)
    (tmp_path / "..data").symlink_to("1")
    (tmp_path / "keys").symlink_to("..data/keys")
    ring = KeyRing("", tmp_path / "keys")
    assert ring.name_of(KEY) == "web"
    (tmp_path / "..new").symlink_to("2")
    (tmp_path / "..new").rename(tmp_path / "..data")
    assert ring.name_of(KEY) is None
    assert ring.name_of(OTHER_KEY) == "batch.job-2"


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("damage", ["cut", "empty", "gone", "key"])
def test_a_broken_file_keeps_the_old_keys_and_is_logged_once(
    file: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    ring = KeyRing("", file)
    if damage == "gone":
        file.unlink()
    else:
        file.write_text({"cut": f"{OTHER_ENTRY}\n{ENTRY[:-5]}", "empty": "", "key": KEY}[damage])
    for _ in range(5):
        assert ring.name_of(KEY) == "web"
        assert ring.name_of(OTHER_KEY) is None
    assert len(caplog.records) == 1
    assert KEY not in caplog.text
    assert ring.file_is_broken()
    file.write_text(OTHER_ENTRY)
    assert not ring.file_is_broken()
    assert ring.name_of(KEY) is None
    assert ring.name_of(OTHER_KEY) == "batch.job-2"


def test_the_file_is_not_read_more_than_once_a_second(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    ring = KeyRing("", file)
    file.write_text(OTHER_ENTRY)
    now += 0.9
    assert ring.name_of(KEY) == "web"
    now += 0.2
    assert ring.name_of(KEY) is None


def test_the_command_prints_a_fresh_key_and_the_entry_that_lets_it_in() -> None:
    command = [LWBAFA, "keys", "new", "web"]
    first, second = (
        subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        for _ in range(2)
    )
    key = first.stderr.strip()
    assert len(key) > 40
    assert key != second.stderr.strip()
    assert first.stdout == f"web:{hashlib.sha256(key.encode()).hexdigest()}\n"
    assert KeyRing(first.stdout, None).name_of(key) == "web"


def test_the_command_refuses_a_name_that_would_not_fit_an_entry() -> None:
    command = [LWBAFA, "keys", "new", "the web"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 2
    assert "letters" in ended.stderr
    assert ended.stdout == ""
