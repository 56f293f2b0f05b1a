"""Why: what a running Foreshock decided, or what recorded input leads to, and what for."""

import json
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from foreshock.core.errors import Missing
from foreshock.service.cli.options import DEFAULT_SERVER, Format, Mapped, Server, TokenFile, client, moment
from foreshock.service.cli.recorded import OwnLearned, OwnRules, OwnSettings, given
from foreshock.service.cli.terminal import Output, complain, counted, tell_lines, told

commands = typer.Typer()


@commands.command()
@told
def explain(
    id: Annotated[
        str, typer.Argument(help="Situation id, ticket number, or an alert: its fingerprint, or NAME on CI.")
    ],
    why_not: Annotated[
        str, typer.Option("--why-not", help="An incident, or an alert: why is it, or each of its alerts, not in there?")
    ] = "",
    history: Annotated[
        Path | None,
        typer.Option("--history", help="Recorded input, as for `foreshock replay`; without, the running Foreshock."),
    ] = None,
    at: Annotated[
        datetime | None,
        typer.Option("--at", parser=moment, help="As it stood then: 2026-01-01T12:00:00Z; without, at the end."),
    ] = None,
    topology: Annotated[
        Path | None, typer.Option("--topology", help="Topology file or folder, in place of the history's own.")
    ] = None,
    rules: OwnRules = None,
    settings: OwnSettings = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="One setting that differs: 'group.threshold=0.5'.")
    ] = None,
    mapping: Mapped = None,
    learned: OwnLearned = None,
    server: Server = DEFAULT_SERVER,
    token_file: TokenFile = None,
    output: Format = Output.TABLE,
) -> None:
    """Why alerts are together or are not, what caused it, and why there is a ticket or none.

    foreshock explain S-3

    foreshock explain 'Errors on api' --why-not S-1

    foreshock explain 'Errors on api' --at 2026-01-01T12:00:00Z

    foreshock explain 'Errors on api' --why-not S-1 --history last.jsonl --set group.threshold=0.5

    With a history, a moment, or anything that differs, what was recorded is read again; situations are numbered from
    its beginning then, so that an alert is best named by what it is called.
    """
    if mapping is not None and history is None:
        raise typer.BadParameter("--mapping goes with --history")
    if history or at or topology or rules or settings or set_ or learned:
        past = history or client(server, token_file)
        view = _replayed(id, why_not, at, given(past, topology, rules, settings, mapping, learned, set_ or ()))
    else:
        path = f"/api/v1/explain/{quote(id, safe='')}" + (f"/against/{quote(why_not, safe='')}" if why_not else "")
        view = client(server, token_file).answer(path)
    if why_not:
        tell_lines(view, output, lambda apart: (line for each in apart for line in _told_apart(each)))
    else:
        tell_lines(view, output, _lines)


def _replayed(id: str, why_not: str, at: datetime | None, recorded: tuple[Any, ...]) -> Any:
    """What the API would answer after the recorded input."""
    import msgspec

    from foreshock.service import reasons
    from foreshock.service.replayed import replayed

    state = replayed(*recorded, asked=tuple(filter(None, (id, why_not))), until=at)
    engine = state.engine
    complain(f"as of {engine.now:%Y-%m-%d %H:%M:%S} UTC", color="reset")
    try:
        if why_not:
            return json.loads(msgspec.json.encode(reasons.why_not(engine, state, id, why_not)))
        return json.loads(msgspec.json.encode(reasons.why(engine, state, id, engine.now)))
    except Missing as error:
        hint = f"{error.hint}; situations are numbered from the beginning of what was recorded, so name an alert"
        raise Missing(str(error.args[0]), hint=hint) from None


def _lines(view: dict[str, Any]) -> Iterable[str]:
    return (
        *(_headed(view) if view["situation"] else ["in no situation"]),
        *(f"held ({held['kind']}, {counted(held['alerts'], 'alert')}): {held['reason']}" for held in view["held"]),
        *(f"  {_decided(each)}" for each in view["decisions"]),
        *([f"no cause is named: {view['cause_doubt']}"] if view["cause_doubt"] else []),
        *(f"cause {_caused(cause)}" for cause in view["causes"][:3]),
        *(f"metric {_measured(each)}" for each in view["evidence"][:5]),
        *(f"{j['at'][:19]} {j['actor']} said {j['kind']}: {j['outcome']}" for j in reversed(view["judgements"])),
        *_versions("decided by", view["now"]),
        "",
        *(line for alert in view["alerts"] for line in _explained(alert)),
    )


def _headed(view: dict[str, Any]) -> list[str]:
    return [
        f"{view['situation']}: {view['title']}",
        f"priority {view['priority']}: {view['priority_reason']}",
        *([f"group: {view['assignment']}"] if view["assignment"] else []),
        f"ticket: {view['next_step'] or 'no sink is configured'}",
        *([f"under the umbrella of {view['parent']}"] if view["parent"] else []),
        *([f"umbrella: {view['umbrella']}"] if view["umbrella"] else []),
        *([f"recurrence: {view['recurrence']}"] if view["recurrence"] else []),
        *(f"foreseen: {each['words']}" for each in view["foreseen"]),
    ]


def _decided(each: dict[str, Any]) -> str:
    until = f", until {each['until'][11:19]}" if each["until"] else ""
    return f"{each['at'][:19].replace('T', ' ')} {each['sink']}: {each['step']}: {each['reason']}{until}"


def _measured(evidence: dict[str, Any]) -> str:
    odd = evidence["anomaly"]
    which = f" ({odd['dimension']})" if odd.get("dimension") else ""
    unit = f" {odd['unit']}" if odd.get("unit") else ""
    what = odd.get("said") or (
        f"{odd['direction']} to {odd['observed']:.4g}{unit} where {odd['expected']:.4g}{unit} is usual, "
        f"{odd['score']:.0f} spreads off"
    )
    return (
        f"{odd['metric']}{which} of {odd['ci']}: {what} since {odd['onset'][11:16]} UTC; "
        f"{' needs '.join(evidence['path'])}"
    )


def _caused(cause: dict[str, Any]) -> str:
    parts = "; ".join(f"{part['evidence']} ({part['points']:+.2f})" for part in cause["contributions"])
    return f"{cause['ci']} ({cause['score']:.2f}): {parts}"


def _versions(what: str, versions: dict[str, Any] | None) -> list[str]:
    if versions is None:
        return []
    named = [f"topology {versions['topology'] or 'none'}", f"settings {versions['settings']}"]
    named += [f"learned {versions['learned']}"] if versions["learned"] else []
    return [f"{what}: rules {', '.join(versions['rules'])}; {'; '.join(named)}"]


def _told_apart(each: dict[str, Any]) -> list[str]:
    lines = [each["sentence"]]
    if (link := each["link"]) and link["rule"]:
        strength = f"strength {link['strength']:.2f}"
        lines.append(f"  {link['rule']}: {' -> '.join(link['path'])}, {link['gap_s']:.0f} s apart, {strength}")
        lines.append(f"    {link['sentence']}")
        if each["counted"] is not None:
            lines.append(f"  all of {each['situation']} then: {each['counted']:.2f} against {link['threshold']:.2f}")
    lines += [f"  {reason}" for reason in each["obstacles"] if reason not in each["sentence"]]
    for past in each["decided"]:
        whose = "" if past["alert"] == each["alert"] else f"{past['alert'][:8]} of {each['situation']}: "
        lines.append(f"  {past['at'][:19].replace('T', ' ')} {whose}{_considered(past)}")
        lines += _versions("    decided by", past["versions"])
    return lines + _versions("  asked of", each["now"])


def _considered(past: dict[str, Any]) -> str:
    return f"not {past['situation']} ({past['rule']}, strength {past['strength']:.2f}): {past['why']}"


def _explained(alert: dict[str, Any]) -> list[str]:
    why = alert["why"] or {}
    state = f"{alert['state']}, {counted(alert['count'], 'event')}, {alert['fingerprint'][:8]}"
    what = f"{alert['name']} on {alert['ci'] or 'no CI'} ({state})"
    sure = f" (confidence: {alert['confidence']})" if alert["confidence"] else ""
    lines = [f"{what}: {why.get('sentence', 'it is in no situation')}", f"  bound by {alert['bound_by']}{sure}"]
    if why.get("rule"):
        strength = f"strength {why['strength']:.2f} against {why['threshold']:.2f}"
        lines.append(f"  {why['rule']}: {' -> '.join(why['path'])}, {why['gap_s']:.0f} s apart, {strength}")
    if why.get("moved"):
        lines.append(f"  {why['moved']}")
    lines += [f"  {_considered(past)}" for past in why.get("considered", ())]
    lines += [f"  {held['kind']}: {held['reason']}" for held in alert["held"]]
    return lines
