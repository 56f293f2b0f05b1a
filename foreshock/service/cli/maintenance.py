"""Maintenance windows: planned work that opens no ticket."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlencode

import typer

from foreshock.core.errors import ForeshockError
from foreshock.service.cli.options import (
    DEFAULT_SERVER,
    Format,
    Server,
    TokenFile,
    client,
)
from foreshock.service.cli.terminal import (
    Output,
    counted,
    minute,
    print_json,
    print_lines,
    print_table,
    tell_rows,
    told,
)

if TYPE_CHECKING:
    from foreshock.service.client import Client

commands = typer.Typer(help="Maintenance windows: planned work that opens no ticket.", no_args_is_help=True)

Cis = Annotated[list[str], typer.Option("--ci", help="Id or name of a CI; may be given several times.")]
Services = Annotated[
    list[str], typer.Option("--service", help="Business service: it, and what only services named here need.")
]
Matchers = Annotated[list[str], typer.Option("--matcher", help='Label: alertname=DiskFull, job=~"db.*".')]
Descendants = Annotated[bool, typer.Option(help="Whether what depends on the CIs is covered too.")]


@commands.command("list")
@told
def list_windows(server: Server = DEFAULT_SERVER, token_file: TokenFile = None, output: Format = Output.TABLE) -> None:
    """Maintenance windows, those that run first."""
    _tell(client(server, token_file).get("/api/v1/maintenance"), output)


@commands.command("preview")
@told
def preview_window(
    ci: Cis = [],  # noqa: B006 (typer reads defaults this way)
    service: Services = [],  # noqa: B006
    matcher: Matchers = [],  # noqa: B006
    descendants: Descendants = True,
    server: Server = DEFAULT_SERVER,
    token_file: TokenFile = None,
    output: Format = Output.TABLE,
) -> None:
    """What a window would cover, of what is active now. Nothing is set."""
    scope = {"cis": ci, "services": service, "matchers": matcher, "descendants": descendants}
    preview(client(server, token_file), output, **scope)


@commands.command("add")
@told
def add_window(
    title: Annotated[str, typer.Argument(help="What is done.")],
    comment: Annotated[str, typer.Option(help="Why; somebody will ask.")],
    starts: Annotated[str, typer.Option(help="Beginning: 2026-12-01 22:00.")],
    ends: Annotated[str, typer.Option(help="End; or give --for.")] = "",
    length: Annotated[str, typer.Option("--for", help="How long: 2h; or give --ends.")] = "",
    rrule: Annotated[str, typer.Option(help="How it recurs, as in iCalendar: FREQ=WEEKLY;BYDAY=SU.")] = "",
    time_zone: Annotated[str, typer.Option(help="IANA time zone of the times: Europe/Berlin.")] = "UTC",
    owner: Annotated[str, typer.Option(help="Person or team that asked for it; you, if left out.")] = "",
    ci: Cis = [],  # noqa: B006
    service: Services = [],  # noqa: B006
    matcher: Matchers = [],  # noqa: B006
    descendants: Descendants = True,
    id: Annotated[str, typer.Option(help="Window to put this one in the place of.")] = "",
    server: Server = DEFAULT_SERVER,
    token_file: TokenFile = None,
) -> None:
    """Plan a maintenance window, once or recurring."""
    said = {
        "id": id, "title": title, "comment": comment, "owner": owner, "starts": starts, "ends": ends,
        "length": length or None, "rrule": rrule, "time_zone": time_zone, "cis": ci, "services": service,
        "matchers": matcher, "descendants": descendants,
    }  # fmt: skip
    _tell([client(server, token_file).post("/api/v1/maintenance", said)])


@commands.command("import")
@told
def import_windows(
    file: Annotated[Path, typer.Argument(help="iCalendar file (.ics).")],
    ci: Cis = [],  # noqa: B006
    service: Services = [],  # noqa: B006
    matcher: Matchers = [],  # noqa: B006
    descendants: Descendants = True,
    time_zone: Annotated[str, typer.Option(help="IANA time zone of times that name none.")] = "UTC",
    server: Server = DEFAULT_SERVER,
    token_file: TokenFile = None,
    output: Format = Output.TABLE,
) -> None:
    """Take the windows of an iCalendar file; the same file again changes nothing.

    --ci, --service and --matcher are for events that have no property X-FORESHOCK-CI, -SERVICE or -MATCHER.
    """
    try:
        body = file.read_bytes()
    except OSError as error:
        raise ForeshockError(f"{file} cannot be read: {error.strerror}", hint="name an .ics file") from None
    scope = {"ci": ci, "service": service, "matcher": matcher, "descendants": descendants, "time_zone": time_zone}
    path = f"/api/v1/maintenance/import?{urlencode(scope, doseq=True)}"
    _tell(client(server, token_file).post(path, body), output)


@commands.command("end")
@told
def end_window(
    id: Annotated[str, typer.Argument(help="Id of the window.")],
    this_once: Annotated[bool, typer.Option("--this-once", help="Only the span that runs now.")] = False,
    server: Server = DEFAULT_SERVER,
    token_file: TokenFile = None,
) -> None:
    """End a window now; what still fires is looked at at once."""
    path = f"/api/v1/maintenance/{id}/end" + ("?only_running=true" if this_once else "")
    _tell([client(server, token_file).post(path, {})])


def _tell(windows: list[dict[str, Any]], output: Output = Output.TABLE) -> None:
    columns = ("window", "state", "from", "until", "recurs", "scope", "owner", "title")
    tell_rows(windows, output, columns, _cells)


def _cells(row: dict[str, Any]) -> Iterable[Any]:
    span = row["spans"][0] if row["spans"] else None
    return (
        row["id"],
        row["state"],
        minute(span["starts_at"]) if span else "-",
        minute(span["ends_at"]) if span else "-",
        row["schedule"] or "-",
        ", ".join((*row["cis"], *row["services"], *row["matchers"])),
        row["owner"],
        row["title"],
    )


def preview(running: "Client", output: Output, **scope: Any) -> None:
    """What a silence or a window would cover."""
    found = running.post("/api/v1/preview", scope)
    if output is Output.JSON:
        print_json(found)
        return
    if found["unknown"]:
        print_lines(f"not in the topology: {', '.join(found['unknown'])}")
    among = f" on {found['scope']}{'+' if found['cut'] else ''} CIs in scope" if found["scope"] else ""
    print_lines(f"covers {found['matched']} of {counted(found['active'], 'alert')} that are active now{among}")
    print_table(("", "incident", "covered", "then", "ticket", "title"), map(_covered, found["incidents"]))


def _covered(row: dict[str, Any]) -> Iterable[Any]:
    return (
        f"P{row['priority']}",
        row["id"],
        f"{row['covered']}/{row['active']}",
        "held" if row["whole"] else "told as before",
        ", ".join(row["tickets"]) or "-",
        row["title"],
    )
