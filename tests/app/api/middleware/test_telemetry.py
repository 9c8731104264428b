import json
import logging
import re

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.api.app import create_app
from app.api.trace import Trace
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
