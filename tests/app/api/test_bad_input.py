"""Whatever is sent, the answer is a problem document and the service lives on."""

import base64
import io
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image as Pillow

from lwbafa.types import Pixels
from tests.app.api.raw import connect, head, rest
from tests.conftest import encode, running_server

JPEG = {"Content-Type": "image/jpeg"}


@pytest.fixture(scope="module")
def narrow_client() -> Iterator[httpx.Client]:
    """A client of a server with small limits."""
    limits = {
        "max_upload_bytes": 100_000,
        "max_image_pixels": 262_144,
        "max_image_side_px": 512,
        "max_request_faces": 2,
    }
    with running_server(**limits) as url, httpx.Client(base_url=url, timeout=60) as http:
        yield http


def assert_problem(response: httpx.Response, status: int, code: str) -> None:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem["request_id"] == response.headers["x-request-id"]
    assert problem["title"]
    assert problem["detail"]
    assert "Traceback" not in response.text


def test_not_an_image(client: httpx.Client) -> None:
    response = client.post("/v1/align", content=b"Good morning", headers=JPEG)
    assert_problem(response, 415, "unsupported_media_type")


def test_a_jpeg_in_name_only(client: httpx.Client) -> None:
    response = client.post("/v1/align", content=b"\xff\xd8\xff" + bytes(500), headers=JPEG)
    assert_problem(response, 400, "not_an_image")


def test_gif(client: httpx.Client, astronaut: Pixels) -> None:
    gif = io.BytesIO()
    Pillow.fromarray(astronaut).save(gif, "GIF")
    for form in (True, False):
        sent: Any = {"files": {"image": gif.getvalue()}} if form else {"content": gif.getvalue()}
        response = client.post("/v1/align", **sent)
        assert_problem(response, 415, "unsupported_media_type")
        assert response.json()["detail"] == "This is a GIF; convert it to JPEG, PNG or WebP."


@pytest.mark.parametrize(
    "text", [lambda base64: base64, lambda base64: b"data:image/jpeg;base64," + base64]
)
@pytest.mark.parametrize("filename", ["", '; filename="me.txt"'])
def test_text_in_the_place_of_bytes_is_named(
    client: httpx.Client,
    astronaut_jpeg: bytes,
    text: Callable[[bytes], bytes],
    filename: str,
) -> None:
    sent = text(base64.b64encode(astronaut_jpeg))
    disposition = f'--x\r\nContent-Disposition: form-data; name="image"{filename}\r\n\r\n'.encode()
    form = {"Content-Type": "multipart/form-data; boundary=x"}
    for headers, body in ((JPEG, sent), (form, disposition + sent + b"\r\n--x--\r\n")):
        response = client.post("/v1/align", content=body, headers=headers)
        assert_problem(response, 415, "unsupported_media_type")
        assert "send the bytes as they are, not base64" in response.json()["detail"]


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_truncated(client: httpx.Client, astronaut: Pixels, suffix: str) -> None:
    body = encode(astronaut, suffix)
    response = client.post("/v1/align", files={"image": body[: len(body) // 2]})
    assert_problem(response, 400, "truncated_image")


@pytest.mark.parametrize("form", [True, False])
def test_empty(client: httpx.Client, form: bool) -> None:
    if form:
        response = client.post("/v1/align", files={"image": b""})
    else:
        response = client.post("/v1/align", content=b"", headers=JPEG)
    assert_problem(response, 400, "empty_body")


@pytest.mark.parametrize(
    ("content_type", "advice"),
    [
        ("text/plain", "one of multipart/form-data, image/jpeg"),
        ("application/x-www-form-urlencoded", "curl --data-binary @FILE"),
        ("application/json; charset=utf-8", "not in JSON"),
    ],
)
def test_unsupported_type(
    client: httpx.Client, astronaut_jpeg: bytes, content_type: str, advice: str
) -> None:
    headers = {"Content-Type": content_type}
    response = client.post("/v1/align", content=astronaut_jpeg, headers=headers)
    assert_problem(response, 415, "unsupported_media_type")
    assert advice in response.json()["detail"]


def test_a_form_that_is_declared_as_an_image_is_named(
    client: httpx.Client, astronaut_jpeg: bytes
) -> None:
    response = client.post("/v1/align", files={"image": astronaut_jpeg}, headers=JPEG)
    assert_problem(response, 415, "unsupported_media_type")
    assert "declare it as multipart/form-data" in response.json()["detail"]


def test_content_encoding(client: httpx.Client, astronaut_jpeg: bytes) -> None:
    headers = {**JPEG, "Content-Encoding": "gzip"}
    response = client.post("/v1/align", content=astronaut_jpeg, headers=headers)
    assert_problem(response, 415, "unsupported_media_type")


def test_wrong_field_name(client: httpx.Client, astronaut_jpeg: bytes) -> None:
    response = client.post("/v1/align", files={"picture": astronaut_jpeg})
    assert_problem(response, 422, "missing_image_field")


def test_text_in_the_image_field(client: httpx.Client) -> None:
    body = b'--x\r\nContent-Disposition: form-data; name="image"\r\n\r\nhello\r\n--x--\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    response = client.post("/v1/align", content=body, headers=headers)
    assert_problem(response, 415, "unsupported_media_type")


def test_a_form_without_a_boundary_is_told_so(client: httpx.Client, astronaut_jpeg: bytes) -> None:
    headers = {"Content-Type": "multipart/form-data"}
    response = client.post("/v1/align", files={"image": astronaut_jpeg}, headers=headers)
    assert_problem(response, 400, "bad_multipart")
    assert "boundary" in response.json()["detail"]


@pytest.mark.parametrize(
    ("fields", "query", "says"),
    [
        ({"max_face": "1"}, {}, "max_face: is no parameter; there are: model"),
        ({"max_faces": "0"}, {}, "max_faces: "),
        ({"max_faces": "one"}, {}, "max_faces: "),
        ({"frame": "sideways"}, {}, "frame: "),
        ({"model": "none"}, {}, "model: "),
        ({"boxes": "[[1,2,3]]"}, {}, "boxes[0][3]: "),
        ({"boxes": "[[600,2,30,40]]"}, {}, "boxes[0] lies outside"),
        (
            {"max_faces": "1"},
            {"max_faces": "1"},
            "max_faces: is given in the query and in the form",
        ),
        ({"max_faces": ["1", "2"]}, {}, "max_faces: is given 2 times"),
        ({"x" * 1000: "1"}, {}, "x" * 40 + ": is no parameter"),
    ],
)
def test_a_wrong_parameter_in_the_form_is_named(
    client: httpx.Client,
    astronaut_jpeg: bytes,
    fields: dict[str, str],
    query: dict[str, str],
    says: str,
) -> None:
    response = client.post("/v1/align", data=fields, files={"image": astronaut_jpeg}, params=query)
    assert_problem(response, 422, "invalid_parameter")
    assert response.json()["detail"].startswith(says)


def test_a_parameter_that_is_twice_in_the_query_is_named(
    client: httpx.Client, astronaut_jpeg: bytes
) -> None:
    response = client.post(
        "/v1/align?max_faces=1&max_faces=2", content=astronaut_jpeg, headers=JPEG
    )
    assert_problem(response, 422, "invalid_parameter")
    assert response.json()["detail"].startswith("max_faces: is given 2 times")


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", b"no boundary"),
        ("multipart/form-data; boundary=x", b"--y\r\nnonsense"),
        ("multipart/form-data; boundary=x", b"--x\r\n\r\nno disposition\r\n--x--\r\n"),
        ("multipart/form-data; boundary=x; charset=base64", b"--x\r\n\r\na\r\n--x--\r\n"),
    ],
)
def test_broken_multipart(client: httpx.Client, content_type: str, body: bytes) -> None:
    headers = {"Content-Type": content_type}
    assert_problem(client.post("/v1/align", content=body, headers=headers), 400, "bad_multipart")


def test_two_files(client: httpx.Client, astronaut_jpeg: bytes) -> None:
    files = {"image": astronaut_jpeg, "other": astronaut_jpeg}
    response = client.post("/v1/align", files=files)
    assert_problem(response, 400, "bad_multipart")
    assert "/v1/align/batch takes several" in response.json()["detail"]


def test_too_many_bytes_by_content_length(narrow_client: httpx.Client) -> None:
    response = narrow_client.post("/v1/align", content=bytes(100_001), headers=JPEG)
    assert_problem(response, 413, "too_many_bytes")


def test_too_many_bytes_in_chunks(narrow_client: httpx.Client) -> None:
    chunks = (bytes(10_000) for _ in range(11))
    response = narrow_client.post("/v1/align", content=chunks, headers=JPEG)
    assert_problem(response, 413, "too_many_bytes")


def test_too_many_bytes_in_a_form(narrow_client: httpx.Client) -> None:
    response = narrow_client.post("/v1/align", files={"image": bytes(100_001)})
    assert_problem(response, 413, "too_many_bytes")


def test_too_many_pixels(narrow_client: httpx.Client) -> None:
    body = encode(np.zeros((512, 513, 3), np.uint8), ".png")
    response = narrow_client.post("/v1/align", files={"image": body})
    assert_problem(response, 413, "too_many_pixels")


@pytest.mark.parametrize("size", [(1, 513), (513, 1), (511, 513)])
def test_a_longer_side_than_accepted(narrow_client: httpx.Client, size: tuple[int, int]) -> None:
    body = encode(np.zeros((*size, 3), np.uint8), ".png")
    assert_problem(narrow_client.post("/v1/align", files={"image": body}), 413, "too_many_pixels")


@pytest.mark.parametrize("size", [(1, 512), (512, 1), (1, 1)])
def test_a_picture_of_one_row_is_a_picture(client: httpx.Client, size: tuple[int, int]) -> None:
    body = encode(np.zeros((*size, 3), np.uint8), ".png")
    for accept in ("application/json", "image/png"):
        response = client.post("/v1/align", files={"image": body}, headers={"Accept": accept})
        assert response.status_code == 200


def test_exactly_the_limits_are_accepted(narrow_client: httpx.Client) -> None:
    body = encode(np.zeros((512, 512, 3), np.uint8), ".png")
    padded = body + bytes(100_000 - len(body))
    response = narrow_client.post(
        "/v1/align", content=padded, headers={"Content-Type": "image/png"}
    )
    assert response.status_code == 200


@pytest.mark.parametrize(
    ("content_type", "line", "status", "code"),
    [
        ("image/jpeg", "Content-Length: 100001", 413, "too_many_bytes"),
        ("multipart/form-data; boundary=x", "Content-Length: 999999", 413, "too_many_bytes"),
        ("text/plain", "Content-Length: 100", 415, "unsupported_media_type"),
        ("image/jpeg", "Content-Length: 1\r\nContent-Encoding: br", 415, "unsupported_media_type"),
    ],
)
def test_what_the_headers_tell_is_refused_before_the_body_is_read(
    narrow_client: httpx.Client, content_type: str, line: str, status: int, code: str
) -> None:
    request_head = head(content_type, line, "Connection: close")
    answer = rest(connect(str(narrow_client.base_url), request_head))
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert code.encode() in answer


def test_a_part_with_endless_headers(narrow_client: httpx.Client) -> None:
    disposition = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n'
    for lines in (b"A: b\r\n" * 20, b"A: " + b"b" * 9000 + b"\r\n"):
        body = disposition + lines + b"\r\ndata\r\n--x--\r\n"
        headers = {"Content-Type": "multipart/form-data; boundary=x"}
        response = narrow_client.post("/v1/align", content=body, headers=headers)
        assert_problem(response, 400, "bad_multipart")


def test_too_many_fields(narrow_client: httpx.Client, astronaut_jpeg: bytes) -> None:
    fields = {f"field {i}": "x" for i in range(21)}
    response = narrow_client.post("/v1/align", data=fields, files={"image": astronaut_jpeg})
    assert_problem(response, 400, "bad_multipart")


def test_unknown_path_and_method(client: httpx.Client) -> None:
    assert_problem(client.get("/v2/align"), 404, "not_found")
    response = client.get("/v1/align")
    assert_problem(response, 405, "method_not_allowed")
    assert response.headers["allow"] == "POST"


def test_after_all_that_the_service_still_answers(
    client: httpx.Client, astronaut_jpeg: bytes
) -> None:
    response = client.post("/v1/align", files={"image": astronaut_jpeg})
    assert len(response.json()["faces"]) == 1
