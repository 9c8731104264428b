"""What a run by shards is of: a Parquet file, one line a shard, that is written once and stays.

Whoever works on the run reads it, so that a shard is the same photographs for all, and for every
attempt, whatever happens to the sources meanwhile. Needs pyarrow.
"""

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, Self

import pyarrow
import pyarrow.parquet

from lwbafa.bulk import store
from lwbafa.bulk.sources import PICTURES
from lwbafa.errors import NoSources, PartMismatch

Settings = Mapping[str, str | int | list[str]]

TARS = (".tar", ".tar.gz", ".tgz")

SHARDS_A_GROUP = 100
"""Lines that are read at a time to look up one."""

NAME = "plan.parquet"

NAMES = "utf-8", "surrogateescape"
"""How Python has names of files that are no text."""

_SCHEMA = pyarrow.schema(
    {
        "kind": pyarrow.string(),
        "uris": pyarrow.list_(pyarrow.binary()),  # names of files may be no text
        "groups": pyarrow.list_(pyarrow.int32()),
        "photographs": pyarrow.int64(),
    }
)
_SETTINGS = b"lwbafa"


class Shard(NamedTuple):
    """Some photographs, which are done together: `kind` is `files`, `tar` or `parquet`.

    `uris` are the files themselves, or the one file that holds the photographs, of which `groups`
    are the row groups. `photographs` is None where only reading tells.
    """

    kind: str
    uris: list[str]
    groups: list[int]
    photographs: int | None


class Plan:
    """The shards of a run, by their numbers from 0."""

    def __init__(self, out: str) -> None:
        """Read the plan in the run's folder. Raises FileNotFoundError, OSError, PartMismatch."""
        self._uri = store.join(out, NAME)
        try:
            with store.open_file(self._uri) as file:
                there = pyarrow.parquet.ParquetFile(file)
                self._metadata = there.metadata
                self.settings: Settings = json.loads(there.schema_arrow.metadata[_SETTINGS])
        except (pyarrow.ArrowInvalid, TypeError, KeyError) as error:
            raise PartMismatch(f"{self._uri} is no plan of a run: take another folder") from error
        self._group, self._shards = -1, [Shard("", [], [], None)]

    def __len__(self) -> int:
        return int(self._metadata.num_rows)

    def __getitem__(self, number: int) -> Shard:
        group, place = divmod(number, SHARDS_A_GROUP)
        if group != self._group:
            with store.open_file(self._uri) as file:
                there = pyarrow.parquet.ParquetFile(file, metadata=self._metadata)
                lines = there.read_row_group(group).to_pylist()
            self._group, self._shards = group, [_read(line) for line in lines]
        return self._shards[place]

    @classmethod
    def of_run(
        cls, out: str, named: Sequence[str], settings: Settings, alone: bool = False
    ) -> Self:
        """The plan of a run, which is made if there is none yet.

        `settings` are `shard_size`, `column` and what else must not change; `alone` tells that no
        other process makes it. Raises PartMismatch if it was made with other settings, NoSources,
        StoreError, OSError.
        """
        if "" in named:
            raise NoSources("one of the sources has an empty name")
        sources = [store.absolute(name) for name in named]
        for source in sources:
            if f"{source}/".startswith(f"{out}/"):
                raise NoSources(f"{source} lies in --out, where all is the run's own")
        wanted = {**settings, "sources": sources}
        if NAME not in store.names_in(out):
            # Of several processes that begin together, one writes it and all read it.
            with suppress(FileExistsError):
                content = _written(_shards(sources, out, wanted), wanted)
                store.create(store.join(out, NAME), content, alone)
        plan = cls(out)
        if plan.settings != wanted:
            raise PartMismatch(
                f"{out} was begun with other settings, {json.dumps(plan.settings)}: "
                "go on with those, or take another folder"
            )
        return plan


def _read(line: dict[str, Any]) -> Shard:
    # As text they stand in plans that were made before names could be other bytes.
    uris = [uri.decode(*NAMES) if isinstance(uri, bytes) else uri for uri in line["uris"]]
    return Shard(**line | {"uris": uris})


def _written(shards: Iterator[Shard], settings: Settings) -> bytes:
    file = io.BytesIO()
    schema = _SCHEMA.with_metadata({_SETTINGS: json.dumps(settings)})
    count = 0
    with pyarrow.parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        while some := list(islice(shards, SHARDS_A_GROUP)):
            lines = [
                shard._asdict() | {"uris": [uri.encode(*NAMES) for uri in shard.uris]}
                for shard in some
            ]
            writer.write_table(pyarrow.Table.from_pylist(lines, schema))
            count += len(some)
    if not count:
        raise NoSources("there are no photographs in what was named")
    return file.getvalue()


def _shards(sources: Sequence[str], out: str, settings: Settings) -> Iterator[Shard]:
    size, column = int(str(settings["shard_size"])), str(settings["column"])
    gathered: list[str] = []
    for uri in _files(sources, out):
        name = uri.lower()
        if name.endswith(TARS):
            yield Shard("tar", [uri], [], None)
        elif name.endswith(".parquet"):
            yield from _of_parquet(uri, size, column)
        else:
            gathered.append(uri)
        if len(gathered) == size:
            yield Shard("files", gathered, [], size)
            gathered = []
    if gathered:
        yield Shard("files", gathered, [], len(gathered))


def _files(sources: Sequence[str], out: str) -> Iterator[str]:
    """Each file once; of folders and globs only what is known by its suffix."""
    taken = (*PICTURES, *TARS, ".parquet")
    seen: set[str] | None = set() if len(sources) > 1 else None
    for source in sources:
        there = False
        for uri in store.find(source):
            there = True
            if uri.startswith(f"{out}/") or (uri != source and not uri.lower().endswith(taken)):
                continue
            if seen is not None:
                if uri in seen:
                    continue
                seen.add(uri)
            yield uri
        if not there and not Path(source).is_dir():
            raise NoSources(f"there is no file, no folder and no match of {source}")


def is_damage(error: Exception) -> bool:
    """Whether one of Arrow's errors is about what a Parquet file holds, and not about its store.

    Damage may be an OSError too, but without the number that a system's errors and a store's have.
    """
    return not isinstance(error, OSError) or (type(error) is OSError and error.errno is None)


def _of_parquet(uri: str, size: int, column: str) -> Iterator[Shard]:
    """Neighbouring row groups of a file, until they are `size` photographs or more."""
    with store.open_file(uri) as file:
        try:
            there = pyarrow.parquet.ParquetFile(file)
        except (pyarrow.ArrowInvalid, OSError) as error:
            if not is_damage(error):
                raise
            yield Shard("parquet", [uri], [], 1)  # to be a row with its error
            return
        if column not in there.schema_arrow.names:
            names = ", ".join(there.schema_arrow.names)
            raise NoSources(f"{uri} has no column {column}, which --column names, but: {names}")
        kind = there.schema_arrow.field(column).type
        if not _may_be_photographs(kind):
            raise NoSources(
                f"the column {column} of {uri} is {kind}, and no encoded photographs or URIs"
            )
        groups, photographs = list[int](), 0
        for group in range(there.num_row_groups):
            groups.append(group)
            photographs += there.metadata.row_group(group).num_rows
            if photographs >= size or group == there.num_row_groups - 1:
                yield Shard("parquet", [uri], groups, photographs)
                groups, photographs = [], 0


def _may_be_photographs(kind: pyarrow.DataType) -> bool:
    types = pyarrow.types
    if types.is_dictionary(kind):
        kind = kind.value_type
    bytes_or_text = (
        *(types.is_binary, types.is_large_binary, types.is_fixed_size_binary),
        *(types.is_string, types.is_large_string),
    )
    # Structs are Hugging Face's images; of nothing but nulls, each is a row with its error.
    return any(is_one(kind) for is_one in (*bytes_or_text, types.is_struct, types.is_null))
