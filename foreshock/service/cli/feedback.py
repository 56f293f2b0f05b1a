"""What people say of the work of correlation."""

import csv
import json
import sys
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from foreshock.service.cli.options import DEFAULT_SERVER, Format, Server, TokenFile, client
from foreshock.service.cli.terminal import Output, minute, print_lines, tell_rows, told

commands = typer.Typer(help="Say what belongs together, and export what was said.", no_args_is_help=True)

Comment = Annotated[str, typer.Option("--comment", "-m", help="Why, for the audit and for whoever comes next.")]


@commands.command("merge")
@told
def merge_incidents(
    stays: Annotated[str, typer.Argument(help="Situation id or ticket number of the one that stays.")],
    goes: Annotated[str, typer.Argument(help="The one whose alerts go over; its ticket is resolved.")],
    comment: Comment = "",
    server: Server = DEFAULT_SERVER,
    token_file: TokenFile = None,
) -> None:
    """Two incidents are one problem."""
    _judge(server, token_file, kind="merge", situation=stays, other=goes, comment=comment)


@commands.command("split")
@told
def split_incident(
    incident: Annotated[str, typer.Argument(help="Situation id or ticket number.")],
    alerts: Annotated[list[str], typer.Argument(help="Fingerprints of the alerts that leave, or how each begins.")],
    comment: Comment = "",
    server: Server = DEFAULT_SERVER,
    token_file: TokenFile = None,
) -> None:
    """Some alerts of an incident are a problem of their own."""
    _judge(server, token_file, kind="split", situation=incident, alerts=alerts, comment=comment)


@commands.command("move")
@told
def move_alerts(
    alerts: Annotated[list[str], typer.Argument(help="Fingerprints of the alerts, or how each begins.")],
    to: Annotated[str, typer.Option("--to", help="The incident they belong to.")],
    comment: Comment = "",
    server: Server = DEFAULT_SERVER,
    token_file: TokenFile = None,
) -> None:
    """Alerts of one incident belong to another."""
    _judge(server, token_file, kind="move", other=to, alerts=alerts, comment=comment)


class Thing(StrEnum):
    INCIDENTS = "incidents"
    ALERTS = "alerts"
    CIS = "cis"


@commands.command("not-related")
@told
def not_related(
    one: Annotated[str, typer.Argument(help="An incident, an alert or a CI.")],
    other: Annotated[str, typer.Argument(help="Another one.")],
    of: Annotated[Thing, typer.Option("--of", help="What the two are.")] = Thing.INCIDENTS,
    comment: Comment = "",
    server: Server = DEFAULT_SERVER,
    token_file: TokenFile = None,
) -> None:
    """Two things have nothing to do with each other; correlation keeps them apart from now on."""
    said: dict[str, Any] = {"situation": one, "other": other} if of is Thing.INCIDENTS else {of.value: [one, other]}
    _judge(server, token_file, kind="not_related", comment=comment, **said)


@commands.command("cause")
@told
def name_cause(
    incident: Annotated[str, typer.Argument(help="Situation id or ticket number; one that is over is welcome too.")],
    ci: Annotated[str, typer.Argument(help="The CI that was the cause.")],
    comment: Comment = "",
    server: Server = DEFAULT_SERVER,
    token_file: TokenFile = None,
) -> None:
    """This was the cause."""
    _judge(server, token_file, kind="cause", situation=incident, cis=[ci], comment=comment)


@commands.command("list")
@told
def list_feedback(
    incident: Annotated[str, typer.Option(help="Only what was said of this situation.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 50,
    server: Server = DEFAULT_SERVER,
    token_file: TokenFile = None,
    output: Format = Output.TABLE,
) -> None:
    """What people said, newest first."""
    found = client(server, token_file).get("/api/v1/feedback", incident=incident, limit=limit)
    tell_rows(found, output, ("", "at", "by", "said", "of", "what it did", "comment"), _cells)


def _cells(judged: dict[str, Any]) -> Iterable[Any]:
    return (judged[key] for key in ("id", "at", "actor", "kind", "situation", "outcome", "comment"))


class Labels(StrEnum):
    JSONL = "jsonl"
    CSV = "csv"


@commands.command("export")
@told
def export_feedback(
    format: Annotated[Labels, typer.Option("--format", help="JSON lines, or a table.")] = Labels.JSONL,
    server: Server = DEFAULT_SERVER,
    token_file: TokenFile = None,
) -> None:
    """What people said as labelled truth, on standard output: pairs of alerts that are one problem ("same") or are not
    ("apart"), and what a CI caused ("cause"), oldest first."""
    lines = client(server, token_file).lines("/api/v1/feedback/labels")
    if format is Labels.JSONL:
        sys.stdout.buffer.write(lines)
        return
    sides = [f"{side}_{name}" for side in ("alert", "other") for name in ("fingerprint", "name", "ci", "onset")]
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(("says", *sides, "ci", "by", "at", "judgement"))
    for line in lines.splitlines():
        row = json.loads(line)
        cells = [
            (row[side] or {}).get(name, "")
            for side in ("alert", "other")
            for name in ("fingerprint", "name", "ci", "onset")
        ]
        writer.writerow((row["says"], *cells, row["ci"], row["by"], row["at"], row["judgement"]))


def _judge(server: str, token_file: Path | None, **said: Any) -> None:
    judged = client(server, token_file).post("/api/v1/feedback", said)
    kept = f"; kept apart until {minute(judged['until'])} UTC" if judged["until"] else ""
    print_lines(f"{judged['id']}: {judged['outcome']}{kept}")
    if not judged["applied"]:
        print_lines("nothing was changed; what you said is kept as truth")
