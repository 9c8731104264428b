"""Many different photographs out of a few: crops of many sizes and qualities, in all that is read.

Two fifths lie in folders as files, two fifths in tars, a fifth in Parquet. Some are cut short.
"""

import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pyarrow
import pyarrow.parquet

from proof.harness.photographs import photograph

TORN_EVERY = 199
FILES_A_FOLDER = 1000
PIECES = ("files", "files", "tar", "tar", "parquet")
"""In turn, group by group of as many photographs as a shard has."""

NOTE = "made.json"


class Made(NamedTuple):
    """What was made: the folder, each photograph's URI as a row has it, and those cut short."""

    folder: Path
    uris: list[str]
    torn: list[str]


def make(folder: Path, count: int, shard_size: int, faces: Path | None = None) -> Made:
    """Make the photographs, or take those of an earlier call, which is the same ones.

    `faces` is a folder of photographs to make them of, beside the public portrait.
    """
    asked = {"count": count, "shard_size": shard_size, "faces": str(faces)}
    note = folder.with_name(f"{folder.name}-{NOTE}")
    if note.exists():
        there = json.loads(note.read_text())
        if there["asked"] == asked:
            return Made(folder, there["uris"], there["torn"])
    uris, torn = list[str](), list[str]()
    contents = _encoded(count, sorted(faces.rglob("*.[wjp][epn][bg]*")) if faces else [])
    for number, begin in enumerate(range(0, count, shard_size)):
        some = [next(contents) for _ in range(min(shard_size, count - begin))]
        names = _WRITERS[PIECES[number % len(PIECES)]](folder, number, some)
        uris += names
        torn += [name for index, name in enumerate(names, begin) if _is_torn(index)]
    note.write_text(json.dumps({"asked": asked, "uris": uris, "torn": torn}))
    return Made(folder, uris, torn)


def content_of(uri: str) -> bytes:
    """The encoded photograph that a row's URI names."""
    path, _, inside = uri.partition("#")
    if not inside:
        return Path(path).read_bytes()
    if path.endswith(".tar"):
        with tarfile.open(path) as tar:
            member = tar.extractfile(inside)
            assert member is not None
            return member.read()
    table = pyarrow.parquet.read_table(path, columns=["bytes"])
    content: bytes = table["bytes"][int(inside)].as_py()
    return content


def _is_torn(index: int) -> bool:
    return index % TORN_EVERY == 7


def _encoded(count: int, faces: Sequence[Path]) -> Iterator[bytes]:
    """Crops of three quarters and more, of many scales and qualities; now and then WebP and PNG."""
    chance = np.random.default_rng(1)
    portrait = cv2.cvtColor(photograph(), cv2.COLOR_RGB2BGR)[:380, 60:440]
    for index in range(count):
        chosen = faces[int(chance.integers(len(faces)))] if faces else None
        source = portrait if chosen is None or chance.random() < 0.1 else cv2.imread(str(chosen))
        assert source is not None, f"{chosen} is no picture"
        longest = max(source.shape[:2])
        left, top = (int(longest * share) for share in chance.uniform(0, 0.125, 2))
        crop = source[top : top + int(longest * 0.875), left : left + int(longest * 0.875)]
        side = int(chance.integers(130, 460))
        crop = cv2.resize(crop, (side, round(side * crop.shape[0] / crop.shape[1])))
        suffix = ".jpg" if _is_torn(index) or index % 20 else (".webp", ".png")[index // 20 % 2]
        options = [] if suffix == ".png" else [_QUALITY[suffix], int(chance.integers(40, 96))]
        content = cv2.imencode(suffix, crop, options)[1].tobytes()
        yield content[: len(content) // 2] if _is_torn(index) else content


def _as_files(folder: Path, number: int, contents: Sequence[bytes]) -> list[str]:
    names = []
    for index, content in enumerate(contents):
        place = number * len(contents) + index
        path = folder / "files" / f"{place // FILES_A_FOLDER:03}" / f"{place:07}{_suffix(content)}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        names.append(str(path))
    return names


def _as_tar(folder: Path, number: int, contents: Sequence[bytes]) -> list[str]:
    path = folder / "tars" / f"{number:05}.tar"
    path.parent.mkdir(parents=True, exist_ok=True)
    names = [f"{index:05}{_suffix(content)}" for index, content in enumerate(contents)]
    with tarfile.open(path, "w") as tar:
        for name, content in zip(names, contents, strict=True):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return [f"{path}#{name}" for name in names]


def _as_parquet(folder: Path, number: int, contents: Sequence[bytes]) -> list[str]:
    path = folder / "parquet" / f"{number:05}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.table({"bytes": contents}), path)
    return [f"{path}#{index}" for index in range(len(contents))]


def _suffix(content: bytes) -> str:
    return {b"\xff": ".jpg", b"R": ".webp", b"\x89": ".png"}[content[:1]]


_QUALITY = {".jpg": cv2.IMWRITE_JPEG_QUALITY, ".webp": cv2.IMWRITE_WEBP_QUALITY}
_WRITERS = {"files": _as_files, "tar": _as_tar, "parquet": _as_parquet}
