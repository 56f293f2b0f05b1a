"""What is forecast, and how often forecasts were right."""

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

import typer

from foreshock.service.cli.options import DEFAULT_SERVER, Format, Server, TokenFile, client, moment
from foreshock.service.cli.terminal import Output, age, minute, print_json, print_lines, print_table, tell_rows, told

commands = typer.Typer(help="What is forecast, and how often forecasts were right.", no_args_is_help=True)


class Rows(StrEnum):
    MODEL = "model"
    SERVICE = "service"
    TEAM = "team"


_STANDING = ("", "CI", "what", "likely", "most likely at", "until", "model", "problem, or why none")
_PAST = ("", "announced", "CI", "what", "likely", "outcome", "lead time", "model", "problem, or why none")
_LEDGER = (
    "", "announced", "open", "incident", "reached", "expired", "withdrawn", "precision", "recall", "lead, median",
    "false alarms a week",
)  # fmt: skip


@commands.command("list")
@told
def list_forecasts(
    limit: Annotated[int, typer.Option(min=1, max=5000)] = 50,
    server: Server = DEFAULT_SERVER,
    token_file: TokenFile = None,
    output: Format = Output.TABLE,
) -> None:
    """What is forecast now, what is likely to happen first coming first, with the problem that was opened, or why not.

    foreshock forecasts list
    """
    found = client(server, token_file).get("/api/v1/forecasts", limit=limit)
    tell_rows(found, output, _STANDING, _standing)


def _standing(row: dict[str, Any]) -> Iterable[Any]:
    forecast = row["forecast"]
    return (
        row["entry"] or "-",
        forecast["ci"],
        forecast["summary"] or forecast["about"] or "incident",
        f"{forecast['probability']:.0%}",
        minute(row["likely_at"]),
        minute(row["until"]),
        forecast["model"],
        row["reason"] or row["problem"],
    )


@commands.command("past")
@told
def list_entries(
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 50,
    model: Annotated[str, typer.Option(help="Only of this model: name@version.")] = "",
    ci: Annotated[str, typer.Option(help="Only of this CI.")] = "",
    outcome: Annotated[
        str, typer.Option(help="Only expected, confirmed, reached, expired, withdrawn or unknown.")
    ] = "",
    server: Server = DEFAULT_SERVER,
    token_file: TokenFile = None,
    output: Format = Output.TABLE,
) -> None:
    """What was announced, the newest first, and what became of each.

    foreshock forecasts past --outcome expired     # the false alarms
    """
    query = {"limit": limit, "model": model, "ci": ci, "outcome": outcome}
    found = client(server, token_file).get("/api/v1/forecasts/entries", **query)
    tell_rows(found, output, _PAST, _past)


def _past(row: dict[str, Any]) -> Iterable[Any]:
    hit = row["outcome"] in ("confirmed", "reached")
    lead = datetime.fromisoformat(row["ended_at"]) - datetime.fromisoformat(row["heard_at"]) if hit else None
    return (
        row["id"],
        minute(row["heard_at"]),
        row["ci"],
        row["summary"] or row["about"] or "incident",
        f"{row['probability']:.0%}",
        " ".join(filter(None, (row["outcome"], row["situation"]))),
        "-" if lead is None else age(lead.total_seconds()),
        row["model"],
        row["problem"] or row["reason"],
    )


@commands.command("ledger")
@told
def show_ledger(
    begin: Annotated[
        datetime | None, typer.Option("--from", parser=moment, help="Beginning; 30 days before the end.")
    ] = None,
    end: Annotated[datetime | None, typer.Option("--to", parser=moment, help="End; now.")] = None,
    by: Annotated[Rows, typer.Option(help="A row for each.")] = Rows.MODEL,
    all: Annotated[bool, typer.Option("--all", help="Also what was likely and opened no problem.")] = False,
    server: Server = DEFAULT_SERVER,
    token_file: TokenFile = None,
    output: Format = Output.TABLE,
) -> None:
    """How often forecasts were right, with 95 % intervals: a few cases tell little.

    Precision: announcements that came true, of those that are decided. Recall: incidents with a ticket that were
    announced before. False alarms: for each week and team. What the figures mean exactly: docs/problems.md.

    Examples: `foreshock forecasts ledger`, `foreshock forecasts ledger --by service --from 2026-11-01`
    """
    asked = {"from": begin and begin.isoformat(), "to": end and end.isoformat(), "by": by.value}
    query = {name: value for name, value in asked.items() if value} | ({"all": "true"} if all else {})
    found = client(server, token_file).get("/api/v1/forecasts/ledger", **query)
    if output is Output.JSON:
        print_json(found)
        return
    print_lines(f"{minute(found['begin'])} to {minute(found['end'])} UTC", "")
    print_table(_LEDGER, (_figures(row) for row in (found["all"], *found["rows"])))


def _figures(row: dict[str, Any]) -> Iterable[Any]:
    lead, false = row["lead"]["median_s"], row["false_alarms"]
    return (
        row["key"] or "all",
        f"{row['announced']:,}",
        *(f"{row[name]:,}" for name in ("waiting", "confirmed", "reached", "expired", "withdrawn")),
        _share(row["precision"]),
        _share(row["recall"]),
        "-" if lead is None else age(lead),
        f"{false['count']} so far"
        if false["rate"] is None
        else f"{false['rate']:.2f} ({false['low']:.2f} to {false['high']:.2f})",
    )


def _share(found: dict[str, Any]) -> str:
    if found["share"] is None:
        return "-"
    return f"{found['share']:.0%} ({found['low']:.0%} to {found['high']:.0%}) of {found['of']:,}"
