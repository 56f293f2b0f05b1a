"""Silences: who asked for quiet, and until when."""

from collections.abc import Iterable
from typing import Annotated, Any

import typer

from foreshock.service.cli.maintenance import preview
from foreshock.service.cli.options import DEFAULT_SERVER, Format, Server, TokenFile, client
from foreshock.service.cli.terminal import Output, counted, minute, print_lines, tell_rows, told

commands = typer.Typer(help="Silences: who asked for quiet, and until when.", no_args_is_help=True)

Matching = Annotated[list[str], typer.Argument(help='Matchers, as in Alertmanager: alertname=DiskFull, job=~"db.*".')]


@commands.command("list")
@told
def list_silences(server: Server = DEFAULT_SERVER, token_file: TokenFile = None, output: Format = Output.TABLE) -> None:
    """Silences, active ones first; ended ones for a day."""
    found = client(server, token_file).get("/api/v1/silences")
    tell_rows(found, output, ("silence", "state", "matchers", "until", "by", "holds", "comment"), _cells)


def _cells(row: dict[str, Any]) -> Iterable[Any]:
    return (
        row["id"],
        row["state"],
        ", ".join(row["matchers"]),
        minute(row["ends_at"]),
        row["created_by"],
        counted(row["held"], "incident"),
        row["comment"],
    )


@commands.command("preview")
@told
def preview_silence(
    matchers: Matching, server: Server = DEFAULT_SERVER, token_file: TokenFile = None, output: Format = Output.TABLE
) -> None:
    """What a silence would cover, of what is active now. Nothing is set."""
    preview(client(server, token_file), output, matchers=matchers)


@commands.command("add")
@told
def add_silence(
    matchers: Matching,
    comment: Annotated[str, typer.Option(help="Why; somebody will ask.")],
    length: Annotated[str, typer.Option("--for", help="How long: 30m, 2h, 1d.")] = "1h",
    server: Server = DEFAULT_SERVER,
    token_file: TokenFile = None,
) -> None:
    """Set a silence from now on."""
    said = {"matchers": matchers, "length": length, "comment": comment}
    made = client(server, token_file).post("/api/v1/silences", said)
    print_lines(f"silence {made['id']} until {minute(made['ends_at'])} UTC")


@commands.command("expire")
@told
def expire_silence(
    id: Annotated[str, typer.Argument(help="Id of the silence.")],
    server: Server = DEFAULT_SERVER,
    token_file: TokenFile = None,
) -> None:
    """End a silence now; what still fires is looked at at once."""
    made = client(server, token_file).post(f"/api/v1/silences/{id}/expire", {})
    print_lines(f"silence {made['id']} is {made['state']}")
