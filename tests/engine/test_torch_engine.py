import weakref

import numpy as np
import pytest
import torch

from app.checkpoints import Checkpoint, load_checkpoint
from app.engine.torch_engine import TorchEngine, choose_device
from app.errors import StartupError
from app.imaging.crop import Crop, FaceBox, Image
from app.lwbafa import MARKUP_98, BoundaryAwareNetwork, normalise
from app.lwbafa.network import LW_BAFA
from app.settings import Settings

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return load_checkpoint(Settings().checkpoint_dir)


@pytest.fixture(scope="module")
def engine() -> TorchEngine:
    own = load_checkpoint(Settings().checkpoint_dir)
    return TorchEngine(own.network, own.markup, CPU, threads=2)


@pytest.fixture(scope="module")
def crops(astronaut: Image) -> list[Image]:
    """Eight different crops around the face."""
    boxes = [FaceBox(180 + 3 * i, 90 - 2 * i, 90 + i, 88) for i in range(8)]
    return [Crop.around(box).cut(astronaut, 256) for box in boxes]


def test_the_engine_answers_as_the_plain_network(
    engine: TorchEngine, checkpoint: Checkpoint, crops: list[Image]
) -> None:
    with torch.inference_mode():
        plain = checkpoint.network(normalise(torch.from_numpy(crops[0][None])))
    answer = engine.align(crops[:1])[0]
    assert np.abs(answer.points - plain.points[0].numpy()).max() * 256 < 0.01
    merged = plain.heatmaps[-1][0].amax(0).clamp(0, 1).numpy() * 255
    assert np.abs(answer.heatmap - merged).max() <= 1


def test_an_answer_does_not_depend_on_its_companions(
    engine: TorchEngine, crops: list[Image]
) -> None:
    together = engine.align(crops)
    for i in (0, 3, 7):
        alone = engine.align([crops[i]])[0]
        assert np.abs(alone.points - together[i].points).max() * 256 <= 0.01
        assert np.abs(alone.scores - together[i].scores).max() <= 0.001


def test_scores_are_the_heatmaps_values_at_the_points(
    engine: TorchEngine, checkpoint: Checkpoint, crops: list[Image]
) -> None:
    with torch.inference_mode():
        plain = checkpoint.network(normalise(torch.from_numpy(crops[0][None])))
    heatmaps = plain.heatmaps[-1][0].clamp(0, 1).numpy()
    answer = engine.align(crops[:1])[0]
    for landmark in (8, 36, 51):
        x, y = answer.points[landmark] * 64 - 0.5
        left, top = int(np.floor(x)), int(np.floor(y))
        fx, fy = x - left, y - top
        values = [
            np.array([1 - fy, fy]) @ heatmaps[k, top : top + 2, left : left + 2] @ [1 - fx, fx]
            for k in checkpoint.markup.boundaries_of_landmark[landmark]
        ]
        assert answer.scores[landmark] == pytest.approx(max(values), abs=1e-3)


def test_points_on_no_boundary_have_no_score() -> None:
    torch.manual_seed(0)
    engine = TorchEngine(BoundaryAwareNetwork(LW_BAFA, MARKUP_98), MARKUP_98, CPU, threads=2)
    (answer,) = engine.align([np.zeros((256, 256, 3), np.uint8)])
    assert np.isnan(answer.scores).nonzero()[0].tolist() == [96, 97]


def test_a_batch_too_large_for_the_device_is_a_memory_error_and_lets_go_of_its_memory(
    monkeypatch: pytest.MonkeyPatch, crops: list[Image]
) -> None:
    own = load_checkpoint(Settings().checkpoint_dir)
    engine = TorchEngine(own.network, own.markup, CPU, threads=2)
    network, seen = engine._network, []

    def runs_out(batch: torch.Tensor) -> object:
        if len(batch) > 2:
            seen.append(weakref.ref(batch))
            raise torch.OutOfMemoryError("CUDA out of memory")
        return network(batch)

    monkeypatch.setattr(engine, "_network", runs_out)
    with pytest.raises(MemoryError, match="CUDA out of memory") as error:
        engine.align(crops[:3])
    assert error.value.__context__ is None
    assert [batch() for batch in seen] == [None]
    assert len(engine.align(crops[:2])) == 2


def test_device_choice() -> None:
    assert choose_device("cpu") == CPU
    if torch.cuda.is_available():
        assert choose_device("auto").type == "cuda"
    else:
        assert choose_device("auto") == CPU
        with pytest.raises(StartupError, match="no CUDA device"):
            choose_device("cuda")
