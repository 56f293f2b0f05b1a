"""How well incidents were dealt with."""

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

import typer

from foreshock.service.cli.options import DEFAULT_SERVER, Server, TokenFile, client, moment
from foreshock.service.cli.terminal import age, minute, print_json, print_lines, print_table, told

commands = typer.Typer()


class Rows(StrEnum):
    SERVICE = "service"
    TEAM = "team"
    PRIORITY = "priority"


class Form(StrEnum):
    TABLE = "table"
    JSON = "json"
    CSV = "csv"


_COLUMNS = (
    "", "incidents", "tickets", "open", "unseen", "noise reduction", "MTTA", "median", "90 %", "MTTR", "median", "90 %",
    "seen in time", "resolved in time",
)  # fmt: skip


@commands.command("report")
@told
def show_report(
    begin: Annotated[
        datetime | None, typer.Option("--from", parser=moment, help="Beginning; 30 days before the end.")
    ] = None,
    end: Annotated[datetime | None, typer.Option("--to", parser=moment, help="End; now.")] = None,
    by: Annotated[Rows | None, typer.Option(help="A row for each.")] = None,
    output: Annotated[Form, typer.Option("--output", "-o", help="A table for people, JSON or CSV for programs.")] = (
        Form.TABLE
    ),
    server: Server = DEFAULT_SERVER,
    token_file: TokenFile = None,
) -> None:
    """Times to acknowledge (MTTA) and to resolve (MTTR), promises kept, and how much noise became how few tickets.

    Of the incidents that were opened in the period; what is still open counts apart. Times are counted from the first
    ticket on. What the figures mean exactly: docs/reports.md.

    Examples: `foreshock report --by team`, `foreshock report --from 2026-11-01 --to 2026-12-01 --by service -o csv`
    """
    period = {"from": begin and begin.isoformat(), "to": end and end.isoformat(), "by": by and by.value}
    query = {name: value for name, value in period.items() if value}
    asked = client(server, token_file)
    if output is Form.CSV:
        typer.echo(asked.lines("/api/v1/report", format="csv", **query).decode(), nl=False)
        return
    found = asked.get("/api/v1/report", **query)
    if output is Form.JSON:
        print_json(found)
        return
    print_lines(*_summary(found))
    print_table(_COLUMNS, (_cells(row) for row in (found["all"], *found["rows"])))


def _summary(found: dict[str, Any]) -> Iterable[str]:
    whole = found["all"]
    return (
        f"{minute(found['begin'])} to {minute(found['end'])} UTC",
        f"{whole['events']:,} events, {whole['alerts']:,} alerts, {whole['incidents']:,} incidents "
        f"({whole['merged']:,} more merged into them), {whole['tickets']:,} tickets",
        "",
    )


def _cells(row: dict[str, Any]) -> Iterable[Any]:
    times = [row[which][name] for which in ("acknowledge", "resolve") for name in ("mean_s", "median_s", "p90_s")]
    return (
        row["key"] or "all",
        f"{row['incidents']:,}",
        f"{row['tickets']:,}",
        f"{row['open']:,}",
        f"{row['unacknowledged']:,}",
        _percent(row["noise_reduction"]),
        *("-" if seconds is None else age(seconds) for seconds in times),
        _kept(row["sla_acknowledge"]),
        _kept(row["sla_resolve"]),
    )


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{int(1000 * share) / 10:.1f} %"  # 100 % is all of them


def _kept(kept: dict[str, Any]) -> str:
    judged = kept["kept"] + kept["broken"]
    return f"{_percent(kept['share'])} of {judged:,}" if judged else "-"
