"""What a person says of an incident in the console's forms: read, and told back before it is done."""

from collections.abc import Iterable, Sequence

from foreshock.core.errors import Rejected
from foreshock.core.model import JudgementKind
from foreshock.service.records import Statement
from foreshock.service.views import IncidentView, Views

MAX_COMMENT = 2000
_TITLES = {
    JudgementKind.MERGE: "Merge two incidents",
    JudgementKind.SPLIT: "Split an incident",
    JudgementKind.MOVE: "Move alerts",
    JudgementKind.NOT_RELATED: "Two incidents are not related",
    JudgementKind.CAUSE: "Name the cause",
}


def read(fields: Iterable[tuple[str, str]], view: IncidentView) -> Statement:
    """The statement in a form's fields. Raises Rejected in the words of the form."""
    values: dict[str, list[str]] = {}
    for name, value in fields:
        values.setdefault(name, []).append(value.strip())
    kind = values.get("kind", [""])[0]
    if kind not in set(JudgementKind):
        raise Rejected("the form does not say what to do", hint="use the forms of the incident's page")
    other, comment = values.get("other", [""])[0], values.get("comment", [""])[0]
    if len(comment) > MAX_COMMENT:
        raise Rejected(f"the reason has {len(comment)} characters, {MAX_COMMENT} are allowed", hint="shorten it")
    alerts = tuple(dict.fromkeys(filter(None, values.get("alert", ()))))
    if kind == JudgementKind.SPLIT and other:  # one form serves both: where the alerts go decides
        kind = JudgementKind.MOVE
    if kind in (JudgementKind.SPLIT, JudgementKind.MOVE) and not alerts:
        raise Rejected("no alert is chosen", hint="tick the alerts that leave")
    if kind in (JudgementKind.MERGE, JudgementKind.NOT_RELATED) and not other:
        raise Rejected("no other incident is named", hint="give its id or ticket number, S-12 or INC0000012")
    cis = tuple(filter(None, values.get("ci", ())))[:1]
    if kind == JudgementKind.CAUSE and not cis:
        raise Rejected("no CI is named", hint="choose one, or type its name")
    return Statement(
        kind=JudgementKind(kind), situation=view.row.id, other=other, alerts=alerts, cis=cis, comment=comment
    )


def title(said: Statement) -> str:
    return _TITLES[said.kind]


def consequences(said: Statement, view: IncidentView, views: Views) -> list[str]:
    """What doing it would change, one sentence each. Raises Rejected where the other incident is none."""
    other = views.incident(said.other) if said.other else None
    if said.other and other is None:
        raise Rejected(f"there is no incident {said.other[:80]!r}", hint="give its id or ticket number")
    here = f"{view.row.id} ({view.row.title})"
    there = f"{other.row.id} ({other.row.title})" if other else ""
    told: list[str] = []
    if said.kind is JudgementKind.MERGE and other:
        told.append(f"All alerts of {there}, {len(other.alerts)} in number, go over to {here}.")
        told += [f"Ticket {number} is resolved with a reference to {view.row.id}." for number in _numbers(other)]
    elif said.kind is JudgementKind.SPLIT:
        told.append(f"{len(said.alerts)} of {len(view.alerts)} alerts of {here} leave it: {_named(said.alerts, view)}.")
        told.append("A new incident is opened for what leaves, with a ticket of its own after the usual delay.")
    elif said.kind is JudgementKind.MOVE:
        told.append(
            f"{len(said.alerts)} of {len(view.alerts)} alerts of {here} move to {there}: {_named(said.alerts, view)}."
        )
        if len(said.alerts) == len(view.alerts):
            told.append(f"None is left in {view.row.id}, so it is merged and its ticket resolved with a reference.")
    elif said.kind is JudgementKind.NOT_RELATED:
        told.append(f"{here} and {there} have nothing to do with each other; what was merged comes apart again.")
    else:
        told.append(f"{said.cis[0]} stands first among the causes of {here}, marked as said by you.")
    if said.kind not in (JudgementKind.MERGE, JudgementKind.CAUSE):
        told.append("From then on correlation keeps them apart, as long as the setting group.keep_apart says.")
    return told


def _numbers(view: IncidentView) -> list[str]:
    return [ticket.number for ticket in view.row.tickets if ticket.open and ticket.number]


def _named(alerts: Sequence[str], view: IncidentView) -> str:
    names = [
        f"{alert.name} on {alert.ci}" if alert.ci else alert.name
        for alert in view.alerts
        if alert.fingerprint in alerts
    ]
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
