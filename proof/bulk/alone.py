"""What one CPU does without a run: the engine on crops, or the library on photographs.

python -m proof.bulk.alone engine|library MODEL PARQUET SECONDS    # how many, in which time
"""

import sys
import time
from collections.abc import Callable
from typing import Any

import cv2
import pyarrow.parquet

from lwbafa.aligner import FaceAligner
from lwbafa.engine.choose import EngineOptions
from lwbafa.imaging.photograph import Photograph
from lwbafa.types import FaceBox

SOME = 100


def main() -> None:
    """Say when it is ready, wait for a line, say how many in how many seconds of clock and CPU."""
    what, model, source, seconds = sys.argv[1:]
    cv2.setNumThreads(1)
    aligner = FaceAligner.load(model, engine=EngineOptions(threads=1))
    photographs = pyarrow.parquet.ParquetFile(source).read_row_group(0).to_pylist()[:SOME]
    one = _engine(aligner, photographs) if what == "engine" else _library(aligner, photographs)
    _passes(one, 1.0)
    print("ready", flush=True)
    sys.stdin.readline()
    print(*_passes(one, float(seconds)))


def _engine(aligner: FaceAligner, photographs: list[dict[str, Any]]) -> Callable[[int], object]:
    crops = [
        aligner.prepare(Photograph.of_bytes(row["bytes"]), [FaceBox(*row["boxes"][0])], 1).pixels
        for row in photographs
    ]
    return lambda index: aligner.engine.align(crops[index % len(crops)])


def _library(aligner: FaceAligner, photographs: list[dict[str, Any]]) -> Callable[[int], object]:
    def one(index: int) -> object:
        row = photographs[index % len(photographs)]
        return aligner.align(row["bytes"], row["boxes"])

    return one


def _passes(one: Callable[[int], object], seconds: float) -> tuple[int, float, float]:
    passes, began, cpu_began = 0, time.perf_counter(), time.process_time()
    while (took := time.perf_counter() - began) < seconds:
        one(passes)
        passes += 1
    return passes, took, time.process_time() - cpu_began


if __name__ == "__main__":
    main()
