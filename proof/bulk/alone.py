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
from lwbafa.bulk.aligner import TOGETHER, BulkAligner
from lwbafa.engine.choose import EngineOptions
from lwbafa.imaging.photograph import Photograph

SOME = 100


def main() -> None:
    """Say when it is ready, wait for a line, say how many in how many seconds of clock and CPU."""
    what, model, source, seconds = sys.argv[1:]
    cv2.setNumThreads(1)
    photographs = pyarrow.parquet.ParquetFile(source).read_row_group(0).to_pylist()[:SOME]
    some = _engine(model, photographs) if what == "engine" else _library(model, photographs)
    _passes(some, 1.0)
    print("ready", flush=True)
    sys.stdin.readline()
    print(*_passes(some, float(seconds)))


def _engine(model: str, photographs: list[dict[str, Any]]) -> Callable[[], int]:
    aligner = FaceAligner.load(model, engine=EngineOptions(threads=1))
    crops = [
        crop
        for row in photographs[:TOGETHER]
        for crop in aligner.prepare(Photograph.of_bytes(row["bytes"]), row["boxes"], 1).pixels
    ]
    return lambda: len(aligner.engine.align(crops))


def _library(model: str, photographs: list[dict[str, Any]]) -> Callable[[], int]:
    aligner = BulkAligner(model, engine=EngineOptions(threads=1))
    contents, boxes = ([row[name] for row in photographs] for name in ("bytes", "boxes"))
    return lambda: len(aligner.rows(contents, boxes))


def _passes(some: Callable[[], int], seconds: float) -> tuple[int, float, float]:
    done, began, cpu_began = 0, time.perf_counter(), time.process_time()
    while (took := time.perf_counter() - began) < seconds:
        done += some()
    return done, took, time.process_time() - cpu_began


if __name__ == "__main__":
    main()
