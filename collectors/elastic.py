"""Rules of Elastic (Kibana), through a webhook connector.

Facts:    https://www.elastic.co/docs/explore-analyze/alerts-cases/alerts/rule-action-variables, read 2026-11-22.
          UNVERIFIED: the names of action groups of rule types that are not in the table of severities.
Delivery: once for each run of the rule that the action's frequency lets through; not tried again for long.
Recovery: reported by an action of its own: add the same webhook a second time, run when "Recovered", with the same
          payload; ``alert.actionGroup`` is then ``recovered``. Without it only people, or ``fold.sources``, end
          alerts.
Limits:   an alert is what Kibana calls so: a rule and one of its groups (``alert.id``), for example a host; the first
          value of the group names the CI. Run actions for each alert, not as a summary. What a rule knows of its
          context may be missing when it has recovered, so it explains and does not identify.
Needs:    in Stack Management > Connectors a webhook (POST) with this address and a header with the token; in the rule
          an action with the payload below, and a second one for recovery.
"""

from datetime import datetime

from foreshock.core.contracts import Collector, Receive
from foreshock.core.model import Event
from foreshock.core.payload import Object, alert, filled, moment, needed, objects, text, worded

_SEVERITIES = {
    "critical": "critical",
    "alert": "critical",
    "high": "major",
    "medium": "minor",
    "low": "warning",
    "warning": "warning",
    "major": "major",
    "minor": "minor",
    "nodata": "warning",
}
"""By the last word of an action group, for example ``slo.burnRate.high`` and ``metrics.threshold.warning``."""
_RECOVERED = "recovered"
_UNGROUPED = frozenset({"query matched", "*"})

decode = objects("alerts, as a webhook connector of Kibana posts them")


def translate(item: Object, received_at: datetime) -> Event:
    """Raises Malformed where the payload does not name the rule."""
    group = filled(item, "alert", "actionGroup")
    which = text(item, "alert", "id")
    which = "" if which in _UNGROUPED else which
    return alert(
        {
            "alertname": needed(item, "rule", "name"),
            "rule_id": filled(item, "rule", "id"),
            "space": filled(item, "rule", "spaceId"),
            "instance": which.partition(",")[0].strip(),
            "alert_id": which,
        },
        received_at,
        annotations={
            "summary": filled(item, "context", "reason") or filled(item, "context", "message"),
            "tags": filled(item, "rule", "tags"),
            "type": filled(item, "rule", "type"),
            "action_group": group,
        },
        severity=worded(filled(item, "severity"), _SEVERITIES.get(group.rpartition(".")[2].lower(), "")),
        starts_at=None if group == _RECOVERED else moment(item, "date"),
        over=group == _RECOVERED,
        ended_at=moment(item, "date"),
        url=filled(item, "context", "alertDetailsUrl") or filled(item, "rule", "url"),
    )


_TEXT = {"type": "string"}
COLLECTOR = Collector(
    kind="elastic",
    title="Rules of Elastic (Kibana)",
    facts="Kibana webhook connector, rule action variables",
    decode=decode,
    translate=translate,
    sample="elastic-firing.json",
    receive=Receive(
        path="/api/v1/collect/elastic",
        schema={
            "type": "object",
            "required": ["rule", "alert"],
            "properties": {
                "rule": {
                    "type": "object",
                    "required": ["name"],
                    "properties": {"id": _TEXT, "name": _TEXT, "spaceId": _TEXT},
                    "description": "the rule: `name`, `id`, `spaceId`, `url`, `tags`, `type`",
                },
                "alert": {
                    "type": "object",
                    "properties": {"id": _TEXT, "actionGroup": _TEXT},
                    "description": "`id` is the group, `actionGroup` recovered or how bad it is",
                },
                "severity": {**_TEXT, "description": "as you want it; else by the action group"},
                "context": {"type": "object", "description": "`reason` or `message`, `alertDetailsUrl`"},
                "date": {**_TEXT, "format": "date-time"},
            },
        },
    ),
)
