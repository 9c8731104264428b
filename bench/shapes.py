"""What it costs to search photographs of many shapes, one after the other.

    python -m bench.shapes

OpenVINO prepares a network for every shape anew. The same photographs come in three orders: four
of one shape in a row, two shapes in turn as from one camera, and always another than the last few.
"""

import click
import cv2
import numpy as np
import skimage.data

from bench.detectors import Timed
from bench.report import Cell, Report, Spread, interleaved, print_machine, rounds_option
from lwbafa.detection.choose import DETECTORS, DetectorOptions, create_detector
from lwbafa.types import Pixels

LONG_PX, SHORT_PX, STEP_PX = 1440, 720, 48
IN_A_ROW = 4


def measure(rounds: int) -> Report:
    """Milliseconds of a search by order, for every detector at its own size."""
    shapes = photographs()
    rows: list[dict[str, Cell]] = []
    for name in DETECTORS:
        detector = create_detector(DetectorOptions(name, threads=1))
        in_a_row = [photograph for photograph in shapes for _ in range(IN_A_ROW)]
        in_turn = [
            photograph
            for start in range(0, len(shapes), 2)
            for photograph in shapes[start : start + 2] * IN_A_ROW
        ]
        times = interleaved(
            rounds,
            {
                "one": Timed(detector, in_a_row),
                "two": Timed(detector, in_turn),
                "many": Timed(detector, shapes * IN_A_ROW),
            },
            name,
        )
        rows.append(
            {
                "detector": f"{name}, {detector.longest_side_px} px",
                f"{IN_A_ROW} of a shape, ms": Spread.of(times["one"]),
                "two in turn, ms": Spread.of(times["two"]),
                "two over one": Spread.of_ratios(times["two"], times["one"]),
                "each of another, ms": Spread.of(times["many"]),
                "another over one": Spread.of_ratios(times["many"], times["one"]),
            }
        )
    note = (
        f"One thread, one face each; {len(shapes)} shapes, the longer side {LONG_PX} px, the other "
        f"{SHORT_PX} and more."
    )
    return Report("Photographs of many shapes", note, rows)


def photographs() -> list[Pixels]:
    """One of each shape, neighbours unlike each other."""
    large = np.asarray(cv2.resize(skimage.data.astronaut(), (LONG_PX, LONG_PX)), np.uint8)
    sides = range(LONG_PX, SHORT_PX - 1, -STEP_PX)
    wide = [large[:side] for side in sides]
    tall = [large[:, :side] for side in sides if side < LONG_PX]
    order = np.random.default_rng(0).permutation(len(wide + tall))
    return [(wide + tall)[i] for i in order]


@click.command()
@rounds_option
def main(rounds: int) -> None:
    """The search of photographs by the order of their shapes."""
    cv2.setNumThreads(1)  # as the service does
    print_machine()
    print(measure(rounds).as_text())


if __name__ == "__main__":
    main()
