"""Several checkpoints in one service: which one answers, and what is told of each."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from app.api.app import create_app
from app.errors import StartupError
from app.service import Service
from app.settings import Settings
from proof.harness.checkpoints import LITE, renamed_checkpoint
from proof.harness.faulty_service import faulty_engine
from proof.harness.metrics import metric

JPEG = {"Content-Type": "image/jpeg"}
BOX = {"boxes": "[[180, 90, 90, 88]]"}


@pytest.fixture
def second(tmp_path: Path) -> Path:
    """The shipped weights under another name; their folder has yet another."""
    return renamed_checkpoint(tmp_path / "folder", "second")


@asynccontextmanager
async def serving(*folders: Path) -> AsyncIterator[tuple[Service, httpx.AsyncClient]]:
    """A started service of some checkpoints, whose engines are quick."""
    service = Service(Settings(checkpoint_dirs=folders, worker_threads=1), faulty_engine)
    transport = httpx.ASGITransport(create_app(service))
    service.start()
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as http:
        while (await http.get("/readyz")).status_code != 200:
            pass
        yield service, http
    await service.stop()


async def test_the_query_names_the_model_and_the_first_is_the_default(
    second: Path, astronaut_jpeg: bytes
) -> None:
    async with serving(LITE, second) as (_, http):
        for query, name in (({}, LITE.name), ({"model": "second"}, "second")):
            answer = await http.post(
                "/v1/align", content=astronaut_jpeg, headers=JPEG, params={**BOX, **query}
            )
            assert answer.status_code == 200
            assert answer.json()["model"]["name"] == name
        listed = (await http.get("/v1/models")).json()["models"]
    assert [model["name"] for model in listed] == [LITE.name, "second"]


async def test_an_unknown_model_is_refused_by_name_before_the_body_is_read(
    second: Path,
) -> None:
    read = False

    async def body() -> AsyncIterator[bytes]:
        nonlocal read
        read = True
        yield b""

    async with serving(LITE, second) as (_, http):
        refused = await http.post(
            "/v1/align", content=body(), headers=JPEG, params={"model": "third"}
        )
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_parameter")
    assert refused.json()["detail"].startswith("model: ")
    assert "second" in refused.json()["detail"]
    assert not read


async def test_a_flood_for_one_model_is_refused_while_the_other_answers(
    second: Path, astronaut_jpeg: bytes
) -> None:
    async with serving(LITE, second) as (service, http):
        flooded = service.models.get("second").batcher
        flooded._max_queue = 0
        for name, status in (("second", 429), (LITE.name, 200)):
            answer = await http.post(
                "/v1/align", content=astronaut_jpeg, headers=JPEG, params={**BOX, "model": name}
            )
            assert answer.status_code == status


async def test_metrics_tell_the_models_apart(second: Path, astronaut_jpeg: bytes) -> None:
    async with serving(LITE, second) as (_, http):
        await http.post(
            "/v1/align", content=astronaut_jpeg, headers=JPEG, params={**BOX, "model": "second"}
        )
        text = (await http.get("/metrics")).text
    assert metric(text, "lwbafa_batch_faces_count", model="second") == 1
    assert metric(text, "lwbafa_batch_faces_count", model=LITE.name) == 0
    for name in (LITE.name, "second"):
        assert metric(text, "lwbafa_model_info", name=name) == 1


def test_two_checkpoints_of_one_name_are_refused_at_the_start() -> None:
    settings = Settings(checkpoint_dirs=(LITE, LITE), worker_threads=1)
    with pytest.raises(StartupError, match="two checkpoints are named lwbafa-lite-300w68"):
        Service(settings, faulty_engine)
