"""A run that is left in peace for its first half, and whose processes are killed in its second.

What an earlier call has left of it is gone on with, in halves of what there is to do.
"""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import NamedTuple

import psutil

from lwbafa.bulk.worker import Mark
from proof.bulk.cluster import Command, actors, nodes, workers
from proof.bulk.memory import Sample, Watch, growth_mib
from proof.bulk.photographs import Made, make
from proof.bulk.rows import complete, like_the_service, rows_of
from proof.bulk.setup import Setup
from proof.promises.promises import Plan, Promise, at_least, at_most, exactly

SHARES = {"actor": 8, "worker": 6, "driver": 6}
"""Of twenty kills."""

MOST_GROWTH_MIB = 64.0
VICTIM_WITHIN_S = 60.0


class Strike(NamedTuple):
    """One kill: when, of what kind, and what it was called."""

    at_s: float
    kind: str
    name: str


class Run:
    """The command, begun again whenever it has ended before its shards are done."""

    def __init__(self, setup: Setup, folder: Path, address: str) -> None:
        options = ("--model", setup.model, "--shard-size", setup.shard_size)
        self._line = (folder, setup.work / "out", *options, "--address", address)
        self.command = Command(*self._line)
        self.ended_unasked: list[str] = []

    def drivers(self) -> list[psutil.Process]:
        """The driver, if it lives."""
        with suppress(psutil.NoSuchProcess):
            return [psutil.Process(self.command.process.pid)]
        return []

    def begin_again(self) -> None:
        """Once the command is dead."""
        self.command.process.wait()
        self.command = Command(*self._line)

    def reach(self, marks: int) -> None:
        """Until so many shards are done, whatever that takes."""
        while not self.command.wait_for(lambda: self.command.marks() >= marks):
            self._note()
            self.begin_again()

    def end(self) -> str:
        """Until the command ends as it should; its summary."""
        while True:
            code, said, _ = self.command.ended()
            if code == 0:
                return said
            self._note()
            self.begin_again()

    def _note(self) -> None:
        code, said, errors = self.command.ended()
        self.ended_unasked.append(f"{code}: {said[-500:]} {errors[-1500:]}")


def photographs_of(setup: Setup) -> Made:
    """What the run is of."""
    return make(setup.work / "photographs", setup.photographs, setup.shard_size, setup.faces)


def run(plan: Plan, setup: Setup) -> list[Promise]:
    """Rows, kills, memory, and the service's answers."""
    made = photographs_of(setup)
    shards = -(-setup.photographs // setup.shard_size)
    out = setup.work / "out"
    with nodes() as cluster:
        it = Run(setup, made.folder, cluster.address)
        with Watch(it.drivers) as memory:
            it.reach(it.command.marks() + 2)
            calm_from, begun = it.command.marks(), memory.now_s()
            it.reach((calm_from + shards) // 2)
            calm, calm_s = it.command.marks(), memory.now_s()
            strikes = _strike(plan.seed, it, setup.kills, calm, shards, memory)
            said = it.end()
    calmly = _photographs(out, calm) - _photographs(out, calm_from)
    rate = calmly / max(calm_s - begun, 1e-3)
    kinds = [strike.kind for strike in strikes]
    rows = rows_of(out)
    return [
        at_least(
            "processes killed: " + ", ".join(f"{kinds.count(kind)} {kind}s" for kind in SHARES),
            len(strikes),
            setup.kills,
            summary=said,
        ),
        *complete(rows, made),
        exactly("calls that ended unasked", len(it.ended_unasked), 0, said=it.ended_unasked),
        exactly("files left aside, tries left", _left_over(out), 0),
        like_the_service(rows, made, setup.sample, setup.model),
        at_most(
            "memory, last quarter of the calm half over its first",
            _growth(memory.samples, begun, calm_s),
            MOST_GROWTH_MIB,
            "MiB",
            timed=True,
            calm_s=(begun, calm_s),
            samples=memory.samples,
            strikes=strikes,
        ),
        Promise("photographs a second, in the calm half", "", f"{rate:.1f}", True, timed=True),
    ]


def _strike(seed: int, it: Run, count: int, calm: int, shards: int, memory: Watch) -> list[Strike]:
    """Kill something now and then until most shards are done, whatever it may be in work on."""
    chance = Random(seed)
    kinds = [kind for kind, share in SHARES.items() for _ in range(round(count * share / 20))]
    chance.shuffle(kinds)
    strikes = []
    for number, kind in enumerate(kinds):
        it.reach(calm + round((shards - calm) * 0.9 * number / len(kinds)))
        time.sleep(chance.uniform(0, 1.5))
        victim = _victim(kind, it, chance)
        if victim is None:
            continue
        with suppress(psutil.Error, ProcessLookupError):
            name = " ".join(victim.cmdline()).strip()
            os.kill(victim.pid, signal.SIGKILL)
            strikes.append(Strike(round(memory.now_s(), 1), kind, name[:60]))
        if kind == "driver":
            it.begin_again()
    return strikes


def _victim(kind: str, it: Run, chance: Random) -> psutil.Process | None:
    """One of them; None if there is none before the run ends."""
    found = {"actor": actors, "worker": workers, "driver": it.drivers}[kind]
    end = time.monotonic() + VICTIM_WITHIN_S
    while not (victims := found()):
        if it.command.process.poll() is not None or time.monotonic() > end:
            return None
        time.sleep(0.1)
    return chance.choice(victims)


def _growth(samples: list[Sample], begin_s: float, end_s: float) -> float:
    """From a fifth of the time on: both actors have begun, their caches are warm."""
    return growth_mib(samples, begin_s + (end_s - begin_s) / 5, end_s)


def _photographs(out: Path, marks: int) -> int:
    """How many the first marks stand for, by the time that they were made."""
    files = sorted((out / "done").glob("*.json"), key=lambda file: file.stat().st_mtime)
    read = (Mark.read(str(out), int(file.stem)) for file in files[:marks])
    return sum(mark.photographs for mark in read if mark)


def _left_over(out: Path) -> int:
    return sum(1 for _ in out.rglob(".aside/*")) + sum(1 for _ in out.glob("tries/*.json"))
