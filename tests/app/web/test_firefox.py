"""The page in a browser of another make: what a visitor does first."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.app.web.firefox import FIREFOX, Firefox, firefox
from tests.app.web.test_browser import FRAME, GIVE, PLACES, POINTS


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Firefox]:
    if FIREFOX is None:
        pytest.skip("Firefox is not installed")
    with firefox(tmp_path_factory.mktemp("firefox")) as browser:
        yield browser


@pytest.fixture
def page(running: Firefox, client: httpx.Client) -> Firefox:
    running.resize(1280, 900)
    running.open(f"{client.base_url}/")
    return running


def test_points_of_what_is_dropped_are_where_the_service_says(
    page: Firefox, client: httpx.Client, sample: Path
) -> None:
    page.run(GIVE % "DragEvent('drop', options)")
    page.wait(f"{POINTS} === 68")
    assert "1 face, in" in page.run("document.getElementById('status').textContent")
    headers = {"Content-Type": "image/jpeg"}
    (face,) = client.post("/v1/align", content=sample.read_bytes(), headers=headers).json()["faces"]
    left, top, width, height = page.run(FRAME)
    for point, (x, y, _) in zip(face["landmarks"], page.run(PLACES), strict=True):
        assert x == pytest.approx(left + (point["x"] + 0.5) * width / 512, abs=1)
        assert y == pytest.approx(top + (point["y"] + 0.5) * height / 512, abs=1)


def test_a_picture_is_chosen_and_all_is_shown_without_a_complaint(
    page: Firefox, client: httpx.Client, sample: Path
) -> None:
    page.choose("#file", sample)
    page.wait(f"{POINTS} === 68")
    page.run("document.querySelectorAll('fieldset input').forEach((box) => box.click())")
    page.wait("document.querySelectorAll('.number').length === 68")
    page.resize(320, 640)
    assert page.run("document.documentElement.scrollWidth") <= 320
    own = f"{client.base_url}/"
    assert [u for u in page.requests() if not u.startswith((own, f"blob:{own}", "data:"))] == []
    assert page.complaints() == []


def test_the_camera_is_asked_frame_by_frame_and_stops(page: Firefox) -> None:
    page.run("camera.click()")
    page.wait("rate.textContent.includes('frames a second')")
    page.run("camera.click()")
    status = page.wait("document.getElementById('status').textContent")
    assert status == "The camera is off."
    assert page.complaints() == []


def test_a_refusal_is_told_in_its_own_words(page: Firefox, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("Dear service")
    page.choose("#file", tmp_path / "letter.txt")
    assert "JPEG, PNG or WebP" in page.wait("!problem.hidden && problem.textContent")
