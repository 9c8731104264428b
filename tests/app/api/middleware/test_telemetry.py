import json
import logging
import re
from pathlib import Path

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.api.app import create_app
from app.api.trace import Trace
from app.keys import new_key
from app.logs import JsonLines
from app.service import Service
from app.settings import Settings

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
SENT = f"00-{TRACE_ID}-00f067aa0ba902b7-01"
WELL_FORMED = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-0[0-3]")


def trace_of(*values: str | bytes) -> Trace:
    encoded = (value.encode() if isinstance(value, str) else value for value in values)
    return Trace.of_headers([(b"host", b"x"), *((b"traceparent", value) for value in encoded)])


@pytest.mark.parametrize(
    ("sent", "flags"),
    [
        (SENT, "01"),
        (SENT[:-2] + "00", "00"),
        (SENT[:-2] + "ff", "03"),
        ("01" + SENT[2:], "01"),
        ("cc" + SENT[2:] + "-what-may-come", "01"),
    ],
)
def test_a_valid_trace_is_gone_on_with_in_a_span_of_our_own(sent: str, flags: str) -> None:
    trace = trace_of(sent)
    assert trace.trace_id == TRACE_ID
    assert trace.span_id != "00f067aa0ba902b7"
    assert trace.traceparent == f"00-{TRACE_ID}-{trace.span_id}-{flags}"


INVALID = [
    "",
    "ff" + SENT[2:],
    SENT + "-more",
    SENT + " ",
    SENT.upper(),
    SENT[:-1],
    f"00-{'0' * 32}-00f067aa0ba902b7-01",
    f"00-{TRACE_ID}-{'0' * 16}-01",
    f"cc-{TRACE_ID}-00f067aa0ba902b7-01.more",
]


@pytest.mark.parametrize("sent", INVALID)
def test_an_invalid_trace_is_replaced_by_a_new_one(sent: str) -> None:
    trace = trace_of(sent)
    assert trace.trace_id != TRACE_ID
    assert WELL_FORMED.fullmatch(trace.traceparent)


def test_no_trace_or_two_are_a_new_one() -> None:
    assert trace_of().trace_id != trace_of().trace_id
    assert trace_of(SENT, SENT).trace_id != TRACE_ID


@given(st.binary() | st.text("0123456789abcdef-", max_size=60).map(str.encode))
@example(SENT.encode())
def test_whatever_comes_in_what_goes_out_is_well_formed(sent: bytes) -> None:
    assert WELL_FORMED.fullmatch(trace_of(sent).traceparent)


async def test_the_trace_is_in_the_answer_and_in_the_log_lines(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr("app.api.answers.model_info", broken)
    transport = httpx.ASGITransport(create_app(Service(Settings())))
    with caplog.at_level(logging.INFO, "app"):
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as http:
            response = await http.get("/v1/models", headers={"traceparent": SENT})
    assert response.status_code == 500
    assert "secret" not in response.text
    assert "Traceback" not in response.text
    assert response.headers["traceparent"].startswith(f"00-{TRACE_ID}-")
    lines = [json.loads(JsonLines().format(record)) for record in caplog.records]
    bug, request = (line for line in lines if line["logger"].startswith("app."))
    for line in (bug, request):
        assert line["trace_id"] == TRACE_ID
        assert line["request_id"] == response.headers["x-request-id"]
    assert "secret detail" in bug["traceback"]
    assert request["code"] == "internal_error"


@pytest.fixture(scope="module")
def service() -> Service:
    return Service(Settings())


def client_of(service: Service, **settings: object) -> httpx.AsyncClient:
    service.settings = Settings.model_validate(settings)
    service.metrics.requests.clear()
    transport = httpx.ASGITransport(create_app(service))
    return httpx.AsyncClient(transport=transport, base_url="http://service")


def counted(service: Service) -> dict[tuple[str, str, str], float]:
    """Requests by route, method and status."""
    (family,) = service.metrics.requests.collect()
    return {
        (s.labels["route"], s.labels["method"], s.labels["status"]): s.value
        for s in family.samples
        if s.name.endswith("_count")
    }


def lines_of(caplog: pytest.LogCaptureFixture) -> list[dict[str, object]]:
    """The request log as it is written."""
    records = (record for record in caplog.records if record.name == "app.access")
    return [json.loads(JsonLines().format(record)) for record in records]


async def test_what_strangers_invent_is_one_label(service: Service) -> None:
    async with client_of(service) as http:
        before = len((await http.get("/metrics")).text.splitlines())
        for number in range(100):
            await http.request(f"M{number}", "/v1/align")
            await http.request(f"M{number}", f"/scanned/{number}")
        after = (await http.get("/metrics")).text.splitlines()
    assert counted(service) == {
        ("/metrics", "GET", "200"): 2,
        ("/v1/align", "other", "405"): 100,
        ("unmatched", "any", "404"): 100,
    }
    # A histogram's lines for each of the three, and the codes of the two errors.
    assert len(after) - before < 60


async def test_no_series_tells_when_another_began(service: Service) -> None:
    async with client_of(service) as http:
        await http.get("/v1/models")
        assert "_created" not in (await http.get("/metrics")).text


async def test_the_route_is_told_of_what_does_not_reach_the_router(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    settings = {"api_keys": new_key("web")[1], "cors_origins": "https://photos.example"}
    preflight = {"Origin": "https://photos.example", "Access-Control-Request-Method": "POST"}
    with caplog.at_level(logging.INFO, "app.access"):
        async with client_of(service, **settings) as http:
            await http.post("/v1/align")
            await http.head("/v1/models")
            await http.get("/v1/nowhere")
            await http.options("/v1/align", headers=preflight)
            await http.head("/openapi.json")
            await http.get("/static-offline-docs/favicon.png")
    expected = [
        ("/v1/align", "POST", 401),
        ("/v1/models", "HEAD", 401),
        ("unmatched", "any", 401),
        ("/v1/align", "OPTIONS", 200),
        ("/openapi.json", "HEAD", 200),
        ("/static-offline-docs", "GET", 200),
    ]
    assert [(x["route"], x["method"], x["status"]) for x in lines_of(caplog)] == expected
    assert set(counted(service)) == {(route, method, str(code)) for route, method, code in expected}


async def test_answered_probes_can_be_left_out_of_the_log(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    for wanted in (True, False):
        caplog.clear()
        with caplog.at_level(logging.INFO, "app.access"):
            async with client_of(service, log_probes=wanted) as http:
                for path in ("/livez", "/metrics", "/v1/models"):
                    assert (await http.get(path)).status_code == 200
                assert (await http.get("/readyz")).status_code == 503  # never started
        routes = [line["route"] for line in lines_of(caplog)]
        probes = ["/livez", "/metrics"] if wanted else []
        assert routes == [*probes, "/v1/models", "/readyz"]


def test_the_time_of_a_line_is_utc_as_rfc_3339_writes_it() -> None:
    record = logging.makeLogRecord({"created": 1769903999.5, "msg": "x"})
    assert json.loads(JsonLines().format(record))["time"] == "2026-01-31T23:59:59.500Z"


async def test_a_broken_key_file_is_a_metric(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.keys.RELOAD_SECONDS", 0.0)
    file = tmp_path / "keys"
    file.write_text(new_key("web")[1])
    async with client_of(service, api_keys_file=file) as http:
        for text, broken in (("nonsense", 1), (new_key("web")[1], 0)):
            file.write_text(text)  # and nobody presents a key
            assert f"\nlwbafa_key_file_broken {broken}.0\n" in (await http.get("/metrics")).text
