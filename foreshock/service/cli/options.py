"""Options that several commands have, and the running Foreshock that they name."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from foreshock.core.errors import Invalid
from foreshock.core.quantities import parse_duration
from foreshock.service.cli.terminal import Output

if TYPE_CHECKING:
    from correlation.settings import CorrelationSettings
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


def moment(text: str) -> datetime:
    """Parser of an option: RFC 3339; UTC where it says nothing else."""
    from foreshock.service.recorded import read_time

    try:
        return read_time(text)
    except Invalid as error:
        raise typer.BadParameter(f"{error}; {error.hint}") from None


def client(server: str, token_file: Path | None) -> "Client":
    from foreshock.service.client import Client

    return Client(server, token_file)


def with_changes(settings: "CorrelationSettings", changes: Sequence[str]) -> "CorrelationSettings":
    """With single settings changed, each written ``section.name=value``. Raises ConfigError."""
    from foreshock.connect.config import Origin, path_text, plain_value, validate

    data = settings.model_dump(mode="json")
    for change in changes:
        key, is_there, value = change.partition("=")
        *way, name = key.strip().split(".")
        section = data
        for step in way:
            section = section.setdefault(step, {})
        if not is_there or not isinstance(section, dict):
            raise typer.BadParameter(f"{change!r} is no setting: write group.threshold=0.5")
        section[name] = plain_value(value.strip())
    return validate(data, type(settings), where=lambda place: Origin(file="--set", line=None, path=path_text(place)))
