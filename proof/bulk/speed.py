"""How fast a run is beside the library and the engine alone, on one CPU and on two.

Photographs are small and their boxes are given, so little is decoded and nothing is searched.
Each CPU is one process of one thread, here as there. What it takes to start is not counted.
Shares are of photographs for each second of CPU time, of all processes of the run, Ray's own
among them: where others use the CPUs too, seconds of a clock cannot be compared.
"""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import cv2
import numpy as np
import pyarrow
import pyarrow.parquet

from lwbafa.bulk.worker import Mark
from proof.bulk.cluster import Command, cpu_s, nodes
from proof.bulk.setup import Setup
from proof.harness import ROOT
from proof.harness.photographs import FACE, photograph
from proof.promises.promises import Plan, Promise, at_least

LEAST_SHARE = 0.95

ROUNDS = 3
SHARDS_A_CPU = 8
CROP_PX = 180
DIFFERENT = 100


class Rate(NamedTuple):
    """Photographs a second, and for each second of CPU time."""

    a_second: float
    a_cpu_second: float


class Round(NamedTuple):
    """What was measured one after the other."""

    engine: Rate
    library: Rate
    run: Rate


def run(plan: Plan, setup: Setup) -> list[Promise]:
    """For each model: the run's share of what is without it, and the scaling."""
    promises = []
    models = [(setup.model, 200), ("lwbafa-300w68", 40)]
    for model, a_shard in models[: plan.pick(2, 1)]:
        size = plan.pick(a_shard, 10)
        rounds: dict[int, list[Round]] = {1: [], 2: []}
        for number in range(plan.pick(ROUNDS, 1)):
            for cpus, done in rounds.items():
                out = setup.work / f"speed-{model}-{cpus}-{number}"
                source = _source(setup.work / f"small-{size}-{cpus}", size, SHARDS_A_CPU * cpus)
                done.append(_round(model, source, out, cpus, plan.pick(4, 1)))
        promises += _judged(model, rounds)
    return promises


def _judged(model: str, rounds: dict[int, list[Round]]) -> list[Promise]:
    def middle(cpus: int, what: str, of: str) -> float:
        return float(median(getattr(getattr(done, what), of) for done in rounds[cpus]))

    def share(what: str) -> float:
        return float(
            median(done.run.a_cpu_second / getattr(done, what).a_cpu_second for done in rounds[2])
        )

    def scaling(what: str) -> str:
        wall = middle(2, what, "a_second") / middle(1, what, "a_second")
        cpu = 2 * middle(2, what, "a_cpu_second") / middle(1, what, "a_cpu_second")
        return f"{what} {wall:.2f}, by CPU time {cpu:.2f}"

    rates = "; ".join(
        f"{what} {middle(2, what, 'a_second'):.1f}, {middle(2, what, 'a_cpu_second'):.1f}"
        for what in Round._fields
    )
    two = f"{model}, two nodes"
    evidence = {"rounds": rounds}
    return [
        Promise(f"{two}: photographs a second, a CPU's second", "", rates, True, True, evidence),
        at_least(f"{two}: share of the library", share("library"), LEAST_SHARE, timed=True),
        at_least(f"{two}: share of the engine", share("engine"), LEAST_SHARE, timed=True),
        Promise(
            *(f"{model}: two nodes over one", ""),
            f"{scaling('run')}; {scaling('library')}",
            *(True, True),
        ),
    ]


def _round(model: str, source: Path, out: Path, cpus: int, seconds: int) -> Round:
    engine, library = (_alone(what, model, source, cpus, seconds) for what in ("engine", "library"))
    options = ("--model", model, "--shard-size", 1, "--actors", cpus, cpus)
    with nodes(cpus) as cluster:
        command = Command(source, out, *options, "--address", cluster.address)
        begin, cpu_before = _moment(command, lambda: command.marks() >= cpus)
        end, cpu_after = _moment(command, lambda: command.marks() >= (SHARDS_A_CPU - 1) * cpus)
        code, _, errors = command.ended()
    if code:
        raise RuntimeError(errors)
    done = _photographs(out, begin, end)
    return Round(engine, library, Rate(done / (end - begin), done / (cpu_after - cpu_before)))


def _moment(command: Command, there: Callable[[], bool]) -> tuple[float, float]:
    """When it is there, and the CPU time of all until then."""
    if not command.wait_for(there):
        raise RuntimeError(command.ended()[2])
    return time.time(), cpu_s()


def _photographs(out: Path, begin: float, end: float) -> float:
    """How many were done in that time, of shards that were begun or ended within it a part."""
    done = 0.0
    for file in (out / "done").glob("*.json"):
        mark, last = Mark.read(str(out), int(file.stem)), file.stat().st_mtime
        assert mark is not None
        first = last - mark.wall_s
        done += mark.photographs * max(min(last, end) - max(first, begin), 0) / (last - first)
    return done


def _alone(what: str, model: str, source: Path, cpus: int, seconds: int) -> Rate:
    """As many processes as there are CPUs, all at once."""
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
    said = [map(float, process.communicate()[0].split()) for process in processes]
    count, wall_s, took_cpu_s = (list(each) for each in zip(*said, strict=True))
    a_second = sum(done / took for done, took in zip(count, wall_s, strict=True))
    return Rate(a_second, sum(count) / sum(took_cpu_s))


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
