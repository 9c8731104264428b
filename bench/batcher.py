"""What the batcher costs on its own: items per second around a network that does nothing.

    python -m bench.batcher

No HTTP, no images, no PyTorch: callers on the service's kind of event loop submit one item each,
again and again, and the device thread hands every batch back as it came.
"""

import asyncio
import time
from collections.abc import Sequence
from functools import partial

import click
import uvicorn

from app.batching import Batcher, BatchReport, Device
from app.settings import read_settings
from bench.report import Report, Spread, interleaved, print_machine, rounds_option

CALLERS = (1, 8, 64)


def measure(rounds: int, items: int) -> Report:
    """Items per second by callers; `items` in every measurement."""
    sizes: dict[int, list[int]] = {callers: [] for callers in CALLERS}
    speed = interleaved(
        rounds,
        {str(n): partial(_items_per_second, n, items, sizes[n]) for n in CALLERS},
        "batcher",
    )
    note = (
        f"{items} items in all a measurement, each caller submits one and waits for it; the device "
        f"does nothing. Median (least–greatest) of {rounds} rounds."
    )
    return Report(
        "The batcher alone, items per second",
        note,
        [
            {
                "callers": str(callers),
                "items per second": Spread.of(speed[str(callers)]),
                "mean batch": sum(sizes[callers]) / len(sizes[callers]),
            }
            for callers in CALLERS
        ],
    )


def _items_per_second(callers: int, items: int, sizes: list[int]) -> float:
    """Speed with this many callers; `sizes` takes the batches' sizes."""
    with asyncio.Runner(loop_factory=uvicorn.Config("bench").get_loop_factory()) as runner:
        return runner.run(_submit(callers, items, sizes))


async def _submit(callers: int, items: int, sizes: list[int]) -> float:
    def note(report: BatchReport) -> None:
        sizes.append(report.size)

    device = Device()
    batcher: Batcher[int, int] = Batcher(
        device,
        _nothing,
        max_batch=read_settings().max_batch_faces,
        max_queue=max(CALLERS),
        on_batch=note,
    )
    device.start()
    numbers = iter(range(items))

    async def caller() -> None:
        for number in numbers:  # shared by all callers
            await batcher.submit([number])

    started = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(callers)))
    elapsed = time.perf_counter() - started
    await device.close()
    return items / elapsed


def _nothing(items: Sequence[int]) -> Sequence[int]:
    return items


@click.command()
@rounds_option
@click.option("--items", default=20_000, show_default=True, help="Of every measurement.")
def main(rounds: int, items: int) -> None:
    """The batcher alone."""
    print_machine()
    print(measure(rounds, items).as_text())


if __name__ == "__main__":
    main()
