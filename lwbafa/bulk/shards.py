"""The photographs of a shard, one after the other: files, a tar, or row groups of Parquet.

A shard that cannot be read to its end says so in a last item, whose row is the error.
"""

import tarfile
from collections.abc import Iterator

import pyarrow
import pyarrow.parquet

from lwbafa.bulk import store
from lwbafa.bulk.aligner import Item, item_of
from lwbafa.bulk.plan import Shard, is_damage
from lwbafa.bulk.sources import PICTURES
from lwbafa.errors import UnreadableShard

ROWS_AT_A_TIME = 16
"""Of Parquet, whose photographs are all in memory then."""

BLOCK = tarfile.BLOCKSIZE


def items_of(shard: Shard, column: str, boxes_column: str) -> Iterator[Item]:
    """Its photographs, always in the same order. Raises OSError for a store that fails."""
    if shard.kind == "files":
        for uri in shard.uris:
            yield item_of(uri, uri)
        return
    (uri,) = shard.uris
    try:
        if shard.kind == "tar":
            yield from _of_tar(uri)
        else:
            yield from _of_parquet(uri, shard.groups, column, boxes_column)
    except (tarfile.TarError, EOFError, UnreadableShard) as error:
        yield _broken(uri, str(error))
    except FileNotFoundError:
        yield _broken(uri, "There is no such file.")
    except (pyarrow.ArrowInvalid, OSError) as error:
        if not is_damage(error):
            raise
        yield _broken(uri, str(error).strip())


def _of_tar(uri: str) -> Iterator[Item]:
    with store.open_file(uri) as file, tarfile.open(fileobj=file, mode="r|*") as tar:
        for member in tar:
            if member.isfile() and member.name.lower().endswith(tuple(PICTURES)):
                content = tar.extractfile(member)
                yield item_of(content.read() if content else None, f"{uri}#{member.name}")
        # Two empty blocks end a tar; cut before a header, it would seem to be whole.
        if tar.fileobj is None or tar.fileobj.read(BLOCK) != bytes(BLOCK):
            raise UnreadableShard("The tar ends early.")


def _of_parquet(uri: str, groups: list[int], column: str, boxes_column: str) -> Iterator[Item]:
    with store.open_file(uri) as file:
        there = pyarrow.parquet.ParquetFile(file)
        columns = [name for name in (column, boxes_column) if name in there.schema_arrow.names]
        metadata = there.metadata
        number = sum(metadata.row_group(group).num_rows for group in range(min(groups, default=0)))
        for batch in there.iter_batches(ROWS_AT_A_TIME, row_groups=groups, columns=columns):
            for line in batch.to_pylist():
                value = line[column]
                if isinstance(value, dict):  # as Hugging Face's data sets have images
                    value = value.get("bytes") or value.get("path")
                yield item_of(value, f"{uri}#{number}", line.get(boxes_column))
                number += 1


def _broken(uri: str, text: str) -> Item:
    def read() -> bytes:
        raise UnreadableShard(text)

    return Item(uri, read)
