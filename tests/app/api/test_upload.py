"""Reading bodies: slow ones, many at once, and forms cut into any pieces."""

import asyncio
import json
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from typing import Any

import httpx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.types import Message

from app.api.upload import UploadMemory, read_upload
from app.errors import RequestError, TooManyBytes, TooManyUploads
from proof.harness.checkpoints import LITE
from tests.app.api.raw import connect, head, metric, rest
from tests.conftest import running_server

JPEG = {"Content-Type": "image/jpeg"}
MAX_BYTES = 150_000
FORM_TYPE = "multipart/form-data; boundary=x"
PART = b'--x\r\nContent-Disposition: form-data; name="image"; filename="f"\r\n\r\n'


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A server with one place for work and memory for two uploads."""
    limits = {
        "max_inflight_requests": 1,
        "max_upload_bytes": MAX_BYTES,
        "max_held_upload_bytes": 2 * MAX_BYTES,
    }
    with running_server(**limits) as address:
        yield address


def align(url: str, body: bytes) -> httpx.Response:
    return httpx.post(f"{url}/v1/align", content=body, headers=JPEG, timeout=60)


def test_uploads_under_way_hold_no_place(url: str, astronaut_jpeg: bytes) -> None:
    size = f"Content-Length: {len(astronaut_jpeg)}"
    slow = [
        connect(url, head("image/jpeg", size, "Connection: close") + astronaut_jpeg[:1000])
        for _ in range(5)
    ]
    assert align(url, astronaut_jpeg).status_code == 200
    for caller in slow:
        caller.sendall(astronaut_jpeg[1000:])
        assert rest(caller).startswith(b"HTTP/1.1 200 ")


def test_uploads_that_together_take_too_much_memory_are_refused(
    url: str, astronaut_jpeg: bytes
) -> None:
    start = head("image/jpeg", f"Content-Length: {MAX_BYTES}")
    part = bytes(MAX_BYTES - 1000)
    with connect(url, start + part), connect(url, start + part):
        held = 0.0
        while held < 2 * len(part):
            held = metric(url, "lwbafa_upload_bytes")
        late = align(url, astronaut_jpeg)
        assert (late.status_code, late.json()["code"]) == (429, "too_many_uploads")
        assert int(late.headers["retry-after"]) >= 1
        # Those who came first keep what they have.
        assert metric(url, "lwbafa_upload_bytes") == held
    while metric(url, "lwbafa_upload_bytes"):
        pass
    assert align(url, astronaut_jpeg).status_code == 200


def test_memory_is_given_back_whatever_happens() -> None:
    memory = UploadMemory(100, lambda: 7.0)
    with suppress(TooManyBytes), memory.upload() as take:
        take(60)
        raise TooManyBytes("of the body that was being read")
    assert memory.held_bytes == 0
    with memory.upload() as take:
        take(99)
        with pytest.raises(TooManyUploads) as caught, memory.upload() as other:
            other(1)
        assert caught.value.retry_after_s == 7.0
        assert memory.held_bytes == 99
        with pytest.raises(TooManyUploads):
            take(1)
        with pytest.raises(TooManyUploads), memory.upload():
            pytest.fail("an upload began in a full memory")
    assert memory.held_bytes == 0


TYPES = [
    "image/jpeg",
    "image/jpg",
    "image/pjpeg",
    "image/png",
    "image/*",
    "IMAGE/JPEG; charset=binary",
    "application/octet-stream",
    "binary/octet-stream",
    "",
    None,
]


@pytest.mark.parametrize("declared", TYPES)
def test_the_bytes_decide_however_they_are_declared(
    url: str, astronaut_jpeg: bytes, declared: str | None
) -> None:
    headers = {} if declared is None else {"Content-Type": declared}
    answer = httpx.post(f"{url}/v1/align", content=astronaut_jpeg, headers=headers, timeout=60)
    assert answer.status_code == 200, answer.text
    assert answer.json()["image"]["format"] == "jpeg"


@pytest.mark.parametrize(
    "disposition",
    ['name="image"', "name=image", 'name="image"; filename=""', 'filename="a"; name="image"'],
)
def test_a_part_named_image_is_the_picture_whatever_its_filename(
    url: str, astronaut_jpeg: bytes, disposition: str
) -> None:
    head = f"--x\r\nContent-Disposition: form-data; {disposition}\r\n\r\n".encode()
    answer = httpx.post(
        f"{url}/v1/align",
        content=head + astronaut_jpeg + b"\r\n--x--\r\n",
        headers={"Content-Type": "multipart/form-data; boundary=x"},
        timeout=60,
    )
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["faces"]) == 1


def test_parameters_may_be_fields_of_the_form(url: str, astronaut_jpeg: bytes) -> None:
    boxes = json.dumps(12 * [[180.125, 90.125, 90.125, 88.125]])
    fields = {"boxes": boxes, "frame": "stored", "heatmap": "true", "model": LITE.name}
    files = {"image": astronaut_jpeg}
    form = httpx.post(f"{url}/v1/align", data=fields, files=files, timeout=60).json()
    query = httpx.post(f"{url}/v1/align", params=fields, files=files, timeout=60).json()
    assert form["image"]["frame"] == "stored"
    assert len(form["faces"]) == 12
    assert "heatmap" in form["faces"][0]
    assert form["faces"][0]["box"] == query["faces"][0]["box"]


def test_fields_may_come_before_or_after_the_image(url: str, astronaut_jpeg: bytes) -> None:
    field = b'--x\r\nContent-Disposition: form-data; name="max_faces"\r\n\r\n1\r\n'
    image = PART + astronaut_jpeg + b"\r\n"
    headers = {"Content-Type": FORM_TYPE}
    for parts in (field + image, image + field):
        answer = httpx.post(
            f"{url}/v1/align", content=parts + b"--x--\r\n", headers=headers, timeout=60
        )
        assert answer.json()["max_faces"] == 1, answer.text


def outcome(content_type: str, pieces: list[bytes], max_bytes: int = 1000) -> bytes | str:
    """The image read out of a body that comes in these pieces, or the code of the refusal."""
    messages: list[Message] = [
        {"type": "http.request", "body": piece, "more_body": True} for piece in pieces
    ]
    messages.append({"type": "http.request", "body": b"", "more_body": False})
    coming = iter(messages)

    async def receive() -> Message:
        return next(coming)

    headers = [(b"content-type", content_type.encode("latin-1"))]
    scope = {"type": "http", "method": "POST", "path": "/", "headers": headers}
    counted: list[int] = []
    try:
        upload = asyncio.run(read_upload(Request(scope, receive), max_bytes, counted.append))
    except RequestError as error:
        return error.code
    assert sum(counted) == sum(map(len, pieces))
    return upload.image


def cut(body: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(body) + 1) for place in places), len(body)]
    return [body[start:end] for start, end in pairwise(edges)]


some_places = st.lists(st.integers(0, 2000), max_size=6)


@given(st.binary(min_size=1, max_size=1000), some_places)
@example(b"\r\n--x", [70])
@example(b"\r\n--", [1, 2, 3])
def test_an_image_is_read_alike_raw_and_from_a_form_in_whatever_pieces_it_comes(
    image: bytes, places: list[int]
) -> None:
    assert outcome("image/png", cut(image, places)) == image
    if b"\r\n--x" not in image:
        form = PART + image + b"\r\n--x--\r\n"
        assert outcome(FORM_TYPE, cut(form, places)) == image


@given(st.integers(1, 200), some_places)
def test_one_byte_too_many_is_refused_in_whatever_pieces_it_comes(
    over: int, places: list[int]
) -> None:
    image = bytes(1000 + over)
    assert outcome("image/png", cut(image, places)) == TooManyBytes.code
    form = PART + image + b"\r\n--x--\r\n"
    assert outcome(FORM_TYPE, cut(form, places)) == TooManyBytes.code


FRAGMENTS = [
    b"--x",
    b"--x--",
    b"\r\n",
    b"\r",
    b"\n",
    b"Content-Disposition: form-data",
    b'; name="image"',
    b'; filename="f"',
    b"; filename*=utf-8''%ff",
    b'; name="\xff',
    b"Content-Type: image/png",
    b"Content-Transfer-Encoding: base64",
    b": ",
    b"\x00",
    PART,
]
grammar = st.lists(st.one_of(st.sampled_from(FRAGMENTS), st.binary(max_size=20)), max_size=12)


@settings(max_examples=300)
@given(
    grammar,
    st.sampled_from([FORM_TYPE, "multipart/form-data", "multipart/form-data; boundary="])
    | st.binary(max_size=20).map(lambda tail: FORM_TYPE + tail.decode("latin-1")),
)
@example([], FORM_TYPE + "; charset=\x00")
@example([PART, b"a\r\n--x--"], FORM_TYPE + "; charset=base64")
@example([PART, b"a\r\n--x--"], FORM_TYPE + "; charset=punycode")
def test_no_form_whatsoever_is_more_than_refused(fragments: list[bytes], content_type: str) -> None:
    outcome(content_type, fragments)


def test_a_form_that_breaks_off_leaves_no_file_open(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[tempfile.SpooledTemporaryFile[bytes]] = []
    init = tempfile.SpooledTemporaryFile.__init__

    def noted(self: tempfile.SpooledTemporaryFile[bytes], *arguments: Any, **named: Any) -> None:
        opened.append(self)
        init(self, *arguments, **named)

    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "__init__", noted)
    outcome(FORM_TYPE, [PART, b"half a picture"])
    outcome(FORM_TYPE, [PART, b"a picture\r\n--x--\r\n"])
    assert [file.closed for file in opened] == [True, True]


def test_no_upload_however_large_is_written_to_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def rollover(_: object) -> None:
        pytest.fail("the upload went to a temporary file")

    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", rollover)
    image = bytes(5_000_000)
    pieces = cut(PART + image + b"\r\n--x--\r\n", list(range(0, 5_000_000, 64_000)))
    assert outcome(FORM_TYPE, pieces, max_bytes=5_000_000) == image
