"""What the page computes, tried without a browser."""

import shutil
import subprocess
from pathlib import Path

import pytest

TESTS = Path(__file__).with_name("core.test.mjs")


@pytest.mark.skipif(shutil.which("node") is None, reason="Node is not installed")
def test_what_the_page_computes() -> None:
    node = shutil.which("node")
    assert node is not None
    ran = subprocess.run([node, "--test", TESTS], capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "# fail 0" in ran.stdout
