"""What the tests share: a real photograph, a real checkpoint, a real service."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import cv2
import httpx
import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from numpy.typing import NDArray
from skimage import data

from lwbafa.types import Pixels
from proof.harness.server import running
from proof.harness.target import USUAL

FACE_DATA = Path(os.environ.get("FACE_DATA", os.devnull))

needs_face_data = pytest.mark.skipif(
    not (FACE_DATA / "300w").is_dir(),
    reason="300-W is not at hand; FACE_DATA names the folder that holds 300w/",
)

# A busy machine makes examples slowly, which says nothing about the code.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

# Points of the astronaut's face, placed by eye on a sevenfold enlargement: index → x, y.
ASTRONAUT_POINTS = {
    8: (221.7, 177.8),  # chin
    17: (189.9, 90.3),  # brows, outer ends
    26: (262.9, 94.3),
    21: (212.9, 92.1),  # brows, inner ends
    22: (238.4, 93.1),
    30: (224.6, 126.4),  # tip and base of the nose
    33: (223.9, 131.7),
    36: (192.9, 99.6),  # eye corners
    39: (211.0, 102.7),
    42: (236.7, 105.0),
    45: (258.4, 102.7),
    48: (203.1, 139.9),  # corners of the mouth
    54: (243.4, 141.3),
    51: (223.1, 138.9),  # outer lips, top and bottom
    57: (222.7, 153.6),
}


@pytest.fixture(scope="session")
def astronaut() -> Pixels:
    """NASA's portrait of Eileen Collins, public domain: one frontal face, 512×512 RGB."""
    return np.ascontiguousarray(data.astronaut())


@pytest.fixture(scope="session")
def astronaut_jpeg(astronaut: Pixels) -> bytes:
    return encode(astronaut, ".jpg")


@pytest.fixture(scope="session")
def small_faces_jpeg(astronaut: Pixels) -> bytes:
    """Two faces of 2700×400 pixels, around x 741 and 1941, which only a finer search finds."""
    head = cv2.resize(astronaut[:300, 60:360], (75, 75), interpolation=cv2.INTER_AREA)
    row = np.full((400, 2700, 3), 127, np.uint8)
    row[150:225, 700:775] = row[150:225, 1900:1975] = head
    return encode(row, ".jpg")


@pytest.fixture(scope="session")
def client() -> Iterator[httpx.Client]:
    """A client of a real server process with default settings."""
    with server_process(None) as (url, _), httpx.Client(base_url=url, timeout=60) as http:
        yield http


@contextmanager
def running_server(**settings: object) -> Iterator[str]:
    """The address of a server process of its own, ready to answer, with some settings changed."""
    with server_process(None, "app", **settings) as (url, _):
        yield url


@contextmanager
def server_process(
    stderr: IO[bytes] | None, command: str = "app", /, **settings: object
) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """As `running_server`, with the process itself; `command` may be one that wraps the app."""
    with running(command, stderr, **USUAL | settings) as server:
        yield server.url, server.process


def encode(image: NDArray[np.uint8], suffix: str) -> bytes:
    """RGB pixels encoded by OpenCV."""
    return cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()
