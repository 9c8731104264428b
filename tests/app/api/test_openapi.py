"""The OpenAPI document is complete, and the service does what it says."""

from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode, checks

from app.api.app import create_app
from app.api.openapi import ROUTER_ERRORS, route_errors
from app.api.schemas import AlignQuery
from app.api.upload import UNDECLARED
from app.errors import CallerDeadlineExceeded, RequestError, request_errors
from app.service import Service
from app.settings import Settings
from lwbafa.imaging.formats import MEDIA_TYPES
from tests.lwbafa.imaging.pictures import RECIPES, encode, photograph

Document = dict[str, Any]


@pytest.fixture(scope="module")
def document(client: httpx.Client) -> Document:
    answer: Document = client.get("/openapi.json").json()
    return answer


def codes_by_status(document: Document, path: str, method: str) -> dict[str, list[str]]:
    """The error codes that a route's answers name."""
    named = {}
    for status, answer in document["paths"][path][method]["responses"].items():
        for media_type, content in answer.get("content", {}).items():
            if media_type == "application/problem+json":
                reference, narrowed = content["schema"]["allOf"]
                assert reference == {"$ref": "#/components/schemas/Problem"}
                named[status] = narrowed["properties"]["code"]["enum"]
    return named


@pytest.mark.parametrize("error", request_errors(), ids=lambda error: error.code)
def test_every_error_is_in_the_document_with_its_status(
    document: Document, error: type[RequestError]
) -> None:
    assert error.code in document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"]
    if error not in ROUTER_ERRORS:
        assert error.code in codes_by_status(document, "/v1/align", "post")[str(error.status)]


def test_no_code_is_in_the_document_that_does_not_exist(document: Document) -> None:
    known = {error.code: str(error.status) for error in request_errors()}
    schema = document["components"]["schemas"]["Problem"]
    assert schema["properties"]["code"]["enum"] == list(known)
    for path, operations in document["paths"].items():
        for method in operations:
            for status, codes in codes_by_status(document, path, method).items():
                assert all(known[code] == status for code in codes), (path, method, status)


def test_every_route_of_v1_names_what_the_way_in_may_answer(document: Document) -> None:
    for path in ("/v1/align", "/v1/align/batch", "/v1/models"):
        ((method, _),) = document["paths"][path].items()
        named = codes_by_status(document, path, method)
        assert {"400", "401", "408", "429", "431", "500"} <= set(named)
        assert {"api_key_missing", "api_key_wrong"} <= set(named["401"])
        assert "rate_limited" in named["429"]


def test_every_error_can_be_an_answer_of_a_route_or_of_none() -> None:
    assert {*route_errors(), *ROUTER_ERRORS} == set(request_errors())


def test_every_body_and_parameter_is_in_the_document(document: Document) -> None:
    operation = document["paths"]["/v1/align"]["post"]
    images = {"image/jpeg", "image/png", "image/webp", "application/octet-stream"}
    content = operation["requestBody"]["content"]
    assert set(content) == {"multipart/form-data", *images}
    assert set(operation["responses"]["200"]["content"]) == {
        "application/json",
        "image/png",
        "image/svg+xml",
    }
    parameters = {parameter["name"] for parameter in operation["parameters"]}
    assert parameters == {*AlignQuery.model_fields, "X-Deadline-Ms"}
    fields = content["multipart/form-data"]["schema"]["properties"]
    assert set(fields) == {"image", *AlignQuery.model_fields}


def test_every_parameter_is_of_one_plain_type(document: Document) -> None:
    """A generated client would send an alternative's null as a text."""
    for operations in document["paths"].values():
        for operation in operations.values():
            for parameter in operation.get("parameters", ()):
                schema = parameter["schema"]
                assert "$ref" in schema or isinstance(schema["type"], str), parameter
    (deadline,) = (
        parameter["schema"]
        for parameter in document["paths"]["/v1/align"]["post"]["parameters"]
        if parameter["name"] == "X-Deadline-Ms"
    )
    assert (deadline["type"], deadline["minimum"]) == ("integer", 1)


def test_the_document_names_operations_server_and_license(document: Document) -> None:
    ids = [o["operationId"] for path in document["paths"].values() for o in path.values()]
    assert sorted(ids) == ["align", "align_batch", "list_models", "livez", "metrics", "readyz"]
    assert document["servers"][0]["url"] == "/"
    assert document["info"]["license"]["identifier"] == "Apache-2.0"


def test_every_header_of_an_answer_is_in_the_document(
    client: httpx.Client, document: Document, astronaut_jpeg: bytes
) -> None:
    of_transport = {"content-type", "content-length", "date", "x-content-type-options"}
    of_transport |= {"cache-control", "connection"}
    answers = {
        ("/v1/align", "post"): client.post("/v1/align", files={"image": astronaut_jpeg}),
        ("/v1/models", "get"): client.get("/v1/models"),
        ("/readyz", "get"): client.get("/readyz"),
        ("/v1/align", "post", "wrong"): client.post("/v1/align", content=b"nothing"),
    }
    for (path, method, *_), answer in answers.items():
        described = document["paths"][path][method]["responses"][str(answer.status_code)]
        assert {*answer.headers} - of_transport == {name.lower() for name in described["headers"]}
    refused = document["paths"]["/v1/align"]["post"]["responses"]["429"]
    assert refused["headers"]["Retry-After"]["schema"]["type"] == "integer"


@pytest.mark.parametrize("keys", ["", "web:" + 64 * "0"])
def test_the_document_tells_who_needs_a_key(keys: str) -> None:
    document = create_app(Service(Settings(api_keys=keys))).openapi()
    assert set(document["components"]["securitySchemes"]) == {"bearer", "header"}
    for path, operations in document["paths"].items():
        for operation in operations.values():
            if path.startswith("/v1/"):
                assert ({} in operation["security"]) == (not keys)
                assert {"bearer": []} in operation["security"]
            else:
                assert "security" not in operation


# Requests of all kinds, made by schemathesis from the document, to the real service

PICTURES = [encode(photograph(64, 64), recipe) for recipe in RECIPES]
CHECKS = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.unsupported_method,
]

for media_type in (*MEDIA_TYPES.values(), UNDECLARED):
    bodies = st.one_of(st.sampled_from(PICTURES), st.binary(max_size=200))
    schemathesis.openapi.media_type(media_type, bodies)


def statuses(client: httpx.Client, path: str, mode: GenerationMode, requests: int = 40) -> set[int]:
    """The answers to many requests, each of which is what the document says."""
    schema = schemathesis.openapi.from_url(f"{client.base_url}/openapi.json")
    (operation,) = schema[path].values()
    seen = set()

    @settings(max_examples=requests, derandomize=True, phases=[Phase.generate])
    @given(operation.as_strategy(generation_mode=mode))
    def send(case: schemathesis.Case[Any]) -> None:
        status = case.call_and_validate(checks=CHECKS, timeout=60).status_code
        # A caller who leaves the service a millisecond is told that it was too late.
        assert status < 500 or status == CallerDeadlineExceeded.status
        seen.add(status)

    send()
    return seen


def test_alignments_of_all_kinds_are_answered_as_the_document_says(client: httpx.Client) -> None:
    assert {200, 415, 422} <= statuses(client, "/v1/align", GenerationMode.POSITIVE)


def test_requests_against_the_document_are_refused_as_it_says(client: httpx.Client) -> None:
    assert 422 in statuses(client, "/v1/align", GenerationMode.NEGATIVE)


def test_every_other_route_answers_as_the_document_says(
    client: httpx.Client, document: Document
) -> None:
    # Most name a model that there is not, or too fine a search.
    assert {200, 422} <= statuses(client, "/v1/align/batch", GenerationMode.POSITIVE, 120)
    for path in document["paths"].keys() - {"/v1/align", "/v1/align/batch"}:
        assert statuses(client, path, GenerationMode.POSITIVE) == {200}
