"""Problems: incidents that come back, and those that are forecast."""

from collections.abc import Iterable
from typing import Annotated, Any

import typer

from foreshock.core.errors import ForeshockError
from foreshock.service.cli.options import DEFAULT_SERVER, Format, Server, TokenFile, client
from foreshock.service.cli.terminal import Output, tell_lines, tell_rows, told

commands = typer.Typer(help="Incidents that come back or are forecast, and their problems.", no_args_is_help=True)

_COLUMNS = ("", "problem", "kind", "state", "incidents", "last", "records", "known error", "title")


@commands.command("list")
@told
def list_problems(
    watched: Annotated[bool, typer.Option("--all", help="Also what is no problem, and why.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 50,
    server: Server = DEFAULT_SERVER,
    token_file: TokenFile = None,
    output: Format = Output.TABLE,
) -> None:
    """Problems, the one that came back last first; those made of a forecast are proactive.

    foreshock problems list --all    # with "2 of 3 in 30d" for what may become one
    """
    found = client(server, token_file).get("/api/v1/patterns", watched=str(watched).lower(), limit=limit)
    tell_rows(found, output, _COLUMNS, _cells)


def _cells(row: dict[str, Any]) -> Iterable[Any]:
    return (
        f"P{row['priority']}",
        row["problem"] or row["id"],
        row["kind"],
        row["state"] if row["problem"] else row["reason"],
        row["total"],
        row["last_at"][:16],
        ", ".join(record["number"] for record in row["records"] if record["number"]) or "-",
        "yes" if row["known_error"] else "-",
        row["title"],
    )


@commands.command("show")
@told
def show_problem(
    name: Annotated[
        str,
        typer.Argument(help="P-1, a record's number, an incident, a pattern's id, or a CI."),
    ],
    server: Server = DEFAULT_SERVER,
    token_file: TokenFile = None,
    output: Format = Output.TABLE,
) -> None:
    """One problem: why it was opened, its records, its incidents and how each ended.

    foreshock problems show P-1

    foreshock problems show S-12     # also of an incident that is part of none: it says how often it came back
    """
    view = client(server, token_file).get(f"/api/v1/patterns/{name}")
    if view is None:
        raise ForeshockError(f"there is no problem {name!r}", hint="see `foreshock problems list --all`")
    tell_lines(view, output, _lines)


def _lines(view: dict[str, Any]) -> Iterable[str]:
    if view["kind"] == "proactive":
        return _forecast_lines(view)
    return (
        f"{view['problem'] or 'no problem'}  P{view['priority']}  {view['state']}  {view['title']}",
        f"why: {view['reason']}",
        f"{view['rate']}, {view['total']} in all, first seen {view['since'][:16]}",
        *([f"proposed for closing since {view['quiet_since'][:16]}"] if view["quiet_since"] else []),
        *([f"known error ({view['known_error_in']}): {view['known_error']}"] if view["known_error"] else []),
        *(_record(record) for record in view["records"]),
        "",
        "incidents, the newest first",
        *(f"  {_incident(each)}" for each in view["occurrences"]),
    )


def _forecast_lines(view: dict[str, Any]) -> Iterable[str]:
    forecast = view["forecast"]
    return (
        f"{view['problem'] or 'no problem'}  P{view['priority']}  proactive, {view['state']}  {view['title']}",
        f"why{'' if view['problem'] else ' not'}: {view['reason']}",
        f"made at {forecast['made_at'][:16]}, most likely {forecast['lead_time_h']:g} h later",
        f"services that depend on it: {', '.join(view['services']) or 'none known'}",
        *([f"came as {view['confirmed_by']}"] if view["confirmed_by"] else []),
        *([f"proposed for closing since {view['quiet_since'][:16]}"] if view["quiet_since"] else []),
        *([f"known error ({view['known_error_in']}): {view['known_error']}"] if view["known_error"] else []),
        *(_record(record) for record in view["records"]),
        "",
        "what speaks for it",
        *(f"  {each['points']:+.2f}  {each['name']}: {each['evidence']}" for each in forecast["contributions"]),
    )


def _record(record: dict[str, Any]) -> str:
    parts = [record["ended"] or record["state"], f"{record['linked']} incidents linked"]
    if record["previous"]:
        parts.append(f"follows {record['previous']}")
    return f"{record['sink']} {record['number'] or 'no number yet'}: {', '.join(parts)}"


def _incident(each: dict[str, Any]) -> str:
    numbers = ", ".join(each["tickets"].values())
    parts = [f"{each['situation']} {numbers}".strip(), each["title"], each["how"] or "not over"]
    parts += [f"closed as {each['label']}"] if each["label"] else []
    parts += [f'"{each["said"]}"'] if each["said"] else []
    parts += [f"after {each['change']}"] if each["change"] else []
    return f"{each['opened_at'][:16]}  {'; '.join(parts)}"
