"""How fast a run is beside the library and the engine alone, on one CPU and on two.

Photographs are small and their boxes are given, so little is decoded and nothing is searched.
Each CPU is one process of one thread, here as there. What it takes to start is not counted.
"""

import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import cv2
import numpy as np
import pyarrow
import pyarrow.parquet

from lwbafa.bulk.worker import Mark
from proof.bulk.cluster import Command, nodes
from proof.bulk.setup import Setup
from proof.harness import ROOT
from proof.harness.photographs import FACE, photograph
from proof.promises.promises import Plan, Promise, at_least

LEAST_SHARE = 0.95

ROUNDS = 2
SHARDS_A_CPU = 6
CROP_PX = 180
DIFFERENT = 100


class Rates(NamedTuple):
    """Photographs a second, of one round."""

    engine: float
    library: float
    run: float


def run(plan: Plan, setup: Setup) -> list[Promise]:
    """For each model: the run's share of what is without it, and the scaling."""
    promises = []
    models = [(setup.model, 200), ("lwbafa-300w68", 40)]
    for model, a_shard in models[: plan.pick(2, 1)]:
        size = plan.pick(a_shard, 10)
        folder = setup.work / f"small-{size}"
        one, two = list[Rates](), list[Rates]()
        for number in range(plan.pick(ROUNDS, 1)):
            for rates, cpus in ((one, 1), (two, 2)):
                out = setup.work / f"speed-{model}-{cpus}-{number}"
                source = _source(folder / f"{cpus}", size, SHARDS_A_CPU * cpus)
                rates.append(_round(model, source, out, cpus, plan.pick(3, 1)))
        promises += _judged(model, one, two)
    return promises


def _judged(model: str, one: list[Rates], two: list[Rates]) -> list[Promise]:
    def share(of: str, rates: list[Rates]) -> float:
        return median(it.run / float(getattr(it, of)) for it in rates)

    evidence = {"one": [it._asdict() for it in one], "two": [it._asdict() for it in two]}
    rate = ", ".join(f"{of} {median(getattr(it, of) for it in two):.1f}" for of in Rates._fields)
    scaled = median(it.run for it in two) / median(it.run for it in one)
    bare = median(it.library for it in two) / median(it.library for it in one)
    two_nodes = f"{model}, two nodes"
    return [
        Promise(f"{two_nodes}: photographs a second", "", rate, True, True, evidence),
        at_least(f"{two_nodes}: of the library", share("library", two), LEAST_SHARE, timed=True),
        at_least(f"{two_nodes}: of the engine", share("engine", two), LEAST_SHARE, timed=True),
        Promise(
            f"{model}: two nodes over one", "", f"{scaled:.2f} (the library {bare:.2f})", True, True
        ),
    ]


def _round(model: str, source: Path, out: Path, cpus: int, seconds: int) -> Rates:
    engine, library = (_alone(what, model, source, cpus, seconds) for what in ("engine", "library"))
    with nodes(cpus) as cluster:
        options = ("--model", model, "--address", cluster.address, "--actors", cpus, cpus)
        code, _, errors = Command(source, out, "--shard-size", 1, *options).ended()
        if code:
            raise RuntimeError(errors)
    return Rates(engine, library, _rate(out, cpus))


def _rate(out: Path, cpus: int) -> float:
    """While all actors had work: from when each may have done a shard until the last was begun."""
    spans = []
    for file in (out / "done").glob("*.json"):
        mark, end = Mark.read(str(out), int(file.stem)), file.stat().st_mtime
        assert mark is not None
        spans.append((end - mark.wall_s, end, mark.photographs))
    begin, end = sorted(span[1] for span in spans)[cpus - 1], max(span[0] for span in spans)
    done = sum(
        count * max(min(last, end) - max(first, begin), 0.0) / (last - first)
        for first, last, count in spans
    )
    return done / (end - begin)


def _alone(what: str, model: str, source: Path, cpus: int, seconds: int) -> float:
    """The sum over as many processes as there are CPUs, all at once."""
    line = [sys.executable, "-m", "proof.bulk.alone", what, model, str(source), str(seconds)]
    processes = [
        subprocess.Popen(line, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(cpus)
    ]
    pipes: list[Any] = [(process.stdin, process.stdout) for process in processes]
    for _, said in pipes:
        said.readline()  # it is ready
    for go, _ in pipes:
        go.write("go\n")
        go.flush()
    return sum(float(process.communicate()[0]) for process in processes)


def _source(folder: Path, a_shard: int, shards: int) -> Path:
    """Parquet of encoded photographs and boxes, a row group a shard."""
    folder.mkdir(parents=True, exist_ok=True)
    chance = np.random.default_rng(1)
    bgr = cv2.cvtColor(photograph(), cv2.COLOR_RGB2BGR)
    contents, boxes = [], []
    for _ in range(DIFFERENT):
        left = int(FACE.x) - int(chance.integers(20, 70))
        top = int(FACE.y) - int(chance.integers(20, 70))
        crop = bgr[top : top + CROP_PX, left : left + CROP_PX]
        contents.append(cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes())
        boxes.append([[FACE.x - left, FACE.y - top, FACE.width, FACE.height]])
    rows = [index % DIFFERENT for index in range(a_shard * shards)]
    table = pyarrow.table({"bytes": [contents[i] for i in rows], "boxes": [boxes[i] for i in rows]})
    path = folder / "small.parquet"
    pyarrow.parquet.write_table(table, path, row_group_size=a_shard)
    return path
