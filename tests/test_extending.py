"""`docs/extending.md` says what is true, and each of its five things can be added as it says."""

import hashlib
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import httpx
import numpy as np
import pytest
import safetensors.torch
import torch
from fastapi import APIRouter

from app.api import app as wiring
from app.service import Service
from app.settings import Settings
from lwbafa import FaceAligner
from lwbafa.checkpoint import BoxConvention, Checkpoint, InputContract, Manifest, Training
from lwbafa.detection import Detection
from lwbafa.detection.choose import DETECTORS, DetectorOptions
from lwbafa.engine import Alignment
from lwbafa.engine.choose import ENGINES, EngineOptions
from lwbafa.markups import MARKUPS, Boundary, Markup
from lwbafa.network import ARCHITECTURES, LW_BAFA, Architecture, BoundaryAwareNetwork
from lwbafa.types import FaceBox, Pixels
from proof.harness import ROOT
from proof.harness.faulty_service import faulty_engine

PAGE = (ROOT / "docs" / "extending.md").read_text()

SMALL = Architecture("small", 64, 0.25, True, (64, 64), (64, 64), 3)
FIVE = Markup(
    name="five",
    flip=(1, 0, 2, 4, 3),
    boundaries=(Boundary("eyes", (0, 1), 0), Boundary("mouth", (3, 4), 1)),
    groups={"eyes": (0, 1), "nose": (2,), "mouth": (3, 4)},
    outer_eye_corners=(0, 1),
)
BOX = FaceBox(10, 20, 30, 40)


def test_every_file_and_every_line_that_the_page_names_is_there() -> None:
    for path in re.findall(r"`((?:lwbafa|app|tests|training|docs)/[\w/.]+\.\w+)`", PAGE):
        if "NAME" not in path:
            assert (ROOT / path).is_file(), path
    for registry, path in re.findall(r"in `([A-Z]+)` of `([\w/.]+)`", PAGE):
        assert re.search(rf"^{registry}\b.* = ", (ROOT / path).read_text(), re.MULTILINE), registry


def module(monkeypatch: pytest.MonkeyPatch, create: Callable[..., object]) -> str:
    """The new file: a module that makes one thing."""
    made = ModuleType(f"added_{create.__name__}")
    made.create = create  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, made.__name__, made)
    return made.__name__


class OneBox:
    """A detector that always finds the same face."""

    longest_side_px = 640
    clear_score = 0.5

    def detect(self, image: Pixels) -> list[Detection]:  # noqa: ARG002
        return [Detection(BOX, 0.9)]


def test_a_detector_is_a_file_and_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def one_box(options: DetectorOptions) -> OneBox:
        return OneBox()

    monkeypatch.setitem(DETECTORS, "one-box", module(monkeypatch, one_box))
    settings = Settings(detector="one-box")
    service = Service(settings, faulty_engine)
    assert service.models.default.aligner.detector.detect(np.zeros((9, 9, 3), np.uint8))
    aligner = FaceAligner.load(detector=DetectorOptions("one-box"))
    (face,) = aligner.align(np.zeros((99, 99, 3), np.uint8))
    assert face.box == BOX


class Middle:
    """An engine that sees every landmark in the middle."""

    name, device = "middle", "cpu"

    def warm_up(self, max_batch: int) -> None:
        pass

    def align(self, crops: list[Pixels]) -> list[Alignment]:
        points = np.full((68, 2), 0.5, np.float32)
        heatmap = np.zeros((64, 64), np.uint8)
        return [Alignment(points, np.ones(68, np.float32), heatmap) for _ in crops]


def test_an_engine_is_a_file_and_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def middle(name: str, checkpoint: Checkpoint, threads: int) -> Middle:
        return Middle()

    monkeypatch.setitem(ENGINES, "middle", module(monkeypatch, middle))
    assert Settings(engine="middle").engine == "middle"
    aligner = FaceAligner.load(engine=EngineOptions("middle"))
    (face,) = aligner.align(np.zeros((99, 99, 3), np.uint8), boxes=[BOX])
    assert face.landmarks[0] == pytest.approx((25, 40))


@pytest.fixture
def small_five(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A checkpoint of a new network and a new markup, its weights untrained, its crops 128 px."""
    monkeypatch.setitem(ARCHITECTURES, SMALL.name, SMALL)
    monkeypatch.setitem(MARKUPS, FIVE.name, FIVE)
    network = BoundaryAwareNetwork(SMALL, FIVE)
    weights = safetensors.torch.save({k: v.contiguous() for k, v in network.state_dict().items()})
    folder = tmp_path / "small-five"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(weights)
    manifest = Manifest(
        name="small-five",
        version="0.0.1",
        architecture=SMALL.name,
        markup=FIVE.name,
        weights_file="model.safetensors",
        sha256=hashlib.sha256(weights).hexdigest(),
        input=InputContract(size_px=128),
        box_convention=BoxConvention(crop_scale=1.5),
        training=Training(data="none", terms="none", recipe="none", hardware="none"),
        accuracy=(),
    )
    (folder / "manifest.json").write_text(manifest.model_dump_json())
    return folder


async def test_a_network_and_a_markup_are_a_line_each_and_are_served(
    small_five: Path, astronaut_jpeg: bytes
) -> None:
    threads = torch.get_num_threads()
    service = Service(Settings(checkpoint_dirs=(small_five,), engine="torch", network_threads=1))
    transport = httpx.ASGITransport(wiring.create_app(service))
    service.start()
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as http:
        while (await http.get("/readyz")).status_code != 200:
            pass
        answer = await http.post(
            "/v1/align",
            content=astronaut_jpeg,
            headers={"Content-Type": "image/jpeg"},
            params={"boxes": "[[181,86,88,92]]", "heatmap": "true"},
        )
        (listed,) = (await http.get("/v1/models")).json()["models"]
    await service.stop()
    torch.set_num_threads(threads)
    (face,) = answer.json()["faces"]
    assert len(face["landmarks"]) == 5
    assert answer.json()["model"]["groups"]["mouth"] == [3, 4]
    # The manifest's crop: one and a half times the box's longer side.
    assert face["heatmap"]["box"]["width"] == pytest.approx(1.5 * 92)
    assert (listed["architecture"], listed["input"]["size_px"]) == ("small", 128)


def test_the_manifests_input_size_decides_what_the_network_reads(small_five: Path) -> None:
    aligner = FaceAligner.load(small_five, engine=EngineOptions("torch", "cpu", threads=1))
    (face,) = aligner.align(np.zeros((99, 99, 3), np.uint8), boxes=[BOX])
    assert face.heatmap.shape == (32, 32)
    assert LW_BAFA.width > SMALL.width


async def test_an_endpoint_is_a_file_and_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    router = APIRouter()

    @router.get("/v1/hello")
    async def hello() -> str:
        return "hello"

    monkeypatch.setattr(wiring, "ROUTERS", (*wiring.ROUTERS, router))
    service = Service(Settings(api_keys="web:" + 64 * "0"), faulty_engine)
    transport = httpx.ASGITransport(wiring.create_app(service))
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as http:
        assert (await http.get("/v1/hello")).status_code == 401
    open_to_all = httpx.ASGITransport(wiring.create_app(Service(Settings(), faulty_engine)))
    async with httpx.AsyncClient(transport=open_to_all, base_url="http://service") as http:
        assert (await http.get("/v1/hello")).json() == "hello"
