"""The endpoints beside align, and what the documents say of all of them."""

import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.keys import new_key
from lwbafa.types import Pixels
from tests.conftest import encode, running_server

JPEG = {"Content-Type": "image/jpeg"}
ORIGIN = "https://photos.example"


def test_models(client: httpx.Client) -> None:
    answer = client.get("/v1/models").json()
    assert (answer["default_max_faces"], answer["max_request_faces"]) == (16, 32)
    assert answer["max_detection_px"] == 3840
    (model,) = answer["models"]
    assert model["name"] == "lwbafa-lite-300w68"
    assert model["landmark_count"] == 68
    assert len(model["boundaries"]) == 13
    assert model["groups"]["jaw"] == list(range(17))
    assert model["input"]["size_px"] == 256
    assert {row["box"] for row in model["accuracy"]} == {"landmarks", "detector"}
    assert "research" in model["terms"]


def test_an_answer_says_how_many_faces_there_were_and_how_many_there_may_be(
    astronaut: Pixels,
) -> None:
    row = encode(np.concatenate([astronaut[40:240, 120:320]] * 3, axis=1), ".jpg")
    with running_server(max_request_faces=2) as url:

        def ask(**query: Any) -> dict[str, Any]:
            answer = httpx.post(
                f"{url}/v1/align", content=row, headers=JPEG, params=query, timeout=60
            )
            told: dict[str, Any] = answer.json()
            return told

        limits = httpx.get(f"{url}/v1/models").json()
        assert (limits["default_max_faces"], limits["max_request_faces"]) == (2, 2)
        for query, limit in (({}, 2), ({"max_faces": 1}, 1), ({"max_faces": 99}, 2)):
            answer = ask(**query)
            told = (len(answer["faces"]), answer["found_faces"], answer["max_faces"])
            assert told == (limit, 3, limit)
        answer = ask(boxes="[[60,50,90,88]]")
        assert (answer["found_faces"], answer["max_faces"]) == (None, None)


@pytest.mark.parametrize("deadline", ["1", "2"])
def test_a_callers_own_deadline_has_a_code_of_its_own(
    client: httpx.Client, astronaut_jpeg: bytes, deadline: str
) -> None:
    headers = {**JPEG, "X-Deadline-Ms": deadline}
    answer = client.post("/v1/align", content=astronaut_jpeg, headers=headers)
    assert (answer.status_code, answer.json()["code"]) in (
        (504, "caller_deadline_exceeded"),
        (429, "queue_full"),
    )


def test_the_services_deadline_has_its_code_whatever_longer_one_a_caller_names(
    astronaut_jpeg: bytes,
) -> None:
    with running_server(request_deadline_ms=3) as url:
        for more in ({}, {"X-Deadline-Ms": "3"}, {"X-Deadline-Ms": "9000"}):
            answer = httpx.post(f"{url}/v1/align", content=astronaut_jpeg, headers=JPEG | more)
            assert answer.status_code in (429, 504)
            assert answer.json()["code"] in ("deadline_exceeded", "queue_full")


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("image/*", "image/png"),
        ("image/avif,image/webp,image/*,*/*;q=0.8", "image/png"),
        ("application/json;q=0.5, image/*;q=0.6", "image/png"),
        ("image/*, image/png;q=0", "image/svg+xml"),
        ("image/svg+xml", "image/svg+xml"),
        ("application/json, image/svg+xml", "application/json"),
        ("text/html,image/webp,*/*;q=0.8", "application/json"),
        ("*/*", "application/json"),
        ("", "application/json"),
        ("image/*;q=x", "application/json"),
    ],
)
def test_who_wants_a_picture_gets_it(
    client: httpx.Client, astronaut_jpeg: bytes, accept: str, media_type: str
) -> None:
    headers = {**JPEG, "Accept": accept}
    answer = client.post("/v1/align", content=astronaut_jpeg, headers=headers)
    assert answer.headers["content-type"] == media_type


def test_what_a_caller_wants_may_stand_on_several_lines(
    client: httpx.Client, astronaut_jpeg: bytes
) -> None:
    lines = [*JPEG.items(), ("Accept", "text/html"), ("Accept", "image/svg+xml")]
    answer = client.post("/v1/align", content=astronaut_jpeg, headers=lines)
    assert answer.headers["content-type"] == "image/svg+xml"


@pytest.mark.parametrize(
    "path", ["/livez", "/readyz", "/metrics", "/v1/models", "/docs", "/openapi.json"]
)
def test_head_answers_wherever_get_does(client: httpx.Client, path: str) -> None:
    got, head = client.get(path), client.head(path)
    assert head.status_code == got.status_code == 200
    assert head.headers["content-type"] == got.headers["content-type"]
    assert head.content == b""
    if path != "/metrics":
        assert head.headers["content-length"] == got.headers["content-length"]
    assert client.get("/livez").text == "live", "the connection is still in step"


def test_head_of_what_get_does_not_answer_is_refused(client: httpx.Client) -> None:
    assert client.head("/v1/align").status_code == 405
    assert client.head("/v2").status_code == 404


def preflight(url: str, origin: str = ORIGIN) -> httpx.Response:
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type,x-api-key,x-deadline-ms",
    }
    return httpx.options(f"{url}/v1/align", headers=asked)


def test_pages_of_allowed_origins_may_call_and_ask_before_they_have_a_key(
    astronaut_jpeg: bytes,
) -> None:
    key, entry = new_key("web")
    settings = {"cors_origins": f"{ORIGIN},http://localhost:3000", "api_keys": entry}
    with running_server(**settings) as url:
        allowed = preflight(url)
        assert allowed.status_code == 200
        assert allowed.headers["access-control-allow-origin"] == ORIGIN
        assert "POST" in allowed.headers["access-control-allow-methods"]
        other = preflight(url, "https://elsewhere.example")
        assert other.status_code == 400
        assert "access-control-allow-origin" not in other.headers
        headers = {**JPEG, "Origin": ORIGIN}
        refused = httpx.post(f"{url}/v1/align", content=astronaut_jpeg, headers=headers)
        assert refused.status_code == 401
        headers["X-API-Key"] = key
        answer = httpx.post(f"{url}/v1/align", content=astronaut_jpeg, headers=headers, timeout=60)
        assert answer.status_code == 200
        for told in (refused, answer):
            assert told.headers["access-control-allow-origin"] == ORIGIN
            exposed = told.headers["access-control-expose-headers"].lower()
            assert {"x-request-id", "retry-after"} <= set(exposed.split(", "))


def test_no_page_of_another_origin_may_call_unless_it_is_allowed(client: httpx.Client) -> None:
    answer = preflight(str(client.base_url))
    assert answer.status_code == 405
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_probes(client: httpx.Client) -> None:
    assert client.get("/livez").status_code == 200
    assert client.get("/readyz").json() == {"ready": True, "reasons": []}


def test_metrics_tell_latency_stages_batches_queue_and_model(
    client: httpx.Client, astronaut_jpeg: bytes
) -> None:
    client.post("/v1/align", files={"image": astronaut_jpeg})
    client.post("/v1/align", files={"image": b"nonsense"})
    families = {f.name: f for f in text_string_to_metric_families(client.get("/metrics").text)}

    def value(family: str, sample: str, **labels: str) -> float:
        return sum(
            s.value
            for s in families[family].samples
            if s.name == sample and labels.items() <= s.labels.items()
        )

    latency = ("lwbafa_request_seconds", "lwbafa_request_seconds_count")
    assert value(*latency, route="/v1/align", method="POST", status="200") >= 1
    assert value(*latency, route="/v1/align", method="POST", status="415") >= 1
    assert value("lwbafa_errors", "lwbafa_errors_total", code="unsupported_media_type") >= 1
    for stage in ("read", "decode", "detect", "crop", "queue", "network", "map_back", "render"):
        assert value("lwbafa_stage_seconds", "lwbafa_stage_seconds_count", stage=stage) >= 1
    assert value("lwbafa_batch_faces", "lwbafa_batch_faces_sum") >= 1
    assert value("lwbafa_queue_faces", "lwbafa_queue_faces") == 0
    (model,) = families["lwbafa_model_info"].samples
    assert model.labels["name"] == "lwbafa-lite-300w68"


def test_unknown_paths_do_not_become_metric_labels(client: httpx.Client) -> None:
    client.get("/v1/some-scanner's-path")
    assert "scanner" not in client.get("/metrics").text


def test_the_documentation_page_needs_no_other_server(client: httpx.Client) -> None:
    page = client.get("/docs").text
    for address in re.findall(r'(?:src|href)="([^"]+)"', page):
        assert address.startswith("/"), address
        assert client.get(address).status_code == 200
    assert "/openapi.json" in page


@pytest.mark.parametrize("path", ["/v1/align/", "/v1/models/", "/livez/"])
def test_a_path_with_a_slash_too_many_is_not_redirected(client: httpx.Client, path: str) -> None:
    answer = client.post(path, headers={"X-Forwarded-Proto": "https"})
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert "location" not in answer.headers


def test_a_full_house_is_refused_at_once(astronaut_jpeg: bytes) -> None:
    headers = {"Content-Type": "image/jpeg"}
    with running_server(max_inflight_requests=1) as url, ThreadPoolExecutor(8) as pool:

        def post(_: int) -> httpx.Response:
            return httpx.post(
                f"{url}/v1/align", content=astronaut_jpeg, headers=headers, timeout=60
            )

        answers: list[httpx.Response] = []
        while not any(answer.status_code == 429 for answer in answers):
            assert len(answers) < 80, "eight callers at once were never too many"
            answers += pool.map(post, range(8))
    assert any(answer.status_code == 200 for answer in answers)
    for refused in (answer for answer in answers if answer.status_code != 200):
        assert (refused.status_code, refused.json()["code"]) == (429, "queue_full")
        assert int(refused.headers["retry-after"]) >= 1
