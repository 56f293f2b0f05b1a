"""Commands about the systems that keep our tickets."""

import os
from typing import Annotated, Any, cast

import typer

from foreshock.core.errors import ConfigError, Problem
from foreshock.service.cli.options import Config, Format
from foreshock.service.cli.terminal import Output, leave, print_lines, tell_rows, told

commands = typer.Typer(help="The systems that keep our tickets: are they set up as they must be?", no_args_is_help=True)

_TO_CHANGE = 4


@commands.command("test")
@told
def try_sink(
    name: Annotated[str, typer.Argument(help="Name of the sink in the configuration.")],
    config: Config = None,
    create: Annotated[
        bool, typer.Option("--create", help="Open, change and resolve one ticket as well; it stays there, resolved.")
    ] = False,
    output: Format = Output.TABLE,
) -> None:
    """Ask a system whether Foreshock can work with it: credentials, permissions, key field, mandatory fields, states.

    Nothing is written there without --create. Exit code 4: something must be changed, and the last column says what.

    foreshock sink test servicenow --config foreshock.yaml

    foreshock sink test servicenow --create -o json
    """
    import secrets
    from datetime import UTC, datetime

    import msgspec

    from foreshock.service.settings import load_settings
    from foreshock.service.sink_test import live_once, look
    from foreshock.service.sinks import build_sink

    settings = load_settings(config, os.environ, {})
    found = next((instance for instance in settings.sinks if instance.name == name), None)
    if found is None:
        known = ", ".join(instance.name for instance in settings.sinks) or "none"
        problem = Problem(
            file=str(config or "the configuration"),
            line=None,
            path="sinks",
            message=f"no sink is called {name!r}",
            hint=f"there are: {known}",
        )
        raise ConfigError([problem])
    if found.kind == "desk":
        print_lines("the desk keeps its records in Foreshock's own store: there is nothing to set up")
        return
    sink = build_sink(found, settings.url, cast(Any, None))  # only the desk has a book
    rows = [msgspec.to_builtins(finding) for finding in look(sink)]
    if create:
        run = secrets.token_hex(4)
        rows += [msgspec.to_builtins(finding) for finding in live_once(sink, name, run, lambda: datetime.now(UTC))]
    tell_rows(rows, output, ("looked at", "seen", "to change"), dict.values)
    if any(row["remedy"] for row in rows):
        leave(_TO_CHANGE)
