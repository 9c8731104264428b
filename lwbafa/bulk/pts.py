"""A `.pts` file for each face, as 300-W has them: the first pixel's centre is at 1."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from lwbafa.bulk.formats import written_aside
from lwbafa.bulk.rows import Row
from lwbafa.bulk.sources import Source, place_it_seems_of, place_of

SUFFIX = ".pts"


def write_pts_files(rows: Iterable[Row], sources: Sequence[Source], folder: Path | None) -> None:
    """The faces of some rows, below a folder or, without one, beside their pictures.

    A picture's largest face has the picture's name; further ones are `NAME.face2.pts` and so on.
    """
    of_name = {source.name: source for source in sources}
    for row in rows:
        for index, face in enumerate(row["faces"]):
            with written_aside(
                _path(of_name[row["file"]], row.get("frame"), index, folder)
            ) as file:
                _write(face, file)


def already_there(sources: Sequence[Source]) -> Iterator[Path]:
    """The `.pts` files that lie where those beside the pictures would be written, or may be."""
    places: dict[Path, set[str]] = {}
    for source in sources:
        places.setdefault(source.path.parent, set()).add(source.place.name)
    for folder, names in places.items():
        for path in sorted(folder.glob("*.pts")):
            place = Path(path.name.removesuffix(SUFFIX))
            if any(of.name in names for of in (place, *place_it_seems_of(place))):
                yield path


def _path(source: Source, frame: int | None, face: int, folder: Path | None) -> Path:
    place = place_of(source, frame, face)
    below = folder / place if folder else source.path.with_name(place.name)
    return below.with_name(below.name + SUFFIX)


def _write(face: Mapping[str, Any], file: IO[bytes]) -> None:
    points = face["landmarks"]
    lines = [f"{point['x'] + 1:.3f} {point['y'] + 1:.3f}\n" for point in points]
    text = "".join(["version: 1\n", f"n_points: {len(points)}\n", "{\n", *lines, "}\n"])
    file.write(text.encode())
