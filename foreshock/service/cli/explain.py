"""Why: what a running Foreshock decided, and what for."""

from collections.abc import Iterable
from typing import Annotated, Any

import typer

from foreshock.core.errors import ForeshockError
from foreshock.service.cli.options import DEFAULT_SERVER, Format, Server, TokenFile, client
from foreshock.service.cli.terminal import Output, counted, tell_lines, told

commands = typer.Typer()


@commands.command()
@told
def explain(
    id: Annotated[str, typer.Argument(help="Situation id, ticket number, or the fingerprint of an alert.")],
    against: Annotated[str, typer.Option(help="An incident: why is it, or each of its alerts, not in there?")] = "",
    server: Server = DEFAULT_SERVER,
    token_file: TokenFile = None,
    output: Format = Output.TABLE,
) -> None:
    """Why alerts are together or are not, what caused it, and why there is a ticket or none."""
    view = client(server, token_file).get(f"/api/v1/explain/{id}" + (f"/against/{against}" if against else ""))
    if view is None:
        hint = "see `foreshock incidents list --state all`"
        raise ForeshockError(f"there is no incident and no alert {id!r}", hint=hint)
    if against:
        tell_lines(view, output, lambda apart: (line for each in apart for line in _told_apart(each)))
    else:
        tell_lines(view, output, _lines)


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
        f"ticket: {view['next_step'] or 'no sink is configured'}",
        *([f"under the umbrella of {view['parent']}"] if view["parent"] else []),
        *([f"umbrella: {view['umbrella']}"] if view["umbrella"] else []),
    ]


def _decided(each: dict[str, Any]) -> str:
    until = f", until {each['until'][11:19]}" if each["until"] else ""
    return f"{each['at'][:19].replace('T', ' ')} {each['sink']}: {each['step']}: {each['reason']}{until}"


def _measured(evidence: dict[str, Any]) -> str:
    odd = evidence["anomaly"]
    which = f" ({odd['dimension']})" if odd.get("dimension") else ""
    unit = f" {odd['unit']}" if odd.get("unit") else ""
    return (
        f"{odd['metric']}{which} of {odd['ci']}: {odd['direction']} to {odd['observed']:.4g}{unit} "
        f"where {odd['expected']:.4g}{unit} is usual, {odd['score']:.0f} spreads off since {odd['onset'][11:16]} UTC; "
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
    lines = [f"{what}: {why.get('sentence', 'it is in no situation')}", f"  bound by {alert['bound_by']}"]
    if why.get("rule"):
        strength = f"strength {why['strength']:.2f} against {why['threshold']:.2f}"
        lines.append(f"  {why['rule']}: {' -> '.join(why['path'])}, {why['gap_s']:.0f} s apart, {strength}")
    if why.get("moved"):
        lines.append(f"  {why['moved']}")
    lines += [f"  {_considered(past)}" for past in why.get("considered", ())]
    lines += [f"  {held['kind']}: {held['reason']}" for held in alert["held"]]
    return lines
