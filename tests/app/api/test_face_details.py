"""What an answer tells of a face if it is asked for, over a real socket."""

import base64
import io
import xml.etree.ElementTree as ET
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image as Pillow

from app.api.face_details import _mask
from lwbafa.aligner import FaceAligner
from lwbafa.face import cut_chips
from lwbafa.imaging.header import ImageHeader
from lwbafa.imaging.photograph import Frame, Photograph
from lwbafa.measures.chips import TEMPLATES
from lwbafa.types import Pixels
from tests.app.api.test_align import JPEG, align, points

SVG = "{http://www.w3.org/2000/svg}"
DETAILS = ("pose", "openings", "quality", "five", "chip", "mask", "map_values")


def picture(base64_png: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.array(Pillow.open(io.BytesIO(base64.b64decode(base64_png))))


def test_nothing_of_it_is_answered_unasked(client: httpx.Client, astronaut_jpeg: bytes) -> None:
    (face,) = align(client, astronaut_jpeg)["faces"]
    assert not set(DETAILS) & set(face)


def test_what_is_asked_for_is_answered(client: httpx.Client, astronaut_jpeg: bytes) -> None:
    asked = dict.fromkeys(("pose", "openings", "quality", "five"), True)
    (face,) = align(client, astronaut_jpeg, **asked)["faces"]
    assert all(abs(face["pose"][angle]) < 30 for angle in ("pitch", "yaw", "roll"))
    assert 0.1 < face["openings"]["left_eye"] < 0.5
    assert face["quality"]["inside"] == 1
    assert 0 < face["quality"]["brightness"] < 1
    left_eye, right_eye, nose, *corners = face["five"]
    eye = points(face)[36:42].mean(axis=0)
    assert left_eye == pytest.approx(eye, abs=0.01)
    assert left_eye[0] < nose[0] < right_eye[0]
    assert len(corners) == 2


def test_map_values_are_the_librarys_and_scores_are_made_of_them(
    client: httpx.Client, astronaut_jpeg: bytes
) -> None:
    answer = align(client, astronaut_jpeg, map_values=True)
    (face,) = answer["faces"]
    aligner = FaceAligner.load()
    (expected,) = aligner.align(astronaut_jpeg)
    assert face["map_values"] == pytest.approx(expected.map_values.tolist(), abs=0.01)
    calibration = aligner.checkpoint.calibration
    assert calibration is not None
    assert answer["model"]["calibrated"] is True
    scores = calibration.probabilities(np.array(face["map_values"], np.float32))
    assert [point["score"] for point in face["landmarks"]] == pytest.approx(scores, abs=1e-3)


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_chip_is_the_photograph_by_its_matrix(
    client: httpx.Client, astronaut_jpeg: bytes, astronaut: Pixels, template: str
) -> None:
    (face,) = align(client, astronaut_jpeg, chip=template, five=True)["faces"]
    chip = picture(face["chip"]["png_base64"])
    size = TEMPLATES[template].size_px
    assert chip.shape == (size, size, 3)
    matrix = np.array(face["chip"]["matrix"])
    on_chip = np.column_stack((face["five"], np.ones(5))) @ matrix.T
    # The face's own proportions differ from the template's; no similarity brings it nearer.
    assert np.abs(on_chip - TEMPLATES[template].points).mean() < 0.06 * size
    for (x, y), (u, v) in zip(face["five"], on_chip, strict=True):
        there = astronaut[round(y), round(x)].astype(int)
        assert np.abs(chip[round(v), round(u)] - there).max() < 60


def test_a_mask_covers_the_landmarks_and_not_its_corners(
    client: httpx.Client, astronaut_jpeg: bytes
) -> None:
    (face,) = align(client, astronaut_jpeg, mask=True)["faces"]
    mask = face["mask"]
    image = picture(mask["png_base64"])
    assert image.shape == (mask["height"], mask["width"])
    assert set(np.unique(image)) == {0, 255}
    inside = points(face)[27:68] - [mask["x"], mask["y"]]
    assert all(image[round(y), round(x)] == 255 for x, y in inside)
    assert image[-1, 0] == image[-1, -1] == 0


def test_normalized_units_are_shares_of_the_picture(
    client: httpx.Client, astronaut_jpeg: bytes
) -> None:
    asked = {"heatmap": True, "five": True}
    (pixel,) = align(client, astronaut_jpeg, **asked)["faces"]
    (share,) = align(client, astronaut_jpeg, units="normalized", **asked)["faces"]
    assert points(share) * 512 - 0.5 == pytest.approx(points(pixel), abs=0.01)
    assert np.array(share["five"]) * 512 - 0.5 == pytest.approx(np.array(pixel["five"]), abs=0.01)
    for box, other in ((pixel, share), (pixel["heatmap"], share["heatmap"])):
        assert other["box"]["x"] * 512 - 0.5 == pytest.approx(box["box"]["x"], abs=0.01)
        assert other["box"]["width"] * 512 == pytest.approx(box["box"]["width"], abs=0.01)


def test_a_drawing_has_every_point_where_the_answer_has_it(
    client: httpx.Client, astronaut_jpeg: bytes
) -> None:
    (face,) = align(client, astronaut_jpeg)["faces"]
    headers = {**JPEG, "Accept": "image/svg+xml"}
    response = client.post("/v1/align", content=astronaut_jpeg, headers=headers)
    assert response.headers["content-type"].startswith("image/svg+xml")
    drawing = ET.fromstring(response.text)  # noqa: S314
    assert drawing.get("viewBox") == "0 0 512 512"
    circles = list(drawing.iter(f"{SVG}circle"))
    assert len(circles) == 68
    titled = {}
    for circle in circles:
        title = circle.find(f"{SVG}title")
        assert title is not None
        assert title.text
        name, number = title.text.split(",")[0].split(" ")
        titled[int(number)] = (name, float(circle.get("cx", 0)), float(circle.get("cy", 0)))
    drawn = np.array([titled[index][1:] for index in range(68)])
    assert drawn == pytest.approx(points(face) + 0.5, abs=0.01)
    assert titled[36][0] == "left_eye"


@pytest.mark.parametrize("query", [{"chip": "passport"}, {"units": "inch"}, {"pose": "maybe"}])
def test_what_cannot_be_told_is_refused_by_name(
    client: httpx.Client, astronaut_jpeg: bytes, query: dict[str, str]
) -> None:
    response = client.post("/v1/align", content=astronaut_jpeg, headers=JPEG, params=query)
    assert response.status_code == 422
    assert response.json()["detail"].startswith(next(iter(query)))


@pytest.mark.parametrize(
    "at", [(-100.0, 0.0), (100.0, 0.0), (0.0, -100.0), (59.4, 49.4), (9e4, 9e4)]
)
def test_a_mask_lies_in_the_picture_wherever_the_face_is(at: tuple[float, float]) -> None:
    photograph = Photograph.of_pixels(np.zeros((50, 60, 3), np.uint8))
    square = np.array([[0, 0], [10, 0], [10, 10], [0, 10]]) + at
    mask = _mask(SimpleNamespace(landmarks=square), photograph, Frame.upright)  # type: ignore[arg-type]
    assert 0 <= mask.x < mask.x + mask.width <= 60
    assert 0 <= mask.y < mask.y + mask.height <= 50
    within = at == (59.4, 49.4)
    assert picture(mask.png_base64).any() == within


def test_a_photograph_is_decoded_once_for_all_chips() -> None:
    decoded: list[int] = []

    def decode(shrink: int) -> Pixels:
        decoded.append(shrink)
        return np.zeros((50, 60, 3), np.uint8)

    photograph = Photograph(ImageHeader("png", 60, 50, 1), decode, (1,))
    face = SimpleNamespace(five=np.array(TEMPLATES["arcface-112"].points))
    chips = cut_chips(photograph, [face] * 5, "arcface-112")  # type: ignore[list-item]
    assert len(chips) == 5
    assert len(decoded) == 1
    assert cut_chips(photograph, [], "arcface-112") == []
