"""The command line, called within the test."""

from collections.abc import Sequence

from typer.testing import CliRunner, Result

from foreshock.service.cli import app


def run(words: Sequence[str]) -> Result:
    """``foreshock`` with these words: its exit code and what it printed."""
    return CliRunner().invoke(app, list(words))
