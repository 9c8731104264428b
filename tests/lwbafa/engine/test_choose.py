"""Which engine is built under which settings and measured accuracies."""

import sys

import pytest
import torch

from lwbafa.checkpoint import Accuracy, Checkpoint, EngineCheck, EngineName, Manifest
from lwbafa.engine import choose, openvino_engine
from lwbafa.engine.choose import ENGINES, EngineOptions, choose_device, create_engine
from lwbafa.errors import LoadError
from proof.harness.checkpoints import FULL

CPU_ONLY = not torch.cuda.is_available()


def measured(
    manifest: Manifest, engine: EngineName, loss: float, heatmaps: float = 0.001
) -> Manifest:
    """The manifest with an engine whose NME is so much worse, relatively."""
    rows = tuple(
        row.model_copy(update={"nme_percent": (1 + loss) * row.nme_percent})
        for row in manifest.accuracy
    )
    check = EngineCheck(engine=engine, accuracy=rows, heatmap_difference=heatmaps)
    return manifest.model_copy(update={"engines": (*manifest.engines, check)})


@pytest.fixture
def manifest(checkpoint: Checkpoint) -> Manifest:
    """A manifest in which only eager fp32 is measured."""
    rows = tuple(
        Accuracy(
            dataset="set",
            faces=330,
            missed_faces=0,
            box=box,
            nme_percent=4.0,
            failure_rate_percent=0.3,
            auc=0.58,
        )
        for box in ("landmarks", "detector")
    )
    return checkpoint.manifest.model_copy(update={"accuracy": rows, "engines": ()})


def test_eager_fp32_always_keeps_its_accuracy(manifest: Manifest) -> None:
    assert manifest.keeps_accuracy("torch")


def test_an_engine_that_was_not_measured_is_not_trusted(manifest: Manifest) -> None:
    assert not manifest.keeps_accuracy("openvino")


@pytest.mark.parametrize(("loss", "kept"), [(-0.01, True), (0.009, True), (0.011, False)])
def test_at_most_one_percent_is_lost(manifest: Manifest, loss: float, kept: bool) -> None:
    assert measured(manifest, "openvino-int8", loss).keeps_accuracy("openvino-int8") is kept


def test_one_box_that_loses_more_is_enough(manifest: Manifest) -> None:
    good = measured(manifest, "openvino", 0)
    landmarks, detector = good.engines[0].accuracy
    worse = (landmarks, detector.model_copy(update={"nme_percent": 4.05}))
    check = good.engines[0].model_copy(update={"accuracy": worse})
    assert not good.model_copy(update={"engines": (check,)}).keeps_accuracy("openvino")


def test_an_engine_measured_from_one_box_only_is_not_trusted(manifest: Manifest) -> None:
    good = measured(manifest, "openvino", 0)
    check = good.engines[0].model_copy(update={"accuracy": good.engines[0].accuracy[:1]})
    assert not good.model_copy(update={"engines": (check,)}).keeps_accuracy("openvino")


def test_heatmaps_that_differ_are_not_trusted(manifest: Manifest) -> None:
    good = measured(manifest, "openvino", 0, heatmaps=0.02)
    assert not good.keeps_accuracy("openvino")


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the CPU engines that are asked for, none of which is built."""
    names: list[str] = []
    monkeypatch.setattr(choose, "_on_cpu", lambda name, *_: names.append(name))
    return names


def auto(manifest: Manifest) -> None:
    create_engine(Checkpoint(FULL, manifest), EngineOptions(device="cpu"))


def test_auto_takes_the_fastest_that_keeps_the_accuracy(
    manifest: Manifest, built: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choose, "has_vnni", lambda: True)
    auto(manifest)
    fp32 = measured(manifest, "openvino", 0)
    auto(fp32)
    auto(measured(fp32, "openvino-int8", 0.02))
    auto(measured(fp32, "openvino-int8", 0.005))
    assert built == ["torch", "openvino", "openvino", "openvino-int8"]


def test_auto_takes_int8_only_on_instructions_it_was_measured_on(
    manifest: Manifest, built: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choose, "has_vnni", lambda: False)
    auto(measured(measured(manifest, "openvino", 0), "openvino-int8", 0))
    assert built == ["openvino"]


def test_auto_goes_on_where_an_engine_does_not_run(
    manifest: Manifest, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def unsupported(*_: object) -> None:
        raise RuntimeError("no such instruction")

    monkeypatch.setattr(openvino_engine, "OpenVinoEngine", unsupported)
    trusted = measured(manifest, "openvino", 0)
    engine = create_engine(Checkpoint(FULL, trusted), EngineOptions(device="cpu"))
    assert engine.name == "torch"
    assert "no such instruction" in caplog.text


def test_what_is_asked_for_is_built_whatever_was_measured(manifest: Manifest) -> None:
    options = EngineOptions("openvino", "cpu")
    assert create_engine(Checkpoint(FULL, manifest), options).name == "openvino"


def test_an_engine_whose_model_is_not_shipped_is_passed_over(
    manifest: Manifest, built: list[str]
) -> None:
    auto(measured(manifest, "openvino", 0).model_copy(update={"fp32_model": None}))
    assert built == ["torch"]


def test_int8_that_a_checkpoint_lacks_cannot_be_asked_for(manifest: Manifest) -> None:
    bare = manifest.model_copy(update={"int8_model": None})
    with pytest.raises(LoadError, match="no model for the engine openvino-int8"):
        create_engine(Checkpoint(FULL, bare), EngineOptions("openvino-int8"))


def test_an_engine_that_there_is_not_is_named(checkpoint: Checkpoint) -> None:
    with pytest.raises(LoadError, match="no engine onnx; there are: openvino-int8, "):
        create_engine(checkpoint, EngineOptions("onnx"))


def test_an_engine_whose_package_is_not_installed_is_told(
    monkeypatch: pytest.MonkeyPatch, checkpoint: Checkpoint
) -> None:
    monkeypatch.delitem(sys.modules, ENGINES["torch"], raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(LoadError, match="engine torch needs the package torch, which is not"):
        create_engine(checkpoint, EngineOptions("torch"))


def test_device_choice() -> None:
    assert choose_device(EngineOptions(device="cpu")) == "cpu"
    assert choose_device(EngineOptions("openvino")) == "cpu"
    assert choose_device(EngineOptions()) == ("cpu" if CPU_ONLY else "cuda")
    with pytest.raises(LoadError, match="device is set to cuda"):
        choose_device(EngineOptions("openvino-int8", "cuda"))


@pytest.mark.skipif(not CPU_ONLY, reason="there is a CUDA device")
def test_cuda_cannot_be_asked_for_without_it() -> None:
    with pytest.raises(LoadError, match="no CUDA device"):
        choose_device(EngineOptions(device="cuda"))
