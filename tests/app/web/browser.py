"""A headless Chromium, driven over its DevTools protocol by the websockets that uvicorn brings."""

import base64
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
from websockets.sync.client import ClientConnection, connect

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
WAIT_S = 60
KEYS = {"Tab": 9, "Enter": 13, " ": 32, "ArrowRight": 39}


class Tab:
    """One page: what it is told to do, and what it reported."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._sent = 0
        self.events: list[dict[str, Any]] = []
        for domain in ("Page", "Runtime", "Log", "Network", "DOM"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command's result; what the page reports meanwhile is kept in `events`."""
        self._sent += 1
        message = {"id": self._sent, "method": method, "params": parameters}
        self._socket.send(json.dumps(message))
        while True:
            answer = json.loads(self._socket.recv(timeout=WAIT_S))
            if answer.get("id") == self._sent:
                assert "error" not in answer, (method, answer["error"])
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)

    def open(self, url: str) -> None:
        """Load an address, and wait until its scripts have run."""
        self.ask("Page.navigate", url=url)
        self.wait(f"location.href === {url!r} && document.readyState === 'complete'")

    def run(self, script: str) -> Any:
        """An expression's value, awaited if it is a promise."""
        result = self.ask(
            "Runtime.evaluate",
            expression=script,
            awaitPromise=True,
            returnByValue=True,
            userGesture=True,
        )
        assert "exceptionDetails" not in result, (script, result["exceptionDetails"])
        return result["result"].get("value")

    def wait(self, condition: str) -> Any:
        """The expression's value as soon as it is a true one."""
        return wait_for(self.run, condition)

    def press(self, key: str) -> None:
        """A key, down and up."""
        text = {"Enter": "\r", " ": " "}.get(key, "")
        codes = {"key": key, "windowsVirtualKeyCode": KEYS[key]}
        self.ask("Input.dispatchKeyEvent", type="keyDown", text=text, **codes)
        self.ask("Input.dispatchKeyEvent", type="keyUp", **codes)

    def choose(self, selector: str, *files: Path) -> None:
        """Files for an input."""
        root = self.ask("DOM.getDocument")["root"]["nodeId"]
        node = self.ask("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.ask("DOM.setFileInputFiles", nodeId=node, files=[str(file) for file in files])

    def resize(self, width: int, height: int) -> None:
        """The window's size, in CSS pixels."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.ask("Emulation.setDeviceMetricsOverride", **size)

    def prefer(self, scheme: str) -> None:
        """A light or dark colour scheme."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.ask("Emulation.setEmulatedMedia", features=[feature])

    def picture(self) -> bytes:
        """What the window shows, as a PNG."""
        return base64.b64decode(self.ask("Page.captureScreenshot", format="png")["data"])

    def reported(self, method: str) -> list[dict[str, Any]]:
        """The parameters of all events of a kind, until now."""
        self.run("0")  # what was reported before has arrived with this answer
        return [event["params"] for event in self.events if event.get("method") == method]

    def complaints(self) -> list[str]:
        """Errors and warnings in the console: a violated policy and a failed request are two."""
        thrown = [
            str(event["exceptionDetails"]) for event in self.reported("Runtime.exceptionThrown")
        ]
        logged = [event["entry"] for event in self.reported("Log.entryAdded")]
        called = [
            str(event["args"])
            for event in self.reported("Runtime.consoleAPICalled")
            if event["type"] in ("error", "warning", "assert")
        ]
        told = [f"{entry['text']} {entry.get('url', '')}" for entry in logged]
        return [*thrown, *called, *told]

    def requests(self) -> list[str]:
        """Every address that was asked for."""
        return [event["request"]["url"] for event in self.reported("Network.requestWillBeSent")]


class Browser:
    """A running Chromium, whose camera sees `seen`."""

    def __init__(self, port: int) -> None:
        self._address = f"http://127.0.0.1:{port}"

    @contextmanager
    def tab(self) -> Iterator[Tab]:
        """A page of its own, closed in the end."""
        opened = httpx.put(f"{self._address}/json/new?about:blank").json()
        try:
            with connect(opened["webSocketDebuggerUrl"], max_size=None) as socket:
                yield Tab(socket)
        finally:
            httpx.get(f"{self._address}/json/close/{opened['id']}")


@contextmanager
def chromium(profile: Path, seen: Path) -> Iterator[Browser]:
    """Start a Chromium with an empty profile; `seen` is the MJPEG that its camera sees."""
    assert CHROMIUM, "ask for CHROMIUM first"
    line = [
        CHROMIUM,
        "--headless=new",
        "--remote-debugging-port=0",
        f"--user-data-dir={profile}",
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-video-capture={seen}",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--no-sandbox",  # which neither root nor a container has; nothing foreign is opened
        "about:blank",
    ]
    file = profile / "DevToolsActivePort"
    with started(line, lambda: int(file.read_text().splitlines()[0])) as port:
        yield Browser(port)


def wait_for(run: Callable[[str], Any], condition: str) -> Any:
    """The value of an expression in a page as soon as it is a true one."""
    end = time.monotonic() + WAIT_S
    while not (value := run(condition)):
        assert time.monotonic() < end, (condition, run("document.body.innerText"))
        time.sleep(0.05)
    return value


@contextmanager
def started(line: Sequence[str], port: Callable[[], int]) -> Iterator[int]:
    """A browser's process; the port, as soon as it has written that down for `port` to read."""
    output = subprocess.DEVNULL
    with subprocess.Popen(line, stdout=output, stderr=output) as process:
        try:
            yield _port(port, line[0])
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def _port(read: Callable[[], int], program: str) -> int:
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end:
        with suppress(FileNotFoundError, LookupError, ValueError):
            return read()
        time.sleep(0.05)
    raise RuntimeError(f"{program} did not start within {WAIT_S} s")
