"""Rules and settings put into force as they were planned, and back."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foreshock.core.quantities import format_duration
from foreshock.service.cli.options import DEFAULT_SERVER, Format, Server, TokenFile, client, duration, with_changes
from foreshock.service.cli.terminal import Output, leave, minute, print_lines, tell_lines, tell_rows, told, writing

if TYPE_CHECKING:
    from foreshock.service.client import Client
    from foreshock.service.plan.compare import Plan
    from foreshock.service.replay import Version

commands = typer.Typer()

DRIFT = 4
"""Exit code where what runs is not what the files say."""

Reason = Annotated[str, typer.Option("--reason", help="Why; it stands in the history and in the audit.")]


@commands.command("apply")
@told
def apply_plan(
    reason: Reason,
    plan: Annotated[Path | None, typer.Argument(help="What `foreshock rules plan … --save` wrote.")] = None,
    shadow: Annotated[bool, typer.Option("--shadow", help="What runs or ran as a shadow, in place of a plan.")] = False,
    server: Server = DEFAULT_SERVER,
    token_file: TokenFile = None,
    output: Format = Output.TABLE,
) -> None:
    """Put exactly what was planned into force; refused if something else runs by now than when it was planned.

    Example: foreshock rules plan --rules rules/ --save new.plan, and then: foreshock rules apply new.plan --reason "…"
    """
    import msgspec

    from foreshock.service.proposal import read_proposal

    if (plan is None) is not shadow:
        raise typer.BadParameter("give a saved plan, or --shadow")
    running = client(server, token_file)
    if plan is None:
        _tell(running.post("/api/v1/rules/shadow/apply", {"reason": reason}), output)
        return
    found = read_proposal(plan)
    body = {"version": found.version, "against": found.against, "proposed": found.proposed, "reason": reason}
    _tell(running.post("/api/v1/rules/apply", msgspec.json.encode(body)), output)


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
    """Which version runs, and how that differs from what the files say.

    Ends with 0 where it does not, 4 where it does.
    """
    found = client(server, token_file).get("/api/v1/rules")
    tell_lines(found, output, _status)
    if found["applied"] or found["unread"] or found["error"]:
        leave(DRIFT)


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


# ---- shadow ---------------------------------------------------------------------------------------------------------

shadows = typer.Typer(help="A candidate beside the live rules: the same records, no tickets.", no_args_is_help=True)
commands.add_typer(shadows, name="shadow")


@shadows.command("start")
@told
def start_shadow(
    reason: Reason,
    plan: Annotated[Path | None, typer.Argument(help="What `foreshock rules plan … --save` wrote.")] = None,
    rules: Annotated[Path | None, typer.Option("--rules", help="File or folder with the rules to try.")] = None,
    settings: Annotated[
        Path | None, typer.Option("--settings", help="YAML with the `correlation` settings to try.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="One setting to try, on top of the others: 'group.threshold=0.5'."),
    ] = None,
    length: Annotated[
        timedelta, typer.Option("--for", parser=duration, metavar="DURATION", help="How long it runs.")
    ] = timedelta(days=1),
    server: Server = DEFAULT_SERVER,
    token_file: TokenFile = None,
    output: Format = Output.TABLE,
) -> None:
    """Run a saved plan, or other rules and settings, beside those in force for a while.

    Example: foreshock rules shadow start --rules rules/ --set group.threshold=0.5 --for 2d --reason "less noise"
    """
    import msgspec

    from foreshock.service.proposal import proposed_by, read_proposal
    from foreshock.service.replay import AS_RECORDED
    from foreshock.service.ruleset import version_of

    if (plan is None) is not bool(rules or settings or set_):
        raise typer.BadParameter("give a saved plan, or --rules, --settings or --set")
    running = client(server, token_file)
    if plan is not None:
        found = read_proposal(plan)
        proposed, version, against = found.proposed, found.version, found.against
    else:
        before = as_running(running, AS_RECORDED)
        proposed = proposed_by(changed(before, rules, settings, set_ or ()))
        version, against = version_of(proposed), version_of(proposed_by(before))
    body = {"version": version, "against": against, "proposed": proposed, "reason": reason}
    body["length"] = format_duration(length)
    _tell_shadow(running.post("/api/v1/rules/shadow", msgspec.json.encode(body)), output, shown=0)


@shadows.command("status")
@told
def show_shadow(
    show: Annotated[int, typer.Option("--show", help="Differences to show.", min=0)] = 20,
    server: Server = DEFAULT_SERVER,
    token_file: TokenFile = None,
    output: Format = Output.TABLE,
) -> None:
    """How far it is, and what would have been different so far, incident by incident, as `rules plan` tells it."""
    found = client(server, token_file).get("/api/v1/rules/shadow")
    if found is None:
        print_lines("There was no shadow run yet; start one with `foreshock rules shadow start`.")
        return
    _tell_shadow(found, output, shown=show)


@shadows.command("stop")
@told
def stop_shadow(server: Server = DEFAULT_SERVER, token_file: TokenFile = None, output: Format = Output.TABLE) -> None:
    """End the run; what it has found stays."""
    _tell_shadow(client(server, token_file).post("/api/v1/rules/shadow/stop", None), output, shown=0)


def _tell_shadow(found: dict[str, Any], output: Output, *, shown: int) -> None:
    tell_lines(found, output, lambda answer: _shadow(answer, shown))


def _shadow(found: dict[str, Any], shown: int) -> Iterable[str]:
    import msgspec

    from foreshock.service.plan import report as words
    from foreshock.service.shadowing import ShadowView

    view = msgspec.convert(found, ShadowView, str_keys=True)
    began = (
        f"since {minute(found['started_at'])} UTC, until {minute(found['until'])} UTC, by {view.actor}: {view.reason}"
    )
    yield f"Version {view.version} as a shadow: {view.state}, {began}"
    yield from (f"  {line}" for line in view.changes)
    if view.error:
        yield view.error
    report = view.report
    if report is None:
        yield "Nothing was compared yet."
        return
    yield f"Compared at {minute(found['report']['at'])} UTC; {view.behind} records have come since."
    yield ""
    if not shown:
        yield report.verdict
        return
    yield from words.text(report.plan, shown)
    if report.left_out:
        yield f"{report.left_out} differences more were left out."


# ---- for `plan --save` ----------------------------------------------------------------------------------------------


def as_running(running: "Client", before: "Version") -> "Version":
    """``before`` with the settings and rules that run now, whatever is left of history."""
    import msgspec

    from correlation.settings import read_recorded
    from foreshock.service.ruleset import decoded

    now = decoded(running.lines("/api/v1/rules/versions/current"))
    return msgspec.structs.replace(before, settings=read_recorded(now.correlation)[0], rules=now.rules)


def changed(before: "Version", rules: Path | None, settings: Path | None, changes: Sequence[str]) -> "Version":
    """With other rules, other settings, and single ones on top of those. Raises ConfigError."""
    import msgspec

    from correlation.settings import CorrelationSettings
    from foreshock.connect.config import load
    from foreshock.service.rule_files import load_rules

    chosen = load(settings, CorrelationSettings) if settings else before.settings or CorrelationSettings()
    return msgspec.structs.replace(
        before, settings=with_changes(chosen, changes), rules=load_rules(rules) if rules else before.rules
    )


def save(to: Path, before: "Version", after: "Version", found: "Plan") -> None:
    from foreshock.service.clock import utc_now
    from foreshock.service.plan.report import verdict
    from foreshock.service.proposal import proposal, written

    with writing(to):
        to.write_bytes(written(proposal(before, after, verdict(found), utc_now())))
