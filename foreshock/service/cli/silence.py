"""Silences: who asked for quiet, and until when."""

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foreshock.connect.config import read_text
from foreshock.core.errors import ConfigError, Problem
from foreshock.service.cli.maintenance import preview
from foreshock.service.cli.options import DEFAULT_SERVER, Format, Server, TokenFile, client
from foreshock.service.cli.terminal import Output, counted, minute, print_lines, tell_rows, told

if TYPE_CHECKING:
    from foreshock.service.alertmanager_api import PostableSilence

_MAX_FILE_BYTES = 16 * 2**20

commands = typer.Typer(help="Silences: who asked for quiet, and until when.", no_args_is_help=True)

Matching = Annotated[list[str], typer.Argument(help='Matchers, as in Alertmanager: alertname=DiskFull, job=~"db.*".')]


@commands.command("list")
@told
def list_silences(server: Server = DEFAULT_SERVER, token_file: TokenFile = None, output: Format = Output.TABLE) -> None:
    """Silences, active ones first; ended ones for a day."""
    found = client(server, token_file).get("/api/v1/silences")
    tell_rows(found, output, ("silence", "state", "matchers", "until", "by", "holds", "comment"), _cells)


def _plan(silence: "PostableSilence") -> tuple[Any, ...]:
    """What makes two silences the same one, whatever their ids."""
    return silence.matchers, silence.ends_at, silence.created_by, silence.comment


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


@commands.command("import")
@told
def import_silences(
    file: Annotated[Path, typer.Argument(help="`amtool silence query -o json`, or silences.json of foreshock import.")],
    server: Server = DEFAULT_SERVER,
    token_file: TokenFile = None,
) -> None:
    """Set the silences of a file, with their owners, reasons and ends. One that is set already is left alone."""
    import msgspec

    from foreshock.service.alertmanager_api import PostableSilence

    try:
        wanted = msgspec.json.decode(read_text(file, max_bytes=_MAX_FILE_BYTES), type=list[PostableSilence])
    except msgspec.DecodeError as error:
        hint = "write it with `amtool silence query -o json`"
        problem = Problem(file=str(file), line=None, path="", message=f"holds no silences: {error}", hint=hint)
        raise ConfigError([problem]) from None
    running = client(server, token_file)
    known = {
        _plan(silence)
        for silence in msgspec.convert(running.get("/api/v2/silences", expired="false"), list[PostableSilence])
    }
    new = [silence for silence in wanted if _plan(silence) not in known and silence.ends_at > datetime.now(UTC)]
    for silence in new:
        body = msgspec.json.encode(msgspec.structs.replace(silence, id=""))
        made = running.post("/api/v2/silences", body)
        print_lines(f"silence {made['silenceID']} until {silence.ends_at:%Y-%m-%d %H:%M} UTC: {silence.comment}")
    print_lines(f"{counted(len(new), 'silence')} set, {len(wanted) - len(new)} set already or over")


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
