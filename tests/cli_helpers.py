"""The command line in this process, for tests that go through several commands."""

from typer.testing import CliRunner

from climb_hf.cli.app import app


def climb(*arguments) -> str:
    """Run a command that must succeed, and return what it printed."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output + repr(result.exception)
    return result.output
