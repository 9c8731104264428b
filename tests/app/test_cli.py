"""The command by itself; what its subcommands do is tested where that lives."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from click.testing import CliRunner

from app.cli import main

ROOT = Path(__file__).resolve().parents[2]


def test_the_command_tells_its_version() -> None:
    told = CliRunner().invoke(main, ["--version"], prog_name="lwbafa")
    assert told.exit_code == 0
    assert told.output == f"lwbafa, version {version('lwbafa')}\n"


@pytest.mark.parametrize("arguments", ["models", "--help", "align --help", "keys new web"])
def test_a_full_disk_is_one_line_and_no_key_is_shown_whose_entry_is_lost(arguments: str) -> None:
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "app.cli", *arguments.split()],
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=60,
        )
    assert ended.returncode == 1
    assert ended.stderr == "Error: [Errno 28] No space left on device\n"
