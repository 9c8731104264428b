"""What a run leaves to look at: its log, TensorBoard's curves, predictions on validation faces."""

import csv
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lwbafa.markups import Markup
from lwbafa.network import normalise
from lwbafa.network.scored import merged
from lwbafa.types import Pixels
from training.datasets import Face
from training.losses import interocular_error
from training.pictures import face_tile, sheet, write_picture

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

PICTURED_FACES = 15
BATCH = 32


class Monitor:
    """Logs of one run, in its folder: `log.csv`, `validation.csv`, `validation/`, `tensorboard/`.

    A resumed run goes on in the same files; `forget_after` drops what a kill undid.
    """

    def __init__(self, run: Path, markup: Markup, validation: Sequence[Face]) -> None:
        self._run, self._markup, self._validation = run, markup, validation
        self._resumed_after: int | None = None

    @cached_property
    def _board(self) -> "SummaryWriter | None":
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:  # a plain PyTorch image has none; the CSV files hold the same numbers
            return None
        undone = None if self._resumed_after is None else self._resumed_after + 1
        return SummaryWriter(self._run / "tensorboard", purge_step=undone)

    def forget_after(self, step: int) -> None:
        """Drop what was logged of steps that a kill undid, and a row that it cut short."""
        for name in ("log.csv", "validation.csv"):
            path = self._run / name
            if path.exists():
                lines = path.read_text().splitlines(keepends=True)
                whole = [line for line in lines[1:] if line.endswith("\n")]
                kept = [line for line in whole if int(line.split(",")[0]) <= step]
                path.write_text("".join(lines[:1] + kept))
        self._resumed_after = step

    def log(self, step: int, input_px: int, metrics: dict[str, float]) -> None:
        """One training step's loss, NME and learning rate."""
        self._write("log.csv", {"step": step, "input_px": input_px, **metrics})
        self._scalars("train", step, metrics)

    def validate(self, step: int, input_px: int, network: nn.Module) -> float:
        """Log the mean NME of the validation faces from the landmarks' box; picture the first."""
        errors: list[float] = []
        tiles: list[Pixels] = []
        for start in range(0, len(self._validation), BATCH):
            faces = self._validation[start : start + BATCH]
            crops = [face.crop for face in faces]
            seen = [crop.cut(face.image, input_px) for crop, face in zip(crops, faces, strict=True)]
            truth = [crop.from_image(f.landmarks) for crop, f in zip(crops, faces, strict=True)]
            points, heatmaps = _predict(network, np.stack(seen))
            error = interocular_error(points, torch.from_numpy(np.stack(truth)), self._markup)
            drawn = merged(heatmaps.clamp(0, 1)).numpy()
            shown = min(len(faces), PICTURED_FACES - len(tiles))
            tiles += [
                face_tile(seen[i], points[i].numpy(), drawn[i], self._markup, float(error[i]))
                for i in range(shown)
            ]
            errors += error.tolist()
        metrics = {"nme": round(float(np.mean(errors)), 5)}
        self._write("validation.csv", {"step": step, "input_px": input_px, **metrics})
        self._scalars("validation", step, metrics)
        picture = sheet(tiles)
        (self._run / "validation").mkdir(exist_ok=True)
        write_picture(self._run / "validation" / f"{step:06}.jpg", picture)
        if self._board is not None:
            self._board.add_image("validation", picture, step, dataformats="HWC")
        return metrics["nme"]

    def close(self) -> None:
        """Write out what TensorBoard still buffers."""
        if self._board is not None:
            self._board.close()

    def _scalars(self, group: str, step: int, metrics: dict[str, float]) -> None:
        if self._board is not None:
            for name, value in metrics.items():
                self._board.add_scalar(f"{name}/{group}", value, step)

    def _write(self, name: str, row: dict[str, float]) -> None:
        path = self._run / name
        new = not path.exists()
        with path.open("a", newline="") as file:
            writer = csv.DictWriter(file, list(row))
            if new:
                writer.writeheader()
            writer.writerow(row)


@torch.inference_mode()
def _predict(network: nn.Module, crops: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
    """Points B×N×2 and last heatmaps B×K×s×s of uint8 crops B×S×S×3, on the CPU."""
    network.eval()
    device = next(network.parameters()).device
    prediction = network(normalise(torch.from_numpy(crops).to(device)))
    return prediction.points.float().cpu(), prediction.heatmaps[-1].float().cpu()
