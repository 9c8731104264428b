"""`POST /v1/align/batch`: each photograph is answered, or refused, by itself."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from types import SimpleNamespace
from typing import Any

import cv2
import httpx
import pytest
from starlette.types import Message

from app.api.parameters import Deadline
from app.api.routes.batch import _Batch, _Lines
from app.api.schemas import BatchItem, FaceQuery
from app.api.upload import NamedImage
from app.errors import QueueFull
from app.metrics import Metrics
from lwbafa.types import Pixels
from tests.app.api.test_align import SENT_BACK_PX, align, points
from tests.conftest import encode, running_server

Part = tuple[str, tuple[str | None, bytes, str]]


def part(body: bytes, filename: str | None = "photo.jpg") -> Part:
    return "image", (filename, body, "image/jpeg")


def batch(client: httpx.Client, *parts: Part, **query: Any) -> dict[str, Any]:
    response = client.post("/v1/align/batch", files=[*parts], params=query)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def test_photographs_are_answered_in_order_as_each_alone_would_be(
    client: httpx.Client, astronaut: Pixels, astronaut_jpeg: bytes
) -> None:
    half = encode(cv2.resize(astronaut, (256, 256)), ".png")  # type: ignore[arg-type]
    parts = [part(astronaut_jpeg, "a.jpg"), part(half, "b.png"), part(astronaut_jpeg, "ü.jpg")]
    answer = batch(client, *parts)
    items = answer["images"]
    assert [(i["index"], i["filename"], i["status"]) for i in items] == [
        (0, "a.jpg", 200),
        (1, "b.png", 200),
        (2, "ü.jpg", 200),
    ]
    assert [item["image"]["width"] for item in items] == [512, 256, 512]
    assert answer["model"]["name"] == "lwbafa-lite-300w68"
    for item, body in ((items[0], astronaut_jpeg), (items[1], half)):
        (alone,) = align(client, body)["faces"]
        (face,) = item["faces"]
        assert points(face) == pytest.approx(points(alone), abs=SENT_BACK_PX)
        assert item["found_faces"] == 1


def test_a_callers_own_deadline_holds_for_each_photograph(
    client: httpx.Client, astronaut_jpeg: bytes
) -> None:
    files = [part(astronaut_jpeg), part(astronaut_jpeg)]
    for accept in "application/json", "application/x-ndjson":
        headers = {"X-Deadline-Ms": "1", "Accept": accept}
        response = client.post("/v1/align/batch", files=files, headers=headers)
        lines = response.text.splitlines() if "ndjson" in accept else []
        items = [json.loads(line) for line in lines] or response.json()["images"]
        codes = [(item["status"], item["error"]["code"]) for item in items]
        assert codes == [(504, "caller_deadline_exceeded")] * 2
    wrong = client.post("/v1/align/batch", files=files, headers={"X-Deadline-Ms": "soon"})
    assert wrong.status_code == 422


def test_what_is_no_photograph_fails_alone(client: httpx.Client, astronaut_jpeg: bytes) -> None:
    parts = [part(b"no picture"), part(astronaut_jpeg), part(b""), part(astronaut_jpeg[:9000])]
    items = batch(client, *parts)["images"]
    assert [item["status"] for item in items] == [415, 200, 400, 400]
    codes = [item.get("error", {}).get("code") for item in items]
    assert codes == ["unsupported_media_type", None, "empty_body", "truncated_image"]
    assert all("faces" not in item for item in items if item["status"] != 200)
    alone = client.post("/v1/align", content=b"no picture").json()
    assert items[0]["error"]["detail"] == alone["detail"]


def test_parameters_hold_for_all_photographs(client: httpx.Client, astronaut_jpeg: bytes) -> None:
    items = batch(client, part(astronaut_jpeg), part(astronaut_jpeg), pose=True)["images"]
    assert all(abs(item["faces"][0]["pose"]["yaw"]) < 45 for item in items)
    response = client.post(
        "/v1/align/batch", files=[part(astronaut_jpeg)], data={"units": "normalized"}
    )
    (item,) = response.json()["images"]
    assert all(0 < landmark["x"] < 1 for landmark in item["faces"][0]["landmarks"])


def test_lines_come_as_an_array_would(client: httpx.Client, astronaut_jpeg: bytes) -> None:
    parts = [part(astronaut_jpeg), part(b"none"), part(astronaut_jpeg)]
    with client.stream(
        "POST", "/v1/align/batch", files=parts, headers={"Accept": "application/x-ndjson"}
    ) as response:
        assert response.headers["content-type"].startswith("application/x-ndjson")
        lines = [json.loads(line) for line in response.iter_lines()]
    assert [(line["index"], line["status"]) for line in lines] == [(0, 200), (1, 415), (2, 200)]


def test_lines_that_are_not_wanted_are_not_sent(
    client: httpx.Client, astronaut_jpeg: bytes
) -> None:
    for accept in "application/x-ndjson;q=0, */*", "application/json, application/x-ndjson;q=0.5":
        response = client.post(
            "/v1/align/batch", files=[part(astronaut_jpeg)], headers={"Accept": accept}
        )
        assert response.headers["content-type"] == "application/json"


def test_failed_photographs_are_counted_by_code(client: httpx.Client) -> None:
    def counted() -> float:
        lines = client.get("/metrics").text.splitlines()
        name = 'lwbafa_errors_total{code="empty_body"} '
        return sum(float(line.removeprefix(name)) for line in lines if line.startswith(name))

    before = counted()
    batch(client, part(b""), part(b""))
    assert counted() == before + 2


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        ({"content": b"raw", "headers": {"Content-Type": "image/jpeg"}}, 415, None),
        ({"files": [("photo", ("a.jpg", b"x", "image/jpeg"))]}, 422, "missing_image_field"),
        ({"files": [part(b"x")], "params": {"boxes": "[[1,2,3,4]]"}}, 422, "invalid_parameter"),
        ({"files": [part(b"x")], "data": {"surprise": "1"}}, 422, "invalid_parameter"),
        ({"files": [part(b"x")], "params": {"model": "none"}}, 422, "invalid_parameter"),
        ({"files": [part(b"x")] * 33}, 400, "bad_multipart"),
    ],
    ids=["raw", "other-field", "boxes", "unknown", "model", "too-many"],
)
def test_what_no_photograph_could_mend_is_one_refusal(
    client: httpx.Client, request_: dict[str, Any], status: int, code: str | None
) -> None:
    response = client.post("/v1/align/batch", **request_)
    assert response.status_code == status, response.text
    if code:
        assert response.json()["code"] == code


def test_a_batch_is_bounded_in_bytes_and_photographs(astronaut_jpeg: bytes) -> None:
    with (
        running_server(max_batch_images=2, max_upload_bytes=400_000) as url,
        httpx.Client(base_url=url, timeout=60) as client,
    ):
        assert len(batch(client, *[part(astronaut_jpeg)] * 2)["images"]) == 2
        three = client.post("/v1/align/batch", files=[part(astronaut_jpeg)] * 3)
        assert (three.status_code, three.json()["code"]) == (400, "bad_multipart")
        assert "at most 2 files" in three.json()["detail"]
        large = client.post("/v1/align/batch", files=[part(b"\xff" * 500_000)])
        assert large.status_code == 413


@pytest.mark.parametrize("sent", range(4))
@pytest.mark.parametrize("breaks", [True, False])
async def test_a_caller_who_leaves_takes_nothing_along(sent: int, breaks: bool) -> None:
    """Before the answer begins, before its first line and between lines; heard of or met."""
    held, given_back, ended = AsyncExitStack(), asyncio.Event(), asyncio.Event()
    held.callback(given_back.set)

    async def items() -> AsyncGenerator[BatchItem]:
        try:
            for index in range(100):
                yield BatchItem(index=index, filename=None, status=200)
        finally:
            ended.set()

    begun, left, messages = items(), asyncio.Event(), list[Message]()

    async def send(message: Message) -> None:
        if len(messages) == sent:
            left.set()
            if breaks:
                raise OSError("the caller has left")
            await asyncio.Event().wait()
        messages.append(message)

    async def receive() -> Message:
        await left.wait()
        return {"type": "http.disconnect"}

    scope = {"type": "http", "asgi": {"spec_version": "2.3"}}
    try:
        await _Lines(begun, held)(scope, receive, send)
    except OSError:
        assert breaks
    assert given_back.is_set()
    assert ended.is_set() == (sent > 0), "what was begun has ended"
    assert [item async for item in begun] == []


@pytest.mark.parametrize("route", ["align", "align/batch"])
@pytest.mark.parametrize("place", ["filename", "name", "value"])
def test_halves_of_characters_are_refused(client: httpx.Client, route: str, place: str) -> None:
    """Some charsets decode them; JSON cannot hold them."""
    texts = {"filename": "a.jpg", "name": "model", "value": "x"} | {place: "\\ud800"}
    head = 'Content-Disposition: form-data; name="{}"'
    body = "\r\n".join(
        [
            "--b",
            head.format("image") + f'; filename="{texts["filename"]}"',
            "\r\nbytes\r\n--b",
            head.format(texts["name"]),
            f"\r\n{texts['value']}\r\n--b--\r\n",
        ]
    )
    form = {"Content-Type": "multipart/form-data; boundary=b; charset=unicode_escape"}
    response = client.post(f"/v1/{route}", content=body.encode(), headers=form)
    assert (response.status_code, response.json()["code"]) == (400, "bad_multipart")


def test_a_compressed_form_is_refused_as_such(client: httpx.Client) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=b", "Content-Encoding": "gzip"}
    response = client.post("/v1/align/batch", content=b"x", headers=headers)
    assert response.status_code == 415
    assert "Content-Encoding" in response.json()["detail"]


def test_one_photograph_is_no_larger_than_alone(astronaut_jpeg: bytes) -> None:
    with (
        running_server(max_batch_images=32, max_upload_bytes=100_000) as url,
        httpx.Client(base_url=url, timeout=60) as client,
    ):
        response = client.post("/v1/align/batch", files=[part(b"\xff" * 110_000)])
        assert (response.status_code, response.json()["code"]) == (413, "too_many_bytes")


class _Crowds(_Batch):
    """Photographs whose faces fill the network's queue, of others at times as well."""

    room = 2
    at_once = tries = 0

    async def _aligned(self, index: int, filename: str | None, _: bytes) -> BatchItem:
        self.tries += 1
        if self.at_once >= self.room:
            raise QueueFull("full", retry_after_s=1)
        self.at_once += 1
        await asyncio.sleep(0.01)
        self.at_once -= 1
        return BatchItem(index=index, filename=filename, status=200)


@pytest.mark.parametrize(("room", "status"), [(1, 200), (2, 200), (0, 429)])
async def test_photographs_are_not_refused_for_the_room_that_their_own_batch_takes(
    room: int, status: int
) -> None:
    service: Any = SimpleNamespace(
        metrics=Metrics(),
        settings=SimpleNamespace(max_request_faces=32),
        worker_count=8,
    )
    model: Any = None
    images = [NamedImage(None, b"x")] * 20
    crowds = _Crowds(service, model, FaceQuery(), images, Deadline(60.0, False))
    crowds.room = room
    items = await crowds.all_items()
    assert [(item.index, item.status) for item in items] == [(i, status) for i in range(20)]
    assert crowds.tries <= 60
