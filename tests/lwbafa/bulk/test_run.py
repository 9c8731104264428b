"""A run from its sources to its part file, with an aligner that is quick."""

import json
import os
import threading
from collections import Counter
from pathlib import Path
from unittest.mock import MagicMock

import cv2
import numpy as np
import pytest

from lwbafa.bulk.part import PartFile
from lwbafa.bulk.rows import Answer
from lwbafa.bulk.run import align_all
from lwbafa.bulk.sources import Source, find_sources
from lwbafa.bulk.video import frame_count, frames
from lwbafa.errors import PartMismatch, StopRun, UnreadableVideo
from lwbafa.types import Pixels

SETTINGS = {"model": "any"}


def answer(image: bytes | Pixels) -> Answer:
    """A face whose score tells the picture; empty files cannot be read."""
    if not len(image):
        raise RuntimeError("there is nothing in it")
    level = image[0] if isinstance(image, bytes) else image[0, 0, 0]
    return Answer(4, 3, [{"score": int(level)}], lambda: b"PNG")


@pytest.fixture
def sources(tmp_path: Path) -> list[Source]:
    folder = tmp_path / "in"
    folder.mkdir()
    for i in range(20):
        (folder / f"{i:02}.jpg").write_bytes(bytes([i]) if i != 7 else b"")
    film = cv2.VideoWriter(str(folder / "film.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (32, 32))
    for i in range(5):
        film.write(np.full((32, 32, 3), 40 * i, np.uint8))
    film.release()
    (folder / "torn.mp4").write_text("no video")
    return find_sources([str(folder)])


def rows_of(sources: list[Source], path: Path) -> list[dict[str, object]]:
    with PartFile(path, SETTINGS) as part:
        return list(part.rows(source.name for source in sources))


def test_every_picture_and_frame_has_one_row_in_order(
    sources: list[Source], tmp_path: Path
) -> None:
    path = tmp_path / "part"
    with PartFile(path, SETTINGS) as part:
        align_all(sources, answer, part, workers=4)
        assert part.failed == 2
    rows = rows_of(sources, path)
    files = [Path(str(row["file"])).name for row in rows]
    assert files == [f"{i:02}.jpg" for i in range(20)] + ["film.avi"] * 5 + ["torn.mp4"]
    assert [row.get("frame") for row in rows[20:25]] == [1, 2, 3, 4, 5]
    assert rows[3] | {"file": ""} == {
        "file": "",
        "status": "ok",
        "width": 4,
        "height": 3,
        "faces": [{"score": 3}],
    }
    assert rows[7]["error"] == {"code": "internal_error", "text": "there is nothing in it"}
    assert rows[25]["error"] == {
        "code": "unreadable_video",
        "text": "The file cannot be opened as a video.",
    }


def test_a_file_that_is_gone_is_a_row(sources: list[Source], tmp_path: Path) -> None:
    sources[0].path.unlink()
    with PartFile(tmp_path / "part", SETTINGS) as part:
        align_all(sources[:1], answer, part, workers=1)
    (row,) = rows_of(sources[:1], tmp_path / "part")
    assert row["error"] == {"code": "unreadable_file", "text": "No such file or directory"}


@pytest.mark.parametrize("stops_at", [0, 1, 9, 21, 24])
def test_a_run_that_ended_anywhere_goes_on_without_loss_or_double(
    stops_at: int, sources: list[Source], tmp_path: Path
) -> None:
    path, seen, lock = tmp_path / "part", Counter[bytes](), threading.Lock()

    def counted(image: bytes | Pixels) -> Answer:
        with lock:
            if stops_at is not None and seen.total() == stops_at:
                raise StopRun("the service is gone")
            seen[bytes(image)] += 1
        return answer(image)

    with PartFile(path, SETTINGS) as part, pytest.raises(StopRun):
        align_all(sources, counted, part, workers=3)
    # As a process leaves it that is killed while it writes.
    written = path.read_bytes()
    path.write_bytes(written + b'{"file": "half a ro')
    done = len(written.splitlines()) - 1
    again: list[object] = []
    with PartFile(path, SETTINGS) as part:
        assert len(part) == done
        align_all(sources, answer, part, workers=3, on_row=again.append)
    assert len(again) == 26 - done
    assert len(rows_of(sources, path)) == 26
    assert len(path.read_bytes().splitlines()) == 27


def test_no_more_pictures_are_at_hand_than_can_be_worked_on(
    sources: list[Source], tmp_path: Path
) -> None:
    now, most, lock = 0, 0, threading.Lock()

    def slow(image: bytes | Pixels) -> Answer:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        threading.Event().wait(0.01)
        with lock:
            now -= 1
        return answer(image)

    with PartFile(tmp_path / "part", SETTINGS) as part:
        align_all(sources, slow, part, workers=3)
    assert most == 3


def test_drawn_pictures_mirror_the_tree(sources: list[Source], tmp_path: Path) -> None:
    with PartFile(tmp_path / "part", SETTINGS) as part:
        align_all(sources, answer, part, workers=2, draw=tmp_path / "drawn")
    drawn = sorted(path.name for path in (tmp_path / "drawn").iterdir())
    assert len(drawn) == 24
    assert drawn[-1] == "film.frame000005.png"


def test_a_part_file_of_another_run_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "part"
    with (
        PartFile(path, SETTINGS),
        pytest.raises(PartMismatch, match="another run writes"),
        PartFile(path, SETTINGS),
    ):
        pass
    with pytest.raises(PartMismatch, match="other settings"), PartFile(path, {"model": "b"}):
        pass
    path.write_text("\n")
    with pytest.raises(PartMismatch, match="no part file"), PartFile(path, SETTINGS):
        pass
    assert path.read_text() == "\n"


def test_rows_are_json_that_every_reader_takes(sources: list[Source], tmp_path: Path) -> None:
    def not_a_number(image: bytes | Pixels) -> Answer:
        return answer(image)._replace(faces=[{"score": float("nan")}])

    with PartFile(tmp_path / "part", SETTINGS) as part, pytest.raises(ValueError, match="JSON"):
        align_all(sources[:1], not_a_number, part, workers=1)
    for line in (tmp_path / "part").read_text().splitlines():
        json.loads(line)


def test_a_video_may_have_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    clip = cv2.VideoWriter("clip.mp4", cv2.VideoWriter.fourcc(*"mp4v"), 10, (32, 32))
    clip.write(np.zeros((32, 32, 3), np.uint8))
    clip.release()
    film = Path("clip.mp4").read_bytes()
    for name in "new\nline ä.mp4", "Talk: 1.mp4", "%03d.mp4":
        Path(name).write_bytes(film)
        assert len(list(frames(Path(name)))) == 1, name
    odd = Path(os.fsdecode(b"\xff.mp4"))  # of which OpenCV dies
    odd.write_bytes(film)
    with pytest.raises(UnreadableVideo, match=r"no UTF-8"):
        list(frames(odd))
    assert frame_count(odd) == 1


@pytest.mark.parametrize(
    "text", ["ffconcat version 1.0\nfile 'clip.avi'\n", "#EXTM3U\n#EXTINF:1,\nclip.avi\n"]
)
def test_a_list_of_videos_is_none_whatever_its_name(tmp_path: Path, text: str) -> None:
    """A folder from elsewhere is not to say which other files are read."""
    clip = cv2.VideoWriter(
        str(tmp_path / "clip.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (32, 32)
    )
    clip.write(np.zeros((32, 32, 3), np.uint8))
    clip.release()
    (tmp_path / "list.mp4").write_text(text)
    with pytest.raises(UnreadableVideo, match="list of other files"):
        list(frames(tmp_path / "list.mp4"))


def test_a_video_whose_first_frame_is_damaged_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would have no row at all."""
    damaged = MagicMock()
    damaged.retrieve.return_value = (False, None)
    monkeypatch.setattr(cv2, "VideoCapture", lambda _: damaged)
    (tmp_path / "clip.mp4").touch()
    with pytest.raises(UnreadableVideo):
        list(frames(tmp_path / "clip.mp4"))
