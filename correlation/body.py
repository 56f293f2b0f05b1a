"""What a ticket says of its situation: values in the words of the field, and a text that a template makes of them."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from msgspec import Struct

from correlation.evidence import describe
from correlation.problem import Past
from correlation.settings import TextSettings
from correlation.template import Record, Template
from correlation.ticket import count, named, title, under
from correlation.umbrella import Summary
from foreshock.core.errors import Invalid
from foreshock.core.model import Alert, Cause, Change, Contribution, Held, HeldKind, Situation
from foreshock.core.severity import Severity

_MAX_ALERTS = 50
_MAX_SERVICES = 10
_MAX_EVIDENCE = 5
_MAX_RUNBOOKS = 3
_MAX_SUMMARY = 500  # characters
_RUNBOOK = ("runbook_url", "runbook")
_SUMMARY = ("summary", "description", "message")

DESCRIPTION = """\
{% if umbrella %}
{{ umbrella.text }}

{% endif %}
{{ alert_count|plural('alert') }} on {{ ci_count|plural('CI') }} since {{ onset|time }}.
{% if part_of %}
It is under the umbrella of {{ part_of }}.
{% endif %}
{% if cause %}
Probable cause: {{ cause.ci }} (score {{ cause.score }}): {{ cause.reason }}.
{% elif causes %}
No probable cause: {{ doubt }}. Candidates: \
{% for each in causes %}{{ each.ci }} ({{ each.score }}){% if not loop.last %}, {% endif %}{% endfor %}.
{% endif %}
{% if services %}
Business services that depend on it: {{ services|join }}.
{% endif %}
{% for each in windows %}
Maintenance now: {{ each.reason }}.
{% endfor %}
{% for each in runbooks %}
Runbook: {{ each }}
{% endfor %}

{% if changes %}
Changes shortly before it:
{% for each in changes %}
- {{ each.when }} {{ each.title }} on {{ each.ci }}{% if each.actor %}, by {{ each.actor }}{% endif %}\
{% if each.url %}: {{ each.url }}{% endif %}

{% endfor %}

{% endif %}
{% if similar %}
Similar before:
{% for each in similar %}
- {{ each.opened|time }} {{ each.name }}: {{ each.how }}{% if each.note %}: {{ each.note }}{% endif %}

{% endfor %}

{% endif %}
{% if evidence %}
Metrics that left their usual band:
{% for each in evidence %}
- {{ each }}
{% endfor %}

{% endif %}
{% for each in alerts %}
{% if loop.index <= 20 %}
- {{ each.when }} [{{ each.severity }}] {{ each.title }}
{% endif %}
{% endfor %}
{% if alert_count > 20 %}
- and {{ alert_count - 20 }} more, see the console
{% endif %}
"""
"""What a ticket says where no other template is given."""


class Telling(Struct, frozen=True, kw_only=True):
    """All that a ticket may tell of a situation, as the engine knows it when it is written.

    Attributes:
        members: in order of joining.
        umbrella: what it holds over others. part_of: whose ticket is for it too, in words.
        changes: what was done to its CIs and causes before it began, each with its CI, the newest first.
        windows: maintenance that covers alerts of it now.
        similar: earlier ones with the same cause and pattern that are over. problem: numbers of the Problem that they
            make, known_error: what people know of it; empty if there is none.
    """

    situation: Situation
    members: Sequence[Alert]
    umbrella: Summary | None = None
    part_of: str = ""
    changes: Sequence[tuple[str, Change]] = ()
    windows: Sequence[Held] = ()
    similar: Sequence[Past] = ()
    problem: str = ""
    known_error: str = ""

    @property
    def cause(self) -> Cause | None:
        """The one that is likely enough to be named."""
        found = self.situation.causes
        return found[0] if found and not self.situation.cause_doubt else None


def fields(telling: Telling, text: TextSettings) -> dict[str, Any]:
    """title, description, impact, urgency, priority, severity, assignment_group, ci, services and causes, as
    ``contracts.Order`` names them."""
    situation, umbrella, first = telling.situation, telling.umbrella, telling.cause
    return {
        "title": " ".join(_written(text.title, telling).split()) if text.title else _title(telling),
        "description": _written(text.description or DESCRIPTION, telling),
        "impact": situation.impact,
        "urgency": situation.urgency,
        "priority": situation.priority,
        "severity": situation.severity.word,
        "assignment_group": situation.assignment_group,
        "ci": umbrella.ci if umbrella is not None and umbrella.ci else first.ci if first else "",
        "services": list(situation.services),
        "causes": [{"ci": c.ci, "score": c.score, "reason": c.reason} for c in situation.causes],
    }


def _written(source: str, telling: Telling) -> str:
    """A template that fails on this situation delays no ticket: its reader is told, and gets the usual text."""
    template = compiled(source)
    try:
        return template.render({name: VALUES[name](telling) for name in template.names})
    except Invalid as error:
        usual = compiled(DESCRIPTION)
        text = usual.render({name: VALUES[name](telling) for name in usual.names})
        return f"{text}\n\n(The template for this text failed here: {error})"


@lru_cache(64)
def compiled(source: str) -> Template:
    """Raises Invalid, naming the line."""
    return Template(source, example())


def example() -> dict[str, Any]:
    """A value of each name, with all that it may have inside."""
    telling = _example_telling()
    return {name: value(telling) for name, value in VALUES.items()}


# ---- the values -----------------------------------------------------------------------------------------------------


def _title(telling: Telling) -> str:
    situation, umbrella = telling.situation, telling.umbrella
    if umbrella is not None and umbrella.storm:
        rest = f", and {count(umbrella.total, 'more situation')}" if umbrella.total else ""
        return f"Storm of incidents: {situation.title}{rest}"
    if umbrella is not None and umbrella.ci:
        return f"{named(umbrella)}: {count(umbrella.total + 1, 'situation')} below it, {situation.title}"
    if umbrella is not None:
        return f"{situation.title}, and {count(umbrella.total, 'more situation')}"
    more = len(telling.members) - 1
    return f"{situation.title}, and {count(more, 'more alert')}" if more > 0 else situation.title


def _when(at: datetime, telling: Telling) -> str:
    """The time of day in UTC; with the date where that is not the day on which it all began."""
    same = at.date() == telling.situation.onset.date()
    return f"{at:%H:%M:%S}" if same else f"{at:%Y-%m-%d %H:%M:%S}"


def _first(annotations: Mapping[str, str], names: Sequence[str]) -> str:
    return next((annotations[name] for name in names if annotations.get(name)), "")


def _runbooks(telling: Telling) -> list[str]:
    found = (_first(alert.read_annotations(), _RUNBOOK) for alert in telling.members[:_MAX_ALERTS])
    return list(dict.fromkeys(one for one in found if one.startswith("http")))[:_MAX_RUNBOOKS]


_ALERT: Mapping[str, Callable[[tuple[Alert, Telling]], Any]] = {
    "title": lambda of: title(of[0]),
    "ci": lambda of: of[0].ci,
    "severity": lambda of: of[0].severity.word,
    "active": lambda of: of[0].active,
    "since": lambda of: of[0].starts_at,
    "when": lambda of: _when(of[0].starts_at, of[1]),
    "summary": lambda of: _first(of[0].read_annotations(), _SUMMARY)[:_MAX_SUMMARY],
    "labels": lambda of: of[0].read_labels(),
    "annotations": lambda of: of[0].read_annotations(),
}
_CAUSE: Mapping[str, Callable[[Cause], Any]] = {
    "ci": lambda cause: cause.ci,
    "score": lambda cause: f"{cause.score:.2f}",
    "reason": lambda cause: cause.reason,
}
_CHANGE: Mapping[str, Callable[[tuple[str, Change, Telling]], Any]] = {
    "title": lambda of: of[1].title,
    "ci": lambda of: of[0],
    "actor": lambda of: of[1].actor,
    "url": lambda of: of[1].url,
    "at": lambda of: of[1].at,
    "when": lambda of: _when(of[1].at, of[2]),
}
_WINDOW: Mapping[str, Callable[[Held], Any]] = {"reason": lambda held: held.reason, "until": lambda held: held.until}
_SIMILAR: Mapping[str, Callable[[Past], Any]] = {
    "name": lambda past: f"{past.situation} ({past.ticket})" if past.ticket else past.situation,
    "ticket": lambda past: past.ticket,
    "title": lambda past: past.title,
    "opened": lambda past: past.opened_at,
    "ended": lambda past: past.ended_at,
    "how": lambda past: past.how,
    "note": lambda past: past.note,
    "label": lambda past: past.label,
}
_UMBRELLA: Mapping[str, Callable[[Summary], Any]] = {
    "text": lambda found: "\n".join(under(found)),
    "ci": lambda found: found.ci,
    "kind": lambda found: found.kind,
    "total": lambda found: found.total,
    "open": lambda found: found.open,
}
VALUES: Mapping[str, Callable[[Telling], Any]] = {
    "id": lambda told: told.situation.id,
    "title": _title,
    "severity": lambda told: told.situation.severity.word,
    "priority": lambda told: told.situation.priority,
    "impact": lambda told: told.situation.impact,
    "urgency": lambda told: told.situation.urgency,
    "onset": lambda told: told.situation.onset,
    "opened_at": lambda told: told.situation.opened_at,
    "group": lambda told: told.situation.assignment_group,
    "alerts": lambda told: [Record(_ALERT, (each, told)) for each in told.members[:_MAX_ALERTS]],
    "alert_count": lambda told: len(told.members),
    "active_count": lambda told: sum(alert.active for alert in told.members),
    "ci_count": lambda told: len({alert.ci for alert in told.members if alert.ci}),
    "cause": lambda told: told.cause and Record(_CAUSE, told.cause),
    "causes": lambda told: [Record(_CAUSE, each) for each in told.situation.causes],
    "doubt": lambda told: told.situation.cause_doubt,
    "services": lambda told: list(told.situation.services[:_MAX_SERVICES]),
    "evidence": lambda told: [describe(each.anomaly) for each in told.situation.evidence[:_MAX_EVIDENCE]],
    "changes": lambda told: [Record(_CHANGE, (ci, change, told)) for ci, change in told.changes],
    "windows": lambda told: [Record(_WINDOW, each) for each in told.windows],
    "similar": lambda told: [Record(_SIMILAR, each) for each in told.similar],
    "problem": lambda told: told.problem,
    "known_error": lambda told: told.known_error,
    "umbrella": lambda told: told.umbrella and Record(_UMBRELLA, told.umbrella),
    "part_of": lambda told: told.part_of,
    "runbooks": _runbooks,
}
"""What a template may use, by name."""


def _example_telling() -> Telling:
    noon = datetime(2026, 3, 2, 12, tzinfo=UTC)
    why = Contribution(name="first", points=1, evidence="it began first")
    alert = Alert(
        fingerprint="f", source="s", labels=b'{"alertname":"Down"}', annotations=b'{"runbook_url":"https://r.example"}',
        ci="db1", severity=Severity.MAJOR, starts_at=noon, first_seen=noon, last_seen=noon,
    )  # fmt: skip
    return Telling(
        situation=Situation(
            id="S-1", opened_at=noon, onset=noon, updated_at=noon, last_joined_at=noon, services=("shop",),
            causes=(Cause(ci="db1", score=0.75, contributions=(why,)),),
        ),
        members=(alert,),
        umbrella=Summary(
            ci="rack1", kind="rack", total=3, open=2, alerts=9, active=7, cis=5, ticketed=0, tickets=(), worst=()
        ),
        changes=(("db1", Change(id="c", at=noon - timedelta(minutes=9), title="deploy", cis=("db1",))),),
        windows=(Held(kind=HeldKind.MAINTENANCE, id="w", reason="patching", until=noon),),
        similar=(
            Past(
                situation="S-0", title="Down on db1", opened_at=noon, ended_at=noon, how="recovered by itself",
                note="", label="", ticket="INC0",
            ),
        ),
        problem="PRB1",
        known_error="restart it",
    )  # fmt: skip
