"""What the OpenAPI document says beyond the routes: every error by its code, and the API keys."""

from collections.abc import Iterable
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from app.api.middleware.api_keys import needs_key
from app.api.problems import MEDIA_TYPE
from app.api.schemas import Problem
from app.errors import (
    ApiKeyMissing,
    ApiKeyWrong,
    BadRequest,
    HeadersTooLarge,
    InternalError,
    MethodNotAllowed,
    NotFound,
    RateLimited,
    RequestError,
    UploadTooSlow,
    request_errors,
)

Responses = dict[int | str, dict[str, Any]]

COMMON_ERRORS = (
    BadRequest,
    ApiKeyMissing,
    ApiKeyWrong,
    UploadTooSlow,
    RateLimited,
    HeadersTooLarge,
    InternalError,
)
ROUTER_ERRORS = (NotFound, MethodNotAllowed)

RESPONSE_HEADERS: dict[str, dict[str, Any]] = {
    "X-Request-ID": {
        "description": "Names this request, in the log as well",
        "schema": {"type": "string"},
    },
    "traceparent": {
        "description": "W3C Trace Context: of the caller's trace, if the request brought one",
        "schema": {"type": "string"},
    },
    "Server-Timing": {
        "description": "Milliseconds by stage, as in `timing_ms`",
        "schema": {"type": "string"},
    },
    "Retry-After": {
        "description": "Seconds after which to try again",
        "schema": {"type": "integer", "minimum": 1},
    },
}
ALWAYS = ("X-Request-ID", "traceparent")
RETRIED = ("429", "503")

SECURITY_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}


def problem_responses(errors: Iterable[type[RequestError]]) -> Responses:
    """The `responses` of a route that may answer these errors: by status, with their codes."""
    by_status: dict[int, list[type[RequestError]]] = {}
    for error in errors:
        by_status.setdefault(error.status, []).append(error)
    return {status: _problem_response(by_status[status]) for status in sorted(by_status)}


def route_errors() -> list[type[RequestError]]:
    """Every error that a route may answer."""
    return [error for error in request_errors() if error not in ROUTER_ERRORS]


def _problem_response(errors: list[type[RequestError]]) -> dict[str, Any]:
    codes = [error.code for error in errors]
    schema = {
        "allOf": [
            {"$ref": "#/components/schemas/Problem"},
            {"properties": {"code": {"enum": codes}}},
        ]
    }
    return {
        "description": "; ".join(f"`{error.code}`: {error.title}" for error in errors),
        "content": {MEDIA_TYPE: {"schema": schema}},
    }


def form_fields(parameters: type[BaseModel]) -> dict[str, Any]:
    """Parameters as the properties of a form.

    Without their defaults, which the documentation page would send, in the query and in the form.
    """
    schema = parameters.model_json_schema(ref_template="#/components/schemas/{model}")
    properties: dict[str, dict[str, Any]] = schema["properties"]
    return {
        name: {key: value for key, value in field.items() if key != "default"}
        for name, field in properties.items()
    }


def install_openapi(app: FastAPI, keys_needed: bool) -> None:
    """Complete the app's document: the problem schema with all codes, and who may call."""
    of_routes = app.openapi
    # With an empty alternative, a key is optional.
    open_to_all: list[dict[str, list[str]]] = [] if keys_needed else [{}]
    security = [*open_to_all, *({name: []} for name in SECURITY_SCHEMES)]

    def complete() -> dict[str, Any]:
        is_new = app.openapi_schema is None
        document = of_routes()
        if is_new:
            problem = Problem.model_json_schema()
            problem["properties"]["code"]["enum"] = [error.code for error in request_errors()]
            document["components"]["schemas"]["Problem"] = problem
            document["components"]["securitySchemes"] = SECURITY_SCHEMES
            for path, operations in document["paths"].items():
                for operation in operations.values():
                    _add_headers(path, operation)
                    if needs_key(path):
                        operation["security"] = security
        return document

    app.openapi = complete  # type: ignore[method-assign]


def _add_headers(path: str, operation: dict[str, Any]) -> None:
    """The headers of each answer."""
    for status, answer in operation["responses"].items():
        names = [*ALWAYS]
        if path == "/v1/align" and status == "200":
            names.append("Server-Timing")
        if needs_key(path) and status in RETRIED:
            names.append("Retry-After")
        answer["headers"] = {name: RESPONSE_HEADERS[name] for name in names}
