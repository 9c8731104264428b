"""API keys and security headers, through the application and over real sockets."""

import re
import time
from collections.abc import Iterator

import httpx
import pytest
from fastapi import FastAPI

from app.api.app import create_app
from app.api.middleware.api_keys import TokenBucket
from app.errors import StartupError
from app.keys import new_key
from app.service import Service
from app.settings import Settings, read_settings
from tests.app.api.raw import connect, head, metric
from tests.conftest import running_server

KEY, ENTRY = new_key("web")
OTHER_KEY, OTHER_ENTRY = new_key("batch")
JPEG = {"Content-Type": "image/jpeg"}
OPEN_PATHS = ("/livez", "/readyz", "/metrics", "/docs", "/openapi.json")


@pytest.fixture(scope="module")
def service() -> Service:
    return Service(Settings())


def client_of(service: Service, **settings: object) -> httpx.AsyncClient:
    service.settings = Settings.model_validate(settings)
    transport = httpx.ASGITransport(create_app(service))
    return httpx.AsyncClient(transport=transport, base_url="http://service")


@pytest.mark.parametrize(
    "headers",
    [{"Authorization": f"Bearer {KEY}"}, {"authorization": f"bearer {KEY}"}, {"X-API-Key": KEY}],
)
async def test_a_known_key_is_let_in(service: Service, headers: dict[str, str]) -> None:
    async with client_of(service, api_keys=ENTRY) as http:
        assert (await http.get("/v1/models", headers=headers)).status_code == 200


@pytest.mark.parametrize("headers", [{}, {"Authorization": KEY}, {"Authorization": f"Basic {KEY}"}])
async def test_no_key_is_a_401_that_says_how(service: Service, headers: dict[str, str]) -> None:
    async with client_of(service, api_keys=ENTRY) as http:
        response = await http.get("/v1/models", headers=headers)
    assert (response.status_code, response.json()["code"]) == (401, "api_key_missing")
    assert response.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer {OTHER_KEY}"},
        {"X-API-Key": OTHER_KEY},
        {"X-API-Key": ""},
        {"X-API-Key": ENTRY},
        {"X-API-Key": "é".encode("latin-1")},
        {"X-API-Key": OTHER_KEY, "Authorization": f"Bearer {KEY}"},
    ],
)
async def test_a_wrong_key_is_a_401_that_does_not_show_it(
    service: Service, headers: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    async with client_of(service, api_keys=ENTRY) as http:
        response = await http.get("/v1/models", headers=headers)
    assert (response.status_code, response.json()["code"]) == (401, "api_key_wrong")
    assert response.headers["www-authenticate"] == 'Bearer error="invalid_token"'
    assert OTHER_KEY not in response.text + caplog.text


async def test_all_of_v1_is_guarded_routed_or_not_and_nothing_else_is(service: Service) -> None:
    async with client_of(service, api_keys=ENTRY) as http:
        for path in ("/v1", "/v1/", "/v1/align", "/v1/models", "/v1/models/", "/v1/tomorrow"):
            for method in ("GET", "POST", "OPTIONS", "HEAD", "PUT"):
                assert (await http.request(method, path)).status_code == 401, (method, path)
        for path in OPEN_PATHS:
            assert (await http.get(path)).status_code in (200, 503), path
        assert (await http.get("/v2")).status_code == 404
        assert (await http.get("/%76%31/models")).status_code == 401


async def test_a_future_route_below_v1_is_guarded_without_a_word_of_its_own(
    service: Service,
) -> None:
    service.settings = Settings(api_keys=ENTRY)
    app: FastAPI = create_app(service)

    @app.get("/v1/later")
    async def later() -> str:
        return "secret"

    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as http:
        assert (await http.get("/v1/later")).status_code == 401
        assert (await http.get("/v1/later", headers={"X-API-Key": KEY})).json() == "secret"


async def test_without_keys_all_may_call(service: Service) -> None:
    async with client_of(service) as http:
        assert (await http.get("/v1/models")).status_code == 200
        assert (await http.get("/v1/models", headers={"X-API-Key": "x"})).status_code == 200


async def test_requests_are_counted_by_the_name_of_their_key(service: Service) -> None:
    async with client_of(service, api_keys=f"{ENTRY},{OTHER_ENTRY}") as http:

        async def count() -> float:
            found = re.search(
                r'requests_total\{key="batch"\} (\d+)', (await http.get("/metrics")).text
            )
            return float(found[1]) if found else 0.0

        before = await count()
        for key in (OTHER_KEY, OTHER_KEY, KEY, "wrong"):
            await http.get("/v1/models", headers={"X-API-Key": key})
        assert await count() == before + 2
        assert 'key="wrong"' not in (await http.get("/metrics")).text


async def test_a_key_over_its_rate_is_told_when_to_come_back(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    settings = {"api_keys": f"{ENTRY},{OTHER_ENTRY}", "api_key_requests_per_minute": 6}
    async with client_of(service, **settings) as http:
        for _ in range(6):
            assert (await http.get("/v1/models", headers={"X-API-Key": KEY})).status_code == 200
        now += 2.5
        limited = await http.get("/v1/models", headers={"X-API-Key": KEY})
        assert (limited.status_code, limited.json()["code"]) == (429, "rate_limited")
        assert limited.headers["retry-after"] == "8"
        other = await http.get("/v1/models", headers={"X-API-Key": OTHER_KEY})
        assert other.status_code == 200
        now += 8
        assert (await http.get("/v1/models", headers={"X-API-Key": KEY})).status_code == 200
        assert (await http.get("/v1/models", headers={"X-API-Key": KEY})).status_code == 429


def test_a_bucket_holds_no_more_than_a_minutes_worth(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    bucket = TokenBucket(3)
    now += 3600
    assert [bucket.take() for _ in range(5)] == [0, 0, 0, 20, 20]


def test_a_rate_without_keys_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LWBAFA_API_KEY_REQUESTS_PER_MINUTE", "10")
    with pytest.raises(StartupError, match="needs API keys"):
        read_settings()


@pytest.fixture(scope="module")
def guarded_url() -> Iterator[str]:
    with running_server(api_keys=ENTRY) as address:
        yield address


def test_the_key_is_asked_for_before_the_body_is_read(
    guarded_url: str, astronaut_jpeg: bytes
) -> None:
    with connect(guarded_url, head("image/jpeg", "Content-Length: 9999999")) as caller:
        assert caller.recv(65536).startswith(b"HTTP/1.1 401 ")
    headers = {**JPEG, "X-API-Key": KEY}
    answer = httpx.post(
        f"{guarded_url}/v1/align", content=astronaut_jpeg, headers=headers, timeout=60
    )
    assert answer.status_code == 200
    assert metric(guarded_url, "lwbafa_key_requests_total", key="web") == 1


async def test_every_answer_forbids_guessing_its_type_and_v1_forbids_keeping_it(
    service: Service,
) -> None:
    async with client_of(service) as http:
        for path in (*OPEN_PATHS, "/v1/models", "/v1/align", "/nowhere"):
            headers = (await http.get(path)).headers
            assert headers["x-content-type-options"] == "nosniff", path
            assert (headers.get("cache-control") == "no-store") == path.startswith("/v1"), path
            assert ("content-security-policy" in headers) == (path == "/docs")


async def test_no_other_origin_is_let_in(service: Service) -> None:
    async with client_of(service) as http:
        headers = {"Origin": "https://elsewhere", "Access-Control-Request-Method": "POST"}
        for method in ("OPTIONS", "GET", "POST"):
            answer = await http.request(method, "/v1/align", headers=headers)
            assert not [name for name in answer.headers if name.startswith("access-control")]


async def test_the_documentation_page_keeps_to_its_own_policy(service: Service) -> None:
    """Every script, style and picture of the page is inline or comes from the same place."""
    async with client_of(service) as http:
        page = await http.get("/docs")
    policy = dict(
        entry.strip().split(" ", 1) for entry in page.headers["content-security-policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert "<script>" in page.text
    for kind, pattern in {
        "script": r'<script src="(.*?)"',
        "style": r'stylesheet" href="(.*?)"',
    }.items():
        sources = re.findall(pattern, page.text)
        assert sources
        assert all(source.startswith("/") for source in sources)
        assert policy[f"{kind}-src"] == "'self' 'unsafe-inline'"
