"""Rules and settings put into force as they were planned, and back."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foreshock.service.cli.options import DEFAULT_SERVER, Format, Server, TokenFile, client
from foreshock.service.cli.terminal import Output, minute, tell_lines, tell_rows, told, writing

if TYPE_CHECKING:
    from foreshock.service.client import Client
    from foreshock.service.plan.compare import Plan
    from foreshock.service.replay import Version

commands = typer.Typer()

Reason = Annotated[str, typer.Option("--reason", help="Why; it stands in the history and in the audit.")]


@commands.command("apply")
@told
def apply_plan(
    plan: Annotated[Path, typer.Argument(help="What `foreshock rules plan … --save` wrote.")],
    reason: Reason,
    server: Server = DEFAULT_SERVER,
    token_file: TokenFile = None,
    output: Format = Output.TABLE,
) -> None:
    """Put exactly what was planned into force; refused if something else runs by now than when it was planned.

    Example: foreshock rules plan --rules rules/ --save new.plan && foreshock rules apply new.plan --reason "less noise"
    """
    import msgspec

    from foreshock.service.proposal import read_proposal
    from foreshock.service.rules_api import ApplyBody

    found = read_proposal(plan)
    body = ApplyBody(version=found.version, against=found.against, proposed=found.proposed, reason=reason)
    _tell(client(server, token_file).post("/api/v1/rules/apply", msgspec.json.encode(body)), output)


@commands.command("rollback")
@told
def roll_back(
    reason: Reason,
    version: Annotated[
        str, typer.Argument(help="Of `foreshock rules history`, or its beginning; without, the one before.")
    ] = "",
    server: Server = DEFAULT_SERVER,
    token_file: TokenFile = None,
    output: Format = Output.TABLE,
) -> None:
    """Put an earlier version back into force: settings and rules, as they were."""
    running = client(server, token_file)
    _tell(running.post("/api/v1/rules/rollback", {"version": version, "reason": reason}), output)


def _tell(changed: dict[str, Any], output: Output) -> None:
    tell_lines(changed, output, _changed)


def _changed(changed: dict[str, Any]) -> Iterable[str]:
    yield from (f"  {line}" for line in changed["changes"])
    when = "is in force" if changed["reflected"] else "comes into force as soon as the engine has caught up"
    yield f"Version {changed['version']} {when}; before it was {changed['previous']}."


@commands.command("history")
@told
def show_history(server: Server = DEFAULT_SERVER, token_file: TokenFile = None, output: Format = Output.TABLE) -> None:
    """What was put into force, by whom and why, newest first."""
    found = client(server, token_file).get("/api/v1/rules/history")
    tell_rows(found, output, ("version", "", "since (UTC)", "by", "how", "why"), _cells)


def _cells(row: dict[str, Any]) -> Iterable[Any]:
    state = "in force" if row["in_force"] else "" if row["kept"] else "not kept"
    return row["version"], state, minute(row["at"]), row["actor"], row["how"], row["reason"]


@commands.command("status")
@told
def show_status(server: Server = DEFAULT_SERVER, token_file: TokenFile = None, output: Format = Output.TABLE) -> None:
    """Which version runs, and how that differs from what the files say."""
    tell_lines(client(server, token_file).get("/api/v1/rules"), output, _status)


def _status(status: dict[str, Any]) -> Iterable[str]:
    since = status["since"]
    known = f", {since['how']} by {since['actor']} on {minute(since['at'])} UTC" if since else ""
    yield f"Version {status['version']} is in force{known}" + (
        f": {since['reason']}" if since and since["reason"] else ""
    )
    if status["applied"]:
        yield f"The files say {status['files']}. What runs in its place:"
        yield from (f"  {line}" for line in status["applied"])
        yield "It stays until the files say something new; write it into them to make it last."
    elif status["files"]:
        yield "The files say the same."
    if status["unread"]:
        yield "The files have changed since they were read. With `foreshock reload` these would come into force:"
        yield from (f"  {line}" for line in status["unread"])
    if status["error"]:
        yield f"The files are refused: {status['error']}"


# ---- for `plan --save` ----------------------------------------------------------------------------------------------


def as_running(running: "Client", before: "Version") -> "Version":
    """``before`` with the settings and rules that run now, whatever is left of history."""
    import msgspec

    from correlation.settings import read_recorded
    from foreshock.service.ruleset import decoded

    now = decoded(running.lines("/api/v1/rules/versions/current"))
    return msgspec.structs.replace(before, settings=read_recorded(now.correlation)[0], rules=now.rules)


def save(to: Path, before: "Version", after: "Version", found: "Plan") -> None:
    from foreshock.service.clock import utc_now
    from foreshock.service.plan.report import verdict
    from foreshock.service.proposal import proposal, written

    with writing(to):
        to.write_bytes(written(proposal(before, after, verdict(found), utc_now())))
