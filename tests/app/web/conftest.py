"""A browser, where there is one, and the page of a real service in it."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from lwbafa.types import Pixels
from tests.app.web.browser import CHROMIUM, Browser, Tab, chromium
from tests.conftest import encode


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory, astronaut: Pixels) -> Iterator[Browser]:
    """A Chromium before whose camera the astronaut sits."""
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    folder = tmp_path_factory.mktemp("chromium")
    seen = folder / "seen.mjpeg"
    wide = np.pad(astronaut[:480], ((0, 0), (64, 64), (0, 0)))
    seen.write_bytes(encode(wide, ".jpg"))
    with chromium(folder / "profile", seen) as running:
        yield running


@pytest.fixture
def tab(browser: Browser, client: httpx.Client) -> Iterator[Tab]:
    """The page, fresh, of a service with default settings."""
    with browser.tab() as opened:
        opened.resize(1280, 900)
        opened.open(f"{client.base_url}/")
        yield opened


@pytest.fixture(scope="session")
def sample() -> Path:
    """The picture that the page brings."""
    return Path("app/web/astronaut.jpg").resolve()
