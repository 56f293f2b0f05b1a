"""The command line, one module for each group of commands. What only reads reaches a running Foreshock through its API;
nothing else opens a store that is in use.

A module of a group imports what its commands work with inside them, so that none waits for what another needs.
"""

from typing import Annotated

import typer

from foreshock import __version__
from foreshock.service.cli import (
    cmdb,
    cmdb_trust,
    collectors,
    db,
    explain,
    feedback,
    forecasts,
    history,
    importing,
    incidents,
    learn,
    maintenance,
    model,
    problems,
    recorded,
    reporting,
    rules,
    running,
    sandbox,
    silence,
    sinks,
    suggesting,
    tuning,
)
from foreshock.service.cli.terminal import leave, print_lines

app = typer.Typer(
    name="foreshock",
    help="Monitoring noise in; few, explained, correctly prioritised incidents out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for group in (running, explain, recorded, reporting, tuning, importing, sandbox):
    app.add_typer(group.commands)
app.add_typer(incidents.commands, name="incidents")
app.add_typer(problems.commands, name="problems")
app.add_typer(feedback.commands, name="feedback")
app.add_typer(forecasts.commands, name="forecasts")
cmdb.commands.add_typer(cmdb_trust.commands)
app.add_typer(cmdb.commands, name="cmdb")
app.add_typer(collectors.commands, name="collectors")
app.add_typer(db.commands, name="db")
app.add_typer(history.commands, name="history")
app.add_typer(learn.commands, name="learn")
app.add_typer(model.commands, name="model")
rules.commands.add_typer(suggesting.commands)
app.add_typer(rules.commands, name="rules")
app.add_typer(silence.commands, name="silence")
app.add_typer(sinks.commands, name="sink")
app.add_typer(maintenance.commands, name="maintenance")


def main() -> None:
    """Entry point."""
    app()


def _version(wanted: bool) -> None:
    if wanted:
        print_lines(f"foreshock {__version__}")
        leave(0)


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass
