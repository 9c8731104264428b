"""What the tests of training share: a source of one public-domain face."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from lwbafa.checkpoint import Checkpoint
from lwbafa.engine.choose import EngineOptions, create_engine
from lwbafa.imaging.crop import Crop
from lwbafa.types import FaceBox, Pixels
from proof.harness.checkpoints import LITE
from tests.conftest import ASTRONAUT_POINTS


@pytest.fixture(scope="session")
def data(astronaut: Pixels, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source of one face, annotated by the network itself and then moved by three pixels."""
    root = tmp_path_factory.mktemp("data")
    (root / "set").mkdir()
    engine = create_engine(Checkpoint.load(LITE), EngineOptions("torch", "cpu"))
    crop = Crop.around(FaceBox.around(np.array(list(ASTRONAUT_POINTS.values()))))
    (answer,) = engine.align([crop.cut(astronaut, 256)])
    lines = [f"{x + 4} {y + 1}" for x, y in crop.to_image(answer.points)]  # .pts are 1-based
    text = "\n".join(["version: 1", "n_points: 68", "{", *lines, "}"])
    (root / "set" / "astronaut.pts").write_text(text)
    cv2.imwrite(str(root / "set" / "astronaut.png"), cv2.cvtColor(astronaut, cv2.COLOR_RGB2BGR))
    return root
