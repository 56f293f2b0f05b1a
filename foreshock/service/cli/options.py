"""Options that several commands have, and the running Foreshock that they name."""

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from foreshock.core.errors import Invalid
from foreshock.core.quantities import parse_duration
from foreshock.service.cli.terminal import Output

if TYPE_CHECKING:
    from foreshock.service.client import Client

Config = Annotated[
    Path | None,
    typer.Option("--config", envvar="FORESHOCK_CONFIG", help="Configuration file; embedded defaults without one."),
]
Server = Annotated[str, typer.Option("--server", envvar="FORESHOCK_SERVER", help="Address of the running Foreshock.")]
TokenFile = Annotated[
    Path | None, typer.Option("--token-file", envvar="FORESHOCK_TOKEN_FILE", help="File that holds your token.")
]
Format = Annotated[Output, typer.Option("--output", "-o", help="A table for people, or JSON for programs.")]
DEFAULT_SERVER = "http://127.0.0.1:8420"

OwnTopology = Annotated[
    Path | None, typer.Option("--topology", help="Topology file or folder, in place of the input's own.")
]
Mapped = Annotated[Path | None, typer.Option("--mapping", help="YAML that says which column is what.")]


def duration(text: str) -> timedelta:
    """Parser of an option."""
    try:
        return parse_duration(text)
    except Invalid as error:
        raise typer.BadParameter(f"{error}; {error.hint}") from None


def client(server: str, token_file: Path | None) -> "Client":
    from foreshock.service.client import Client

    return Client(server, token_file)
