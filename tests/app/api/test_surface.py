"""The endpoints beside align, and what the documents say of all of them."""

import re
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import running_server


def test_models(client: httpx.Client) -> None:
    (model,) = client.get("/v1/models").json()["models"]
    assert model["name"] == "lwbafa-300w68"
    assert model["landmark_count"] == 68
    assert len(model["boundaries"]) == 13
    assert model["groups"]["jaw"] == list(range(17))
    assert model["input"]["size_px"] == 256
    assert {row["box"] for row in model["accuracy"]} == {"landmarks", "detector"}
    assert "research" in model["terms"]


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
    assert model.labels["name"] == "lwbafa-300w68"


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
