"""The page's files, as they are sent."""

import re
import tomllib
from fnmatch import fnmatch

import httpx
import pytest

from app.keys import new_key
from app.web import FOLDER, MEDIA_TYPES, PAGE
from proof.harness import ROOT
from tests.conftest import running_server

BUDGET_BYTES = 40_000
SAMPLE = "astronaut.jpg"
SAMPLE_BYTES = 60_000
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
PATHS = ["/", *(f"/web/{name}" for name in MEDIA_TYPES)]


def test_the_page_is_small() -> None:
    sizes = {name: (FOLDER / name).stat().st_size for name in MEDIA_TYPES}
    assert sizes.pop(SAMPLE) < SAMPLE_BYTES
    assert sum(sizes.values()) <= BUDGET_BYTES


def test_every_file_is_on_the_list_and_in_the_wheel() -> None:
    there = {path.name for path in FOLDER.iterdir() if path.is_file() and path.suffix != ".py"}
    assert there == set(MEDIA_TYPES)
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    patterns = tools["setuptools"]["package-data"]["app.web"]
    assert all(any(fnmatch(name, pattern) for pattern in patterns) for name in there)


@pytest.mark.parametrize("path", PATHS)
def test_a_file_comes_with_its_type_and_what_a_browser_must_know(
    client: httpx.Client, path: str
) -> None:
    answer, head = client.get(path), client.head(path)
    assert answer.status_code == head.status_code == 200
    assert head.content == b""
    name = path.removeprefix("/web/").strip("/") or PAGE
    media_type = MEDIA_TYPES[name]
    charset = "; charset=utf-8" if media_type.startswith("text/") else ""
    assert answer.headers["content-type"] == f"{media_type}{charset}"
    assert answer.content == (FOLDER / name).read_bytes()
    for told in (answer, head):
        assert told.headers["content-security-policy"] == POLICY
        assert told.headers["permissions-policy"] == "camera=(self)"
        assert told.headers["x-content-type-options"] == "nosniff"
        assert told.headers["referrer-policy"] == "no-referrer"
        assert told.headers["cache-control"] == "no-cache"
        assert told.headers["content-length"] == str(len(answer.content))


@pytest.mark.parametrize("path", PATHS)
def test_what_a_browser_has_is_not_sent_again(client: httpx.Client, path: str) -> None:
    etag = client.get(path).headers["etag"]
    for known in (etag, f"W/{etag}", f'"other", {etag}'):
        answer = client.get(path, headers={"If-None-Match": known})
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["etag"] == etag
    assert client.get(path, headers={"If-None-Match": '"other"'}).status_code == 200


@pytest.mark.parametrize(
    "name", ["", "__init__.py", "missing.css", "..%2Fsettings.py", "%2Fetc%2Fpasswd", "a/page.css"]
)
def test_no_other_file_is_sent(client: httpx.Client, name: str) -> None:
    answer = client.get(f"/web/{name}")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_the_page_can_be_switched_off() -> None:
    with running_server(page=False) as url:
        for path in PATHS:
            answer = httpx.get(f"{url}{path}")
            assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
            assert answer.headers["content-type"] == "application/problem+json"
        assert httpx.get(f"{url}/v1/models").status_code == 200


def test_the_page_needs_no_key() -> None:
    with running_server(api_keys=new_key("web")[1]) as url:
        assert {httpx.get(f"{url}{path}").status_code for path in PATHS} == {200}
        assert httpx.get(f"{url}/v1/models").status_code == 401


def test_nothing_is_inline() -> None:
    page = (FOLDER / PAGE).read_text()
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)|javascript:", page)
    for address in re.findall(r'(?:src|href)="([^"]+)"', page):
        assert not re.match(r"\w+://|//", address), address


def test_modules_import_only_what_is_sent() -> None:
    for name in MEDIA_TYPES:
        if name.endswith(".mjs"):
            imported = re.findall(r'from "([^"]+)"', (FOLDER / name).read_text())
            assert {module.removeprefix("./") for module in imported} <= set(MEDIA_TYPES)
