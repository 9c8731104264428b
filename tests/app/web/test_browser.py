"""The page in a real browser, of a real service."""

import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import httpx
import pytest

from tests.app.web.browser import WAIT_S, Tab

POINTS = "document.querySelectorAll('.point').length"
PLACES = """
[...document.querySelectorAll('.point')].map((point) => {
  const { x, y } = new DOMPoint(0, 0).matrixTransform(point.getScreenCTM());
  return [x, y, point.querySelector('title').textContent];
})"""
FRAME = """
(() => {
  const { left, top, width, height } = document.getElementById('photo').getBoundingClientRect();
  return [left, top, width, height];
})()"""
GIVE = """
(async () => {
  const blob = await (await fetch('web/astronaut.jpg')).blob();
  const data = new DataTransfer();
  data.items.add(new File([blob], 'given.jpg', { type: 'image/jpeg' }));
  const options = { bubbles: true, cancelable: true, dataTransfer: data, clipboardData: data };
  document.body.dispatchEvent(new %s);
})()"""


@pytest.fixture
def answer(client: httpx.Client, sample: Path) -> dict[str, Any]:
    headers = {"Content-Type": "image/jpeg"}
    told: dict[str, Any] = client.post(
        "/v1/align?pose=true&heatmap=true", content=sample.read_bytes(), headers=headers
    ).json()
    return told


def show_sample(tab: Tab) -> None:
    tab.run("overlay.replaceChildren(), document.getElementById('sample').click()")
    tab.wait(f"{POINTS} === 68")


def await_file(file: Path) -> None:
    end = time.monotonic() + WAIT_S
    while not file.exists():
        assert time.monotonic() < end, f"{file.name} was not saved"
        time.sleep(0.05)


def test_points_are_where_the_service_says(tab: Tab, answer: dict[str, Any]) -> None:
    show_sample(tab)
    (face,) = answer["faces"]
    groups = answer["model"]["groups"]
    names = {i: name for name, indices in groups.items() for i in indices}
    for size in ((1280, 900), (500, 700), (2000, 500)):
        tab.resize(*size)
        for zoom in (1, 3):
            tab.run(
                f"(zoom.value = {zoom}, zoom.dispatchEvent(new Event('input')),"
                "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))))"
            )
            left, top, width, height = tab.run(FRAME)
            assert width > 100 * zoom
            for i, (x, y, title) in enumerate(tab.run(PLACES)):
                point = face["landmarks"][i]
                assert x == pytest.approx(left + (point["x"] + 0.5) * width / 512, abs=1)
                assert y == pytest.approx(top + (point["y"] + 0.5) * height / 512, abs=1)
                score = f"{point['score']:.2f}"
                assert re.fullmatch(rf"{i} {names[i].replace('_', ' ')}, score [\d.]+", title)
                assert float(title.split()[-1]) == pytest.approx(float(score), abs=0.011)


def test_the_page_asks_nobody_else_and_complains_of_nothing(tab: Tab, client: httpx.Client) -> None:
    show_sample(tab)
    tab.run("document.querySelectorAll('fieldset input').forEach((box) => box.click())")
    own = f"{client.base_url}/"
    assert [u for u in tab.requests() if not u.startswith((own, f"blob:{own}", "data:"))] == []
    assert tab.complaints() == []


def test_what_the_policy_forbids_is_forbidden_and_would_be_seen(tab: Tab) -> None:
    tab.run(
        "document.body.append(Object.assign(document.createElement('img'), {src: 'http://x.test/'}))"
    )
    tab.run("document.body.insertAdjacentHTML('beforeend', '<p style=\"color: red\">')")
    tab.wait("true")
    complaints = " ".join(tab.complaints())
    assert "img-src" in complaints
    assert "style-src" in complaints


@pytest.mark.parametrize(
    ("name", "shown", "selector"),
    [
        ("points", 68, ".point"),
        ("numbers", 68, ".number"),
        ("boundaries", 13, ".boundary"),
        ("heatmap", 1, ".heat"),
        ("boxes", 1, "rect.box"),
    ],
)
def test_toggles(tab: Tab, name: str, shown: int, selector: str) -> None:
    show_sample(tab)
    count = f"document.querySelectorAll('{selector}').length"
    checked = tab.run(f"document.querySelector('[name={name}]').checked")
    assert tab.run(count) == (shown if checked else 0)
    tab.run(f"document.querySelector('[name={name}]').click()")
    assert tab.run(count) == (0 if checked else shown)


def test_groups_differ_in_colour_and_in_shape(tab: Tab) -> None:
    show_sample(tab)
    marks = tab.run(
        "[...legend.querySelectorAll('path')]"
        ".map((mark) => [mark.getAttribute('fill'), mark.getAttribute('d')])"
    )
    assert len(marks) == 8
    assert len({color for color, _ in marks}) == len({shape for _, shape in marks}) == 8


@pytest.mark.parametrize(
    "event", ["DragEvent('drop', options)", "ClipboardEvent('paste', options)"]
)
def test_pictures_are_dropped_and_pasted(tab: Tab, event: str) -> None:
    tab.run(GIVE % event)
    tab.wait(f"{POINTS} === 68")
    assert "1 face, in" in tab.run("document.getElementById('status').textContent")


def test_a_picture_is_chosen_and_told_of(tab: Tab, sample: Path, answer: dict[str, Any]) -> None:
    tab.choose("#file", sample)
    tab.wait(f"{POINTS} === 68")
    text = tab.run("faces.innerText")
    assert f"score {answer['faces'][0]['score']:.2f}"[:-1] in text
    assert tab.run("document.querySelectorAll('#timing tr').length") == len(answer["timing_ms"])
    tab.run("faces.querySelector('summary').click()")
    assert tab.wait("faces.querySelectorAll('tbody tr').length") == 68


def test_the_command_asks_the_same(
    tab: Tab, sample: Path, answer: dict[str, Any], tmp_path: Path
) -> None:
    name = "it's a $HOME.jpg"
    (tmp_path / name).write_bytes(sample.read_bytes())
    tab.choose("#file", tmp_path / name)
    command = tab.wait("document.getElementById('curl').textContent")
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    ran = subprocess.run(["/bin/sh", "-c", command], cwd=tmp_path, capture_output=True, check=True)
    told = httpx.Response(200, content=ran.stdout).json()
    assert told["faces"] == answer["faces"]


def test_what_is_taken_along(tab: Tab, tmp_path: Path, answer: dict[str, Any]) -> None:
    tab.ask(
        "Browser.setDownloadBehavior",
        behavior="allow",
        downloadPath=str(tmp_path),
        eventsEnabled=True,
    )
    show_sample(tab)
    for button in ("save-csv", "save-svg"):
        tab.run(f"document.getElementById('{button}').click()")
        await_file(tmp_path / f"landmarks.{button[-3:]}")
    lines = (tmp_path / "landmarks.csv").read_text().splitlines()
    assert lines[0] == "face,point,group,x,y,score"
    last = answer["faces"][0]["landmarks"][67]
    assert lines[68] == f"0,67,inner_lips,{last['x']},{last['y']},{last['score']}"
    svg = ET.parse(tmp_path / "landmarks.svg").getroot()  # noqa: S314
    assert len([node for node in svg.iter() if node.get("class") == "point"]) == 68
    (picture,) = (node for node in svg.iter() if node.tag.endswith("}image"))
    assert str(picture.get("href")).startswith("data:image/jpeg;base64,")


def test_problems_are_told_in_their_own_words(tab: Tab, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("Dear service")
    tab.choose("#file", tmp_path / "letter.txt")
    told = tab.wait("!problem.hidden && problem.textContent")
    assert "JPEG, PNG or WebP" in told
    assert "415" in told
    show_sample(tab)
    assert tab.run("problem.hidden")


def test_a_network_that_is_down_is_told(tab: Tab, sample: Path) -> None:
    tab.ask(
        "Network.emulateNetworkConditions",
        offline=True,
        latency=0,
        downloadThroughput=0,
        uploadThroughput=0,
    )
    tab.choose("#file", sample)
    assert "cannot be reached" in tab.wait("!problem.hidden && problem.textContent")


def test_nothing_scrolls_sideways_on_a_small_screen(tab: Tab) -> None:
    tab.resize(320, 640)
    for _ in range(2):
        assert tab.run("document.documentElement.scrollWidth") <= 320
        show_sample(tab)
        tab.run("document.querySelectorAll('details').forEach((part) => (part.open = true))")
        tab.wait("faces.querySelector('tbody tr') !== null")
    assert tab.run("document.documentElement.scrollWidth") <= 320
