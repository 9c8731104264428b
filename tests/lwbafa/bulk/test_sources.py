import os
from pathlib import Path

import pytest

from lwbafa.bulk.sources import find_sources, left_out_of, place_of
from lwbafa.errors import NoSources


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("a/one.jpg", "a/deep/two.PNG", "a/clip.mp4", "a/notes.txt", "a/.hidden/x.jpg"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    for name in ("b/one.jpg", "b/one.png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    return tmp_path


def names(*named: str) -> list[str]:
    return [source.name for source in find_sources(named)]


def test_folders_are_searched_files_are_taken_as_they_are(folder: Path) -> None:
    assert names("a") == ["a/clip.mp4", "a/deep/two.PNG", "a/one.jpg"]
    assert names("a/notes.txt") == ["a/notes.txt"]
    assert [source.is_video for source in find_sources(["a"])] == [True, False, False]


def test_globs_are_resolved_and_nothing_comes_twice(folder: Path) -> None:
    assert names("*/one.*") == ["a/one.jpg", "b/one.jpg", "b/one.png"]
    assert names("**/*.jpg", "a/one.jpg", str(folder / "a"), "a/../a/one.jpg")[:2] == [
        str(folder / "a/clip.mp4"),
        str(folder / "a/deep/two.PNG"),
    ]
    assert len(names("a", str(folder / "a"))) == 3


def test_what_is_not_there_is_said(folder: Path) -> None:
    with pytest.raises(NoSources, match="no match of absent"):
        names("a", "absent*")
    (folder / "empty").mkdir()
    with pytest.raises(NoSources, match="no pictures"):
        names("empty")
    with pytest.raises(NoSources, match="no match of ''"):
        names("")  # a variable of the shell that is not set: not the folder one is in
    with pytest.raises(NoSources, match="what lies in a is no source"):
        find_sources(["a"], without=Path("a"))


def test_a_file_whose_name_looks_like_a_glob_is_that_file(folder: Path) -> None:
    (folder / "a[1].jpg").touch()
    assert names("a[1].jpg") == ["a[1].jpg"]


@pytest.mark.parametrize("named", ["a [2020]", "a [2020]/", "./a [2020]"])
def test_a_folder_whose_name_looks_like_a_glob_is_that_folder(folder: Path, named: str) -> None:
    (folder / "a").rename(folder / "a [2020]")
    places = [source.place.as_posix() for source in find_sources([named])]
    assert places == ["clip", "deep/two", "one"]


def test_pictures_that_are_not_read_are_told_of(folder: Path) -> None:
    assert left_out_of(["a", "b"]) == ""
    for name in ("a/1.heic", "a/2.HEIC", "a/deep/3.tif", "a/.hidden/4.heic", "c/5.avif"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    assert left_out_of(["a", "a/deep"]) == (
        "left out: 2 .heic, 1 .tif; convert them to JPEG, PNG or WebP"
    )
    with pytest.raises(NoSources, match=r"no pictures and no videos .*; left out: 1 \.avif;"):
        find_sources(["c"])


def test_what_must_not_be_looked_at_is_told_of(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a user sees it: whoever runs the tests may look at everything."""
    scandir, stat = os.scandir, Path.stat

    def closed_folder(path: str) -> object:
        if Path(path) == Path("a/deep"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    def closed_file(path: Path, **options: bool) -> os.stat_result:
        if path == Path("a/one.jpg"):
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, **options)

    monkeypatch.setattr(os, "scandir", closed_folder)
    monkeypatch.setattr(Path, "stat", closed_file)
    assert names("a") == ["a/clip.mp4", "a/one.jpg"]
    assert left_out_of(["a"]) == "left out: a/deep, which cannot be opened"


def test_a_link_to_nothing_is_a_source_whose_row_tells_so_and_a_pipe_is_none(folder: Path) -> None:
    (folder / "b/gone.jpg").symlink_to("nowhere.jpg")
    (folder / "b/round.jpg").symlink_to("round.jpg")
    os.mkfifo(folder / "b/pipe.jpg")
    (folder / "b/pipes.jpg").symlink_to("pipe.jpg")
    assert names("b") == ["b/gone.jpg", "b/one.jpg", "b/one.png", "b/round.jpg"]


def test_what_a_run_draws_is_no_source(folder: Path) -> None:
    assert [source.name for source in find_sources(["."], without=Path("a"))] == [
        "b/one.jpg",
        "b/one.png",
    ]


def test_places_mirror_the_tree_and_never_meet(folder: Path) -> None:
    def places(*named: str) -> list[str]:
        return [str(source.place) for source in find_sources(named)]

    assert places("a") == ["clip", "deep/two", "one"]
    assert places("a", "b") == ["a/clip", "a/deep/two", "a/one", "b/one.jpg", "b/one.png"]
    assert places("a/deep/two.PNG") == ["two"]
    assert places("a/d*/*.PNG") == ["deep/two"]


@pytest.mark.parametrize(
    ("files", "places"),
    [
        (("a.jpg", "a.face2.jpg"), ["a.face2.jpg", "a"]),
        (("a.face2.jpg", "b.jpg"), ["a.face2", "b"]),
        (("f.mp4", "f.frame000001.jpg"), ["f.frame000001.jpg", "f"]),
        (("f.mp4", "f.frame000001.face3.png"), ["f.frame000001.face3.png", "f"]),
        (("a.jpg", "a.png", "a.jpg.png"), ["a.jpg", "a.jpg.png", "a.png"]),
        (("a.jpg", "a.png", "a.jpg.face2.png"), ["a.jpg", "a.jpg.face2.png", "a.png"]),
    ],
)
def test_no_place_is_one_that_another_file_gives_its_faces_or_frames(
    files: tuple[str, ...], places: list[str], tmp_path: Path
) -> None:
    for file in files:
        (tmp_path / file).touch()
    assert [str(source.place) for source in find_sources([str(tmp_path)])] == places


def test_frames_and_further_faces_have_places_of_their_own(folder: Path) -> None:
    clip, *_ = find_sources(["a"])
    assert str(place_of(clip, None)) == "clip"
    assert str(place_of(clip, 12, 1)) == "clip.frame000012.face2"


def test_a_name_that_is_no_text_is_one_all_the_same(folder: Path) -> None:
    odd = Path(os.fsdecode(b"a/\xff.jpg"))
    odd.write_bytes(b"")
    (source,) = find_sources([str(odd)])
    assert source.path == odd
    assert source.name.encode() == rb"a/\xff.jpg"
