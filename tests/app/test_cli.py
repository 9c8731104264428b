"""The command by itself; what its subcommands do is tested where that lives."""

from importlib.metadata import version

from click.testing import CliRunner

from app.cli import main


def test_the_command_tells_its_version() -> None:
    told = CliRunner().invoke(main, ["--version"], prog_name="lwbafa")
    assert told.exit_code == 0
    assert told.output == f"lwbafa, version {version('lwbafa')}\n"
