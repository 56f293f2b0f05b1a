"""Incidents of a running Foreshock."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, Any

import typer

from foreshock.core.errors import ForeshockError
from foreshock.service.cli.options import DEFAULT_SERVER, Format, Server, TokenFile, client
from foreshock.service.cli.terminal import Output, age, tell_lines, tell_rows, told

commands = typer.Typer(help="Incidents of a running Foreshock.", no_args_is_help=True)


class State(StrEnum):
    OPEN = "open"
    RESOLVED = "resolved"
    MERGED = "merged"
    ALL = "all"


@commands.command("list")
@told
def list_incidents(
    state: Annotated[State, typer.Option(help="Which.")] = State.OPEN,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 50,
    under: Annotated[str, typer.Option(help="Those under the umbrella of this one, S-1.")] = "",
    server: Server = DEFAULT_SERVER,
    token_file: TokenFile = None,
    output: Format = Output.TABLE,
) -> None:
    """The open incidents, the most urgent first. What is under the umbrella of another is counted there."""
    found = client(server, token_file).get("/api/v1/incidents", state=state.value, limit=limit, parent=under)
    columns = ("", "incident", "state", "age", "alerts", "CIs", "probable cause", "ticket", "title")
    tell_rows(found, output, columns, _cells)


def _cells(row: dict[str, Any]) -> Iterable[Any]:
    return (
        f"P{row['priority']}",
        row["id"],
        row["state"],
        age(row["age_s"]),
        f"{row['active']}/{row['alerts']}",
        row["ci_count"],
        row["cause"],
        ", ".join(ticket["number"] for ticket in row["tickets"] if ticket["number"]) or row["held_by"] or "-",
        f"{row['title']} (and {row['under']:,} under its umbrella)" if row["under"] else row["title"],
    )


@commands.command("show")
@told
def show_incident(
    id: Annotated[str, typer.Argument(help="Situation id or ticket number, S-1 or INC0000001.")],
    server: Server = DEFAULT_SERVER,
    token_file: TokenFile = None,
    output: Format = Output.TABLE,
) -> None:
    """One incident: causes, alerts, timeline."""
    view = client(server, token_file).get(f"/api/v1/incidents/{id}")
    if view is None:
        raise ForeshockError(f"there is no incident {id!r}", hint="see `foreshock incidents list --state all`")
    tell_lines(view, output, _lines)


def _lines(view: dict[str, Any]) -> Iterable[str]:
    row = view["row"]
    return (
        f"{row['id']}  P{row['priority']}  {row['state']}  {row['title']}",
        f"priority: {view['priority_reason']}",
        *([f"group: {row['assignment_group'] or 'none'}: {view['assignment_reason']}"] if row["tickets"] else []),
        *view["sla"],
        f"next: {view['next_step']}",
        *([f"held: {row['held_by']}"] if row["held_by"] else []),
        *([f"umbrella: {view['umbrella']['words']}"] if view["umbrella"] else []),
        *([f"recurrence: {view['recurrence']}"] if view["recurrence"] else []),
        *(f"foreseen: {each['words']}" for each in view["foreseen"]),
        *([f"known error: {view['known_error']}"] if view["known_error"] else []),
        *(f"similar: {_past(each)}" for each in view["similar"]),
        "",
        f"candidates: {view['cause_doubt']}" if view["cause_doubt"] else "probable causes",
        *(
            f"  {c['score']:.2f}  {c['ci']}: {'; '.join(p['evidence'] for p in c['contributions'])}"
            for c in view["causes"]
        ),
        "",
        "timeline",
        *(f"  {e['at']}  {e['lane']:8}  {e['actor']}: {e['action']} {e['text']}" for e in view["timeline"]),
    )


def _past(each: dict[str, Any]) -> str:
    name = f"{each['situation']} ({each['ticket']})" if each["ticket"] else each["situation"]
    return f"{name} {each['opened_at'][:16]}: {each['how']}{': ' if each['note'] else ''}{each['note']}"
