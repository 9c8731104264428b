"""`POST /v1/align` over a real socket to a real server, with a real photograph."""

import base64
import io
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageOps
from skimage import data

from lwbafa.types import Pixels
from tests.conftest import ASTRONAUT_POINTS, encode

JPEG = {"Content-Type": "image/jpeg"}
INTEROCULAR_PX = 65.6
BOX = [180.0, 90.0, 90.0, 88.0]
# A box is answered to three decimals; what that changes in the crop, int8 rounds its own way.
SENT_BACK_PX = 0.005 * INTEROCULAR_PX


def align(client: httpx.Client, body: bytes, **query: Any) -> dict[str, Any]:
    response = client.post("/v1/align", content=body, headers=JPEG, params=query)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def points(face: dict[str, Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([[landmark["x"], landmark["y"]] for landmark in face["landmarks"]])


def distances(answer: dict[str, Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """How far the only face's landmarks are from where eyes see them."""
    (face,) = answer["faces"]
    seen = np.array(list(ASTRONAUT_POINTS.values()))
    offsets = points(face)[list(ASTRONAUT_POINTS)] - seen
    return np.asarray(np.hypot(offsets[:, 0], offsets[:, 1]))


def test_landmarks_are_where_a_person_sees_them(
    client: httpx.Client, astronaut_jpeg: bytes
) -> None:
    errors = distances(align(client, astronaut_jpeg)) / INTEROCULAR_PX
    assert errors.mean() < 0.05
    assert errors.max() < 0.10


def test_answer_has_names_scores_and_timings(client: httpx.Client, astronaut_jpeg: bytes) -> None:
    response = client.post("/v1/align", content=astronaut_jpeg, headers=JPEG)
    answer = response.json()
    assert answer["request_id"] == response.headers["x-request-id"]
    assert answer["image"] == {
        "width": 512,
        "height": 512,
        "format": "jpeg",
        "exif_orientation": 1,
        "frame": "upright",
    }
    assert answer["model"]["name"] == "lwbafa-lite-300w68"
    assert answer["model"]["groups"]["left_eye"] == [36, 37, 38, 39, 40, 41]
    (face,) = answer["faces"]
    assert len(face["landmarks"]) == 68
    assert face["box"]["source"] == "detector"
    assert face["box"]["score"] > 0.5
    scores = [landmark["score"] for landmark in face["landmarks"]]
    assert all(0 <= score <= 1 for score in scores)
    assert face["score"] == pytest.approx(np.mean(scores), abs=1e-3)
    assert face["score"] > 0.3
    assert "heatmap" not in face
    stages = {"read", "decode", "detect", "crop", "queue", "network", "map_back", "render", "total"}
    assert set(answer["timing_ms"]) == stages
    named = {entry.split(";")[0].strip() for entry in response.headers["server-timing"].split(",")}
    assert named == stages


def test_multipart_and_raw_bodies_answer_alike(client: httpx.Client, astronaut: Pixels) -> None:
    lossless = encode(astronaut, ".png")
    raw = client.post("/v1/align", content=lossless, headers={"Content-Type": "image/png"})
    form = client.post("/v1/align", files={"image": ("me.png", lossless)})
    assert raw.json()["faces"] == form.json()["faces"]


@pytest.mark.parametrize("suffix", [".png", ".webp", ".jpg"])
def test_all_three_formats(client: httpx.Client, astronaut: Pixels, suffix: str) -> None:
    answer = client.post("/v1/align", files={"image": encode(astronaut, suffix)}).json()
    assert answer["image"]["format"] == suffix[1:].replace("jpg", "jpeg")
    assert distances(answer).mean() / INTEROCULAR_PX < 0.05


@pytest.mark.parametrize(("size", "fewest"), [((2400, 2640), 4), ((1960, 2156), 2)])
def test_a_large_jpeg_is_answered_as_if_it_were_decoded_in_full(
    client: httpx.Client, astronaut: Pixels, size: tuple[int, int], fewest: int
) -> None:
    head = np.asarray(Pillow.fromarray(astronaut[30:250, 120:320]).resize(size))
    jpeg = encode(head, ".jpg")
    decoded = encode(np.asarray(Pillow.open(io.BytesIO(jpeg))), ".png")
    ((small,), (full,)) = (align(client, body)["faces"] for body in (jpeg, decoded))
    side = 1.3 * max(full["box"]["width"], full["box"]["height"])
    assert side > fewest * 256, "of a smaller face everything would have been decoded"
    offsets = np.hypot(*(points(small) - points(full)).T) * 256 / side
    assert offsets.max() < 0.5, "pixels of the network's input"


def test_answered_boxes_can_be_sent_back(client: httpx.Client, astronaut_jpeg: bytes) -> None:
    (face,) = align(client, astronaut_jpeg)["faces"]
    box = [face["box"][key] for key in ("x", "y", "width", "height")]
    (again,) = align(client, astronaut_jpeg, boxes=json.dumps([box]))["faces"]
    assert again["box"]["source"] == "caller"
    assert again["box"]["score"] is None
    assert np.abs(points(again) - points(face)).max() < SENT_BACK_PX


def test_boxes_are_answered_in_their_order(client: httpx.Client, astronaut_jpeg: bytes) -> None:
    boxes = [[300, 330, 100, 100], BOX, [170, 80, 110, 108]]
    faces = align(client, astronaut_jpeg, boxes=json.dumps(boxes), max_faces=1)["faces"]
    answered = [[f["box"][key] for key in ("x", "y", "width", "height")] for f in faces]
    assert answered == boxes


@pytest.mark.parametrize(
    ("boxes", "says"),
    [
        ("nonsense", "boxes: Invalid JSON"),
        ("[]", "boxes: List should have at least 1 item"),
        ("{}", "boxes: "),
        ("[[1,2,3]]", "boxes[0][3]: "),
        ("[[180,90,90,88],[1,2,-3,4]]", "boxes[1][2]: "),
        ('[[180,90,90,88],[1,2,3,"4"]]', "boxes[1][3]: "),
        ("[[1,2,3,1e999]]", "boxes[0][3]: "),
        ("[[180,90,90,88],[600,2,30,40]]", "boxes[1] lies outside the 512 × 512 image"),
        ("[[-1e5,-1e5,1e6,1e6]]", "boxes[0] is more than 4 times"),
        (json.dumps([BOX] * 33), "boxes: 33 are more than the 32"),
    ],
)
def test_a_malformed_box_is_named(
    client: httpx.Client, astronaut_jpeg: bytes, boxes: str, says: str
) -> None:
    query = {"boxes": boxes}
    response = client.post("/v1/align", content=astronaut_jpeg, headers=JPEG, params=query)
    assert response.status_code == 422
    problem = response.json()
    assert problem["code"] == "invalid_parameter"
    assert problem["detail"].startswith(says)


@pytest.mark.parametrize(
    "query", [{"max_faces": 0}, {"frame": "sideways"}, {"heatmap": "maybe"}, {"max_face": 3}]
)
def test_a_wrong_parameter_is_named(
    client: httpx.Client, astronaut_jpeg: bytes, query: dict[str, str]
) -> None:
    response = client.post("/v1/align", content=astronaut_jpeg, headers=JPEG, params=query)
    assert response.status_code == 422
    assert response.json()["detail"].startswith(next(iter(query)))


def test_faces_come_largest_first_and_max_faces_keeps_those(
    client: httpx.Client, astronaut: Pixels
) -> None:
    small = cv2.resize(astronaut, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)
    group = np.zeros((512, 512 + small.shape[1], 3), np.uint8)
    group[: small.shape[0], : small.shape[1]] = small
    group[:, small.shape[1] :] = astronaut
    faces = align(client, encode(group, ".jpg"))["faces"]
    widths = [face["box"]["width"] for face in faces]
    assert len(faces) == 2
    assert widths == sorted(widths, reverse=True)
    (largest,) = align(client, encode(group, ".jpg"), max_faces=1)["faces"]
    assert largest["box"] == faces[0]["box"]


def test_no_face_is_an_empty_list(client: httpx.Client) -> None:
    answer = align(client, encode(data.coffee(), ".jpg"))
    assert answer["faces"] == []


@pytest.fixture(scope="module")
def portrait(astronaut: Pixels) -> Pixels:
    """Not square, so that a swapped width and height shows."""
    return np.ascontiguousarray(astronaut[:300])


def stored_as(image: Pixels, orientation: int) -> bytes:
    """The picture in a PNG whose EXIF orientation has to be applied to see it upright."""
    back = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}[orientation]
    undo = Pillow.Exif()
    undo[0x0112] = back
    turned = Pillow.fromarray(image)
    turned.info["exif"] = undo.tobytes()
    buffer = io.BytesIO()
    turned.save(buffer, "PNG", exif=undo)
    turned = ImageOps.exif_transpose(Pillow.open(buffer))
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    out = io.BytesIO()
    turned.save(out, "PNG", exif=exif)
    return out.getvalue()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_gives_the_same_face(
    client: httpx.Client, portrait: Pixels, orientation: int
) -> None:
    reference = align(client, encode(portrait, ".png"))["faces"][0]
    body = stored_as(portrait, orientation)
    upright = align(client, body, heatmap=True)
    assert upright["image"]["exif_orientation"] == orientation
    assert (upright["image"]["width"], upright["image"]["height"]) == (512, 300)
    (face,) = upright["faces"]
    assert np.abs(points(face) - points(reference)).max() < 1

    stored = align(client, body, frame="stored", heatmap=True)
    (stored_face,) = stored["faces"]
    pixels = np.array(Pillow.open(io.BytesIO(body)))
    assert (stored["image"]["height"], stored["image"]["width"]) == pixels.shape[:2]
    # The same face of the file's own pixels: what lies under each point is the same colour.
    for (x, y), (u, v) in zip(points(stored_face), points(face), strict=True):
        if 0.5 in (u % 1, v % 1):  # halfway between two pixels, either may be the nearest
            continue
        assert (pixels[round(y), round(x)] == portrait[round(v), round(u)]).all()
    box = [stored_face["box"][key] for key in ("x", "y", "width", "height")]
    again = align(client, body, frame="stored", boxes=json.dumps([box]))["faces"][0]
    assert np.abs(points(again) - points(stored_face)).max() < SENT_BACK_PX


@pytest.mark.parametrize("frame", ["upright", "stored"])
@pytest.mark.parametrize("turn", [cv2.ROTATE_90_CLOCKWISE, cv2.ROTATE_180])
@pytest.mark.parametrize("orientation", [1, 6, 7])
def test_a_turned_face_is_found_and_its_box_sent_back_gives_it_again(
    client: httpx.Client, portrait: Pixels, frame: str, turn: int, orientation: int
) -> None:
    upright = points(align(client, encode(portrait, ".png"))["faces"][0])
    body = stored_as(np.asarray(cv2.rotate(portrait, turn), np.uint8), orientation)
    (face,) = align(client, body, frame=frame, heatmap=True)["faces"]
    box = face["box"]
    assert abs(box["roll_degrees"]) > 45
    shape = points(face) - points(face).mean(axis=0)
    size = np.linalg.norm(upright - upright.mean(axis=0))
    assert np.linalg.norm(shape) == pytest.approx(size, rel=0.03)
    sent = [box[key] for key in ("x", "y", "width", "height", "roll_degrees")]
    (again,) = align(client, body, frame=frame, boxes=json.dumps([sent]))["faces"]
    assert np.abs(points(again) - points(face)).max() < SENT_BACK_PX
    heatmap = face["heatmap"]
    image = np.array(Pillow.open(io.BytesIO(base64.b64decode(heatmap["png_base64"]))))
    assert image.shape == (256, 256)
    place = heatmap["box"]
    on_png = (points(face) + 0.5 - [place["x"] + 0.5, place["y"] + 0.5]) * (
        256 / place["width"]
    ) - 0.5
    assert_lie_on(on_png, image)


def test_heatmap_is_a_picture_that_lies_on_the_face(
    client: httpx.Client, astronaut_jpeg: bytes
) -> None:
    (face,) = align(client, astronaut_jpeg, heatmap=True)["faces"]
    heatmap = face["heatmap"]
    image = np.array(Pillow.open(io.BytesIO(base64.b64decode(heatmap["png_base64"]))))
    assert image.shape == (256, 256)
    assert (heatmap["width"], heatmap["height"]) == (256, 256)
    box = heatmap["box"]
    on_png = (points(face) - [box["x"], box["y"]]) * (256 / box["width"]) - 0.5
    assert_lie_on(on_png, image)


def assert_lie_on(on_png: NDArray[np.float64], heatmap: NDArray[np.uint8]) -> None:
    """The boundaries are brightest where the points are, and not a little beside them."""

    def under(moved: tuple[int, int]) -> float:
        at = np.round(on_png + moved).astype(int)
        inside = at[((at >= 0) & (at < heatmap.shape[0])).all(axis=1)]
        assert len(inside) > 55
        return float(heatmap[inside[:, 1], inside[:, 0]].mean())

    there = under((0, 0))
    assert there > 220
    for beside in ((20, 0), (-20, 0), (0, 20), (0, -20)):
        assert there > 1.5 * under(beside)


def test_accept_png_draws_over_the_upright_photograph(
    client: httpx.Client, portrait: Pixels
) -> None:
    headers = {"Accept": "image/png", "Content-Type": "image/png"}
    response = client.post("/v1/align", content=stored_as(portrait, 6), headers=headers)
    assert response.headers["content-type"] == "image/png"
    drawn = np.array(Pillow.open(io.BytesIO(response.content)))
    height, width = drawn.shape[:2]
    assert width / height == pytest.approx(512 / 300, rel=0.01)
    plain = cv2.resize(portrait, (width, height), interpolation=cv2.INTER_CUBIC)
    changed = np.abs(drawn.astype(int) - plain).max(axis=2) > 60
    rows, columns = np.nonzero(changed)
    scale = 512 / width
    assert changed.any()
    # All that was drawn lies around the face.
    assert np.percentile(columns, 1) * scale > 150
    assert np.percentile(columns, 99) * scale < 290
    assert np.percentile(rows, 99) * scale < 200


def test_accept_png_draws_over_a_turned_face(client: httpx.Client, portrait: Pixels) -> None:
    body = encode(np.asarray(cv2.rotate(portrait, cv2.ROTATE_90_CLOCKWISE), np.uint8), ".png")
    headers = {"Accept": "image/png", "Content-Type": "image/png"}
    response = client.post("/v1/align", content=body, headers=headers)
    assert response.status_code == 200, response.text
    assert np.array(Pillow.open(io.BytesIO(response.content))).shape == (1024, 600, 3)


def test_callers_share_batches_and_get_their_own_answers(
    client: httpx.Client, astronaut: Pixels
) -> None:
    turned = [np.ascontiguousarray(astronaut[:, ::-1]), astronaut]
    bodies = [encode(turned[i % 2], ".jpg") for i in range(12)]
    query = [{"boxes": json.dumps([[240, 90, 90, 88]] if i % 2 == 0 else [BOX])} for i in range(12)]
    alone = [align(client, bodies[i], **query[i])["faces"][0] for i in range(2)]
    before = batches(client)
    with ThreadPoolExecutor(12) as pool:
        together = list(pool.map(lambda i: align(client, bodies[i], **query[i]), range(12)))
    for i, answer in enumerate(together):
        assert np.abs(points(answer["faces"][0]) - points(alone[i % 2])).max() <= 0.01
    assert batches(client) - before < 12


def batches(client: httpx.Client) -> float:
    lines = client.get("/metrics").text.splitlines()
    (line,) = [line for line in lines if line.startswith("lwbafa_batch_faces_count")]
    return float(line.split()[-1])


def test_faces_are_searched_for_as_finely_as_asked(
    client: httpx.Client, small_faces_jpeg: bytes
) -> None:
    assert align(client, small_faces_jpeg)["faces"] == []
    faces = align(client, small_faces_jpeg, detection_px=2700)["faces"]
    middles = sorted(float(points(face)[:, 0].mean()) for face in faces)
    assert middles == pytest.approx([700 + 41, 1900 + 41], abs=4)


@pytest.mark.parametrize("path", ["/v1/align", "/v1/align/batch"])
@pytest.mark.parametrize("place", ["params", "data"])
def test_too_fine_a_search_is_refused(
    client: httpx.Client, astronaut_jpeg: bytes, path: str, place: str
) -> None:
    sent: dict[str, Any] = {"files": {"image": astronaut_jpeg}, place: {"detection_px": 3841}}
    response = client.post(path, **sent)
    assert response.status_code == 422, response.text
    assert response.json()["detail"] == "detection_px: at most 3840 pixels are searched."
