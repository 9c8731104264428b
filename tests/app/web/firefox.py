"""A headless Firefox, driven over WebDriver BiDi, which it speaks without a driver beside it."""

import base64
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

from tests.app.web.browser import WAIT_S, started, wait_for

FIREFOX = shutil.which("firefox-esr") or shutil.which("firefox")
PREFERENCES = {
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "media.navigator.permission.disabled": True,
    "media.navigator.streams.fake": True,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "toolkit.telemetry.enabled": False,
}
"""Nobody is asked whether the camera may be used, which is one of moving colours."""


class Firefox:
    """A running Firefox with one page: what it is told to do, and what it reported."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._sent = 0
        self.events: list[dict[str, Any]] = []
        self.ask("session.new", capabilities={})
        self._page = self.ask("browsingContext.create", type="tab")["context"]
        self.ask("session.subscribe", events=["log.entryAdded", "network.beforeRequestSent"])

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command's result; what the browser reports meanwhile is kept in `events`."""
        self._sent += 1
        message = {"id": self._sent, "method": method, "params": parameters}
        self._socket.send(json.dumps(message))
        while True:
            answer = json.loads(self._socket.recv(timeout=WAIT_S))
            if answer.get("id") == self._sent:
                assert answer["type"] == "success", (method, answer)
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)

    def open(self, url: str) -> None:
        """Load an address, and wait until its scripts have run."""
        self.events.clear()
        self.ask("browsingContext.navigate", context=self._page, url=url, wait="complete")

    def run(self, script: str) -> Any:
        """The value of an expression, awaited if it is a promise, as JSON holds it."""
        answer = self.ask(
            "script.evaluate",
            expression=f"(async () => JSON.stringify(await ({script})) ?? 'null')()",
            target={"context": self._page},
            awaitPromise=True,
            userActivation=True,
        )
        assert answer["type"] == "success", (script, answer)
        return json.loads(answer["result"]["value"])

    def wait(self, condition: str) -> Any:
        """The expression's value as soon as it is a true one."""
        return wait_for(self.run, condition)

    def choose(self, selector: str, file: Path) -> None:
        """A file for an input."""
        locator = {"type": "css", "value": selector}
        found = self.ask("browsingContext.locateNodes", context=self._page, locator=locator)
        node = {"sharedId": found["nodes"][0]["sharedId"]}
        self.ask("input.setFiles", context=self._page, element=node, files=[str(file)])

    def resize(self, width: int, height: int) -> None:
        """The page's size, in CSS pixels."""
        size = {"width": width, "height": height}
        self.ask("browsingContext.setViewport", context=self._page, viewport=size)

    def picture(self) -> bytes:
        """What the window shows, as a PNG."""
        shown = self.ask("browsingContext.captureScreenshot", context=self._page)
        return base64.b64decode(shown["data"])

    def complaints(self) -> list[str]:
        """Errors and warnings in the console."""
        told = self._reported("log.entryAdded")
        return [entry["text"] for entry in told if entry["level"] in ("warn", "error")]

    def requests(self) -> list[str]:
        """Every address that was asked for."""
        told = self._reported("network.beforeRequestSent")
        return [event["request"]["url"] for event in told]

    def _reported(self, method: str) -> list[dict[str, Any]]:
        self.run("0")  # what was reported before has arrived with this answer
        return [event["params"] for event in self.events if event.get("method") == method]


@contextmanager
def firefox(profile: Path) -> Iterator[Firefox]:
    """Start a Firefox with a profile of its own in an empty folder."""
    assert FIREFOX, "ask for FIREFOX first"
    lines = [f"user_pref({json.dumps(k)}, {json.dumps(v)});" for k, v in PREFERENCES.items()]
    (profile / "user.js").write_text("\n".join(lines))
    line = [FIREFOX, "--headless", "--no-remote", "--profile", str(profile)]
    file = profile / "WebDriverBiDiServer.json"
    with (
        started(
            [*line, "--remote-debugging-port", "0", "about:blank"],
            lambda: int(json.loads(file.read_text())["ws_port"]),
        ) as port,
        connect(f"ws://127.0.0.1:{port}/session", max_size=None) as socket,
    ):
        yield Firefox(socket)
