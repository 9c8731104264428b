"""docker/nginx-tls.conf, the public front, in a real nginx with a certificate of the test's own."""

import re
import shutil
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

import httpx
import pytest

from app.errors import RateLimited
from proof.harness import ROOT
from proof.harness.nginx import IN_ITS_FOLDER, NGINX
from proof.harness.server import free_port

CONFIGURATION = (ROOT / "docker" / "nginx-tls.conf").read_text()
SITE = ROOT / "docker" / "site"
PATIENCE_S = 20
BURST = 20

pytestmark = pytest.mark.skipif(
    not (NGINX and shutil.which("openssl")), reason="no nginx or no openssl"
)


class Instance(BaseHTTPRequestHandler):
    """Stands for the service: says which path was asked for."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = self.path.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep the tests' output quiet."""


class Front(NamedTuple):
    """Where the running nginx listens, and how to talk to it."""

    clear: str
    secure: str
    client: httpx.Client


@pytest.fixture(scope="module")
def instance() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Instance) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory, instance: int) -> Iterator[Front]:
    folder = tmp_path_factory.mktemp("nginx")
    certificate, key = folder / "fullchain.pem", folder / "privkey.pem"
    subject = ("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1")
    files = ("-keyout", str(key), "-out", str(certificate))
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *subject, *files],  # noqa: S607
        capture_output=True,
        check=True,
    )
    # Started by root, nginx works as somebody else, who does not get into the tests' folders.
    user = "user root;\n" if folder.owner() == "root" else ""
    clear, secure = free_port(), free_port()
    text = re.sub(
        r"( +server lwbafa-\d:8000 .*\n)+", f"server 127.0.0.1:{instance};\n", CONFIGURATION
    )
    for told, here in {
        "listen 80;": f"listen 127.0.0.1:{clear};",
        "listen 443 ssl ": f"listen 127.0.0.1:{secure} ssl ",
        "/etc/nginx/tls": str(folder),
        "/srv/lwbafa-site": str(SITE),
    }.items():
        assert told in text
        text = text.replace(told, here)
    (folder / "lwbafa.conf").write_text(text)
    main = IN_ITS_FOLDER.format(folder=folder)
    types = "types { text/html html; text/javascript js; }"
    (folder / "nginx.conf").write_text(f"{user}{main}{types} include {folder}/lwbafa.conf; }}")
    command = [str(NGINX), "-p", str(folder), "-e", str(folder / "error.log")]
    command += ["-c", str(folder / "nginx.conf")]
    tested = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
    assert tested.returncode == 0, tested.stderr
    assert "[warn]" not in tested.stderr
    trusted = ssl.create_default_context(cafile=str(certificate))
    with subprocess.Popen(command) as process, httpx.Client(verify=trusted) as client:
        try:
            urls = (f"http://127.0.0.1:{clear}", f"https://127.0.0.1:{secure}")
            wait_for(client, urls[1])
            yield Front(*urls, client)
        finally:
            process.terminate()


def wait_for(client: httpx.Client, url: str) -> None:
    give_up = time.monotonic() + PATIENCE_S
    while time.monotonic() < give_up:
        with suppress(httpx.TransportError):
            client.get(url)
            return
        time.sleep(0.05)
    raise TimeoutError("nginx does not answer")


def test_the_page_stands_beside_the_api(front: Front) -> None:
    page = front.client.get(f"{front.secure}/")
    assert page.headers["content-type"] == "text/html"
    assert page.text == (SITE / "index.html").read_text()
    assert "max-age" in page.headers["strict-transport-security"]
    # All that the page brings comes from here, and is let in by its own policy.
    (script,) = re.findall(r'<script src="([^"]+)">', page.text)
    assert front.client.get(f"{front.secure}/{script}").text == (SITE / script).read_text()
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert not re.search(r"<style|style=|onclick|https?://", page.text)
    assert '"/v1/align"' in (SITE / script).read_text()
    assert front.client.get(f"{front.secure}/v1/models").text == "/v1/models"


@pytest.mark.parametrize("path", ["/metrics", "/livez", "/readyz", "/docs", "/openapi.json"])
def test_what_is_not_the_api_stays_inside(front: Front, path: str) -> None:
    assert front.client.get(f"{front.secure}{path}").status_code == 404


def test_in_the_clear_the_page_is_elsewhere_and_the_api_refused(front: Front) -> None:
    page = front.client.get(f"{front.clear}/")
    assert page.status_code == 301
    assert page.headers["location"].startswith("https://")
    assert front.client.get(f"{front.clear}/v1/align").status_code == 403


def test_an_address_has_its_rate_and_is_told_as_the_service_tells(front: Front) -> None:
    answers = [front.client.get(f"{front.secure}/v1/models") for _ in range(3 * BURST)]
    assert sum(answer.is_success for answer in answers) >= BURST - 5
    refused = [answer for answer in answers if not answer.is_success]
    assert refused
    for answer in refused:
        assert answer.status_code == RateLimited.status
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["retry-after"] == "1"
        problem = answer.json()
        assert problem["code"] == RateLimited.code
        assert problem["status"] == answer.status_code
        assert problem["request_id"]
    assert front.client.get(f"{front.secure}/").is_success, "the page has no rate"
