"""The camera on the page: a Chromium's, which sees a photograph."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.app.web.browser import Browser, Tab

# Records what is asked and how many requests are open at once; `refusals` are answered first.
WATCH = """
window.asked = [];
window.open_now = window.open_most = 0;
window.refusals = [];
const original = window.fetch;
window.fetch = async (path, options) => {
  if (!String(path).startsWith('v1/align')) return original(path, options);
  asked.push([String(path), performance.now()]);
  open_most = Math.max(open_most, ++open_now);
  try {
    const refusal = refusals.shift();
    if (refusal) return new Response(JSON.stringify(refusal.body), refusal);
    return await original(path, options);
  } finally {
    open_now -= 1;
  }
};"""
BUSY = """
refusals.push({
  status: 429,
  headers: { 'Retry-After': '1' },
  body: { title: 'Too much work', detail: 'All places are taken.', request_id: 'abc' },
})"""
POINTS = "document.querySelectorAll('.point').length === 68"
STATUS = "document.getElementById('status').textContent"


@pytest.fixture
def watched(browser: Browser, client: httpx.Client) -> Iterator[Tab]:
    with browser.tab() as tab:
        tab.resize(1280, 900)
        tab.ask("Page.addScriptToEvaluateOnNewDocument", source=WATCH)
        tab.open(f"{client.base_url}/")
        yield tab


def paths(tab: Tab) -> list[str]:
    return [path for path, _ in tab.run("asked")]


def test_frames_follow_answers_and_carry_the_last_ones_boxes(watched: Tab) -> None:
    watched.run("camera.click()")
    watched.wait("asked.length > 34")
    watched.run("camera.click()")
    asked = paths(watched)
    assert watched.run("open_most") == 1, "a frame waits for the answer of the one before"
    detected = [at for at, path in enumerate(asked) if "boxes" not in path]
    assert detected == [0, 30], "faces are looked for now and then"
    assert asked[1].startswith("v1/align?pose=true&boxes=[[")
    assert watched.run("document.querySelectorAll('.point').length") == 68
    assert "frames a second" in watched.run("rate.textContent")
    count = watched.run("asked.length")
    watched.run("new Promise((done) => setTimeout(done, 700))")
    assert watched.run("asked.length") == count, "stopped is stopped"
    assert watched.run(STATUS) == "The camera is off."
    assert watched.complaints() == []


def test_points_lie_on_the_face_of_the_frame(watched: Tab) -> None:
    watched.run("camera.click()")
    watched.wait("asked.length > 5")
    watched.run("camera.click()")
    chin = watched.run(
        "(() => { const point = document.querySelectorAll('.point')[8];"
        "const { x, y } = new DOMPoint(0, 0).matrixTransform(point.getScreenCTM());"
        "const { left, top, width } = photo.getBoundingClientRect();"
        "return [x - left, y - top].map((v) => v / width * photo.naturalWidth) })()"
    )
    assert watched.run("[photo.naturalWidth, photo.naturalHeight]") == [640, 480]
    assert chin == pytest.approx([64 + 221.7, 177.8], abs=6)


def test_a_photograph_is_taken_with_the_camera(watched: Tab) -> None:
    watched.run("camera.click()")
    watched.wait(POINTS)
    watched.run("shoot.click()")
    watched.wait(f"{STATUS}.startsWith('1 face, in')")
    assert paths(watched)[-1] == "v1/align?pose=true&heatmap=true"
    assert watched.run("document.getElementById('curl').textContent").count("photograph.jpg") == 1
    assert watched.run("document.activeElement.id") == "camera"
    assert watched.run("document.getElementById('shoot').hidden")


def test_the_camera_waits_as_long_as_it_is_told(watched: Tab) -> None:
    watched.run(BUSY)
    watched.run("camera.click()")
    told = watched.wait("!problem.hidden && problem.textContent")
    assert watched.run("document.getElementById('shoot').hidden") is False
    assert told == "Too much work: All places are taken. (429, request abc)"
    watched.wait("asked.length > 1")
    (_, first), (_, second) = watched.run("asked.slice(0, 2)")
    assert second - first >= 1000
    watched.wait(f"{POINTS} && problem.hidden")


def test_a_photograph_is_sent_again_when_it_may_be(watched: Tab) -> None:
    watched.run(BUSY)
    watched.run("sample.click()")
    watched.wait(f"{STATUS}.endsWith('Trying again in 1 s.')")
    watched.wait(POINTS)
    (_, first), (_, second) = watched.run("asked")
    assert second - first >= 1000


def test_what_will_not_pass_ends_the_camera(watched: Tab) -> None:
    watched.run("refusals.push({ status: 401, body: { title: 'No key', detail: 'Send one.' } })")
    watched.run("camera.click()")
    assert watched.wait("!problem.hidden && problem.textContent") == "No key: Send one. (401)"
    assert watched.run(STATUS) == "The camera is off."
    assert watched.run("document.getElementById('camera').textContent") == "Start the camera"
    assert watched.run("access.open")


def test_without_a_camera_people_are_told_why(watched: Tab) -> None:
    watched.run(
        "navigator.mediaDevices.getUserMedia = () => Promise.reject(new Error('Permission denied'))"
    )
    watched.run("camera.click()")
    told: Any = watched.wait("!problem.hidden && problem.textContent")
    assert told == "The camera cannot be used: Permission denied"


def test_who_reads_a_face_is_not_thrown_out_by_the_next_frame(watched: Tab) -> None:
    watched.run("camera.click()")
    watched.wait(POINTS)
    watched.run("faces.querySelector('summary').focus(), faces.querySelector('summary').click()")
    watched.wait("faces.querySelectorAll('tbody tr').length === 68")
    watched.run("faces.querySelector('.scroll').scrollTop = 200")
    watched.wait(f"asked.length > {watched.run('asked.length') + 2}")
    assert watched.run("document.activeElement.tagName") == "SUMMARY"
    assert watched.run("faces.querySelector('details').open")
    assert watched.run("faces.querySelector('.scroll').scrollTop") == 200
    assert watched.run("faces.querySelectorAll('tbody tr').length") == 68
