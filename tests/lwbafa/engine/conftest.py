"""A real checkpoint, the plain network to compare with, and different crops of a real face."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lwbafa.checkpoint import Checkpoint
from lwbafa.imaging.crop import Crop
from lwbafa.network import normalise
from lwbafa.types import FaceBox, Pixels
from proof.harness.checkpoints import FULL


@pytest.fixture(scope="session")
def checkpoint() -> Checkpoint:
    return Checkpoint.load(FULL)


@pytest.fixture(scope="session")
def crops(astronaut: Pixels) -> list[Pixels]:
    """Eight different crops around the face."""
    boxes = [FaceBox(180 + 3 * i, 90 - 2 * i, 90 + i, 88) for i in range(8)]
    return [Crop.around(box).cut(astronaut, 256) for box in boxes]


@pytest.fixture(scope="session")
def plain(
    checkpoint: Checkpoint, crops: list[Pixels]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The network's own points and last heatmaps (raw) for the crops, as it was trained."""
    network = checkpoint.load_network()
    with torch.inference_mode():
        prediction = network(normalise(torch.from_numpy(np.stack(crops))))
    return prediction.points.numpy(), prediction.heatmaps[-1].numpy()
