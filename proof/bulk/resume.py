"""How long the command takes to go on with a run of a million rows that are nearly all there."""

import time
from pathlib import Path

import pyarrow
import pyarrow.parquet

from lwbafa.bulk.nested import nested, part_of
from lwbafa.bulk.rows import aligned
from lwbafa.bulk.worker import Mark, part_name
from proof.bulk.cluster import Command, nodes
from proof.bulk.rows import rows_of
from proof.bulk.setup import Setup
from proof.promises.promises import Plan, Promise, at_most, exactly

WITHIN_S = 10.0
SHARD_SIZE = 1000
LEFT = 2
"""Shards that are not done yet."""


def run(plan: Plan, setup: Setup) -> list[Promise]:
    """In this process and on Ray; and that the rows are all there in the end."""
    shards = plan.pick(1000, 10)
    source = setup.work / "million.parquet"
    with pyarrow.parquet.ParquetWriter(source, pyarrow.schema({"bytes": pyarrow.binary()})) as file:
        for _ in range(shards):
            file.write_table(pyarrow.table({"bytes": [b"x"] * SHARD_SIZE}))
    promises = []
    with nodes() as cluster:
        ways = {"one process": (), "Ray": ("--address", cluster.address)}
        for name, options in ways.items():
            out = setup.work / f"million-{name.replace(' ', '-')}"
            _nearly_done(source, out, shards)
            took = _took(source, out, *options)
            rows = rows_of(out)
            places = zip(rows["shard"].to_pylist(), rows["index"].to_pylist(), strict=True)
            promises += [
                at_most(
                    f"{name}: a run of {shards * SHARD_SIZE} rows goes on and ends",
                    *(took, WITHIN_S, "s"),
                    timed=True,
                ),
                exactly(f"{name}: rows, each once", len(set(places)), shards * SHARD_SIZE),
            ]
    return promises


def _nearly_done(source: Path, out: Path, shards: int) -> None:
    """The plan by the command itself, then parts and marks as it would have made them."""
    _took(source, out, "--only-plan")
    for shard in range(shards - LEFT):
        rows = (nested(aligned(f"{source}#{i}", None, (1, 1), [])) for i in range(SHARD_SIZE))
        (out / "parts").mkdir(exist_ok=True)
        (out / "parts" / part_name(shard)).write_bytes(part_of(shard, rows))
        mark = Mark(shard, photographs=SHARD_SIZE)
        (out / "done").mkdir(exist_ok=True)
        (out / "done" / f"{shard:06d}.json").write_text(mark.to_json())


def _took(source: Path, out: Path, *options: object) -> float:
    began = time.monotonic()
    code, _, errors = Command(source, out, *options).ended()
    if code:
        raise RuntimeError(errors)
    return time.monotonic() - began
