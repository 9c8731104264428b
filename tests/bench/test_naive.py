"""The naive service answers what the real one does, so that the two can be compared."""

from collections.abc import AsyncIterator

import httpx
import pytest

from app.settings import Settings
from bench.naive import create_app
from proof.harness.photographs import Upload, astronaut
from tests.conftest import ASTRONAUT_POINTS


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app(Settings()))
    async with httpx.AsyncClient(transport=transport, base_url="http://naive") as http:
        yield http


@pytest.fixture
def upload() -> Upload:
    return astronaut()


@pytest.mark.parametrize("with_box", [True, False], ids=["box given", "detection"])
async def test_it_finds_the_astronauts_points(
    client: httpx.AsyncClient, upload: Upload, with_box: bool
) -> None:
    answer = await client.post(
        "/v1/align",
        content=upload.body,
        headers=upload.headers,
        params=upload.boxes if with_box else {},
    )
    (face,) = answer.raise_for_status().json()
    for index, point in ASTRONAUT_POINTS.items():
        assert face[index] == pytest.approx(point, abs=8)


async def test_it_says_that_it_is_ready(client: httpx.AsyncClient) -> None:
    for path in ("/livez", "/readyz"):
        assert (await client.get(path)).status_code == 200
