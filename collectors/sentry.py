"""Metric alerts and issues of Sentry, through the webhooks of an internal integration.

Facts:    https://docs.sentry.io/integrations/integration-platform/webhooks/ (metric alerts, issue alerts, issues),
          read 2026-11-22.
Delivery: once, to be answered within a second; Sentry does not try again, and switches an integration off whose
          answers fail too often.
Recovery: reported. A metric alert is over with the action ``resolved``. An issue that an alert rule told of is over
          when it is resolved or archived in Sentry, which the integration must be subscribed to (resource ``issue``).
Limits:   of the resource ``issue`` only resolved and archived are read: which issues are alerts is for the rules of
          Sentry to say. Issues of cron monitors that recover by themselves are not reported.
Needs:    in Settings > Developer Settings an internal integration with this address, "Alert Rule Action" and the
          resource issue switched on (permission Issue & Event: Read), and its client secret here as ``secret_files``;
          then the integration as an action in each alert rule.
"""

import re
from datetime import datetime
from typing import Any

from foreshock.connect.proofs import SENTRY
from foreshock.core.contracts import Collector, Ignored, Receive
from foreshock.core.errors import Malformed
from foreshock.core.model import Event
from foreshock.core.payload import Object, alert, moment, needed, objects, part, text, texts

decode = objects("webhooks of Sentry")
"""What they are about is in ``data``: the header Sentry-Hook-Resource says no more."""

_PROJECT = re.compile(r"/projects/[^/]+/([^/]+)/")
_SEVERITIES = {"critical": "critical", "warning": "warning"}
_LEVELS = {"fatal": "critical", "error": "major", "warning": "warning", "info": "info", "debug": "info"}


def translate(item: Object, received_at: datetime) -> Event | Ignored:
    """Raises Malformed where a metric alert has no rule, or an issue no id."""
    data = part(item, "data")
    if part(data, "metric_alert") is not None:
        return _metric(item, data["metric_alert"], received_at)
    if part(data, "event") is not None:
        return _triggered(data["event"], text(data, "triggered_rule"), received_at)
    if part(data, "issue") is not None:
        return _issue(text(item, "action"), data["issue"], received_at)
    if not text(item, "action"):
        raise Malformed("there is no action, so this is no webhook of Sentry")
    return Ignored("neither a metric alert nor an issue")


def _metric(item: Object, found: Object, received_at: datetime) -> Event:
    rule = part(found, "alert_rule")
    action = text(item, "action")
    projects = texts(found, "projects")
    return alert(
        {
            "alertname": needed(found, "alert_rule", "name"),
            "rule_id": text(rule, "id"),
            "service": projects[0] if len(projects) == 1 else "",
            "environment": text(rule, "environment"),
        },
        received_at,
        annotations={
            "summary": text(found, "title") or text(item, "data", "description_title"),
            "description": text(item, "data", "description_text"),
            "projects": ", ".join(projects),
            "query": text(rule, "query"),
        },
        severity=_SEVERITIES.get(action, ""),
        starts_at=moment(found, "date_started"),
        over=action == "resolved",
        ended_at=moment(found, "date_closed"),
        url=text(item, "data", "web_url"),
    )


def _triggered(event: Object, rule: str, received_at: datetime) -> Event:
    """An issue alert rule fired for an event; which issue that belongs to identifies."""
    found = _PROJECT.search(text(event, "url"))
    return _of_issue(
        needed(event, "issue_id"),
        found[1] if found else "",
        received_at,
        annotations={
            "summary": text(event, "title"),
            "culprit": text(event, "culprit"),
            "rule": rule,
            "level": text(event, "level"),
            "environment": text(event, "environment"),
            "release": text(event, "release"),
        },
        severity=_LEVELS.get(text(event, "level"), ""),
        starts_at=moment(event, "datetime"),
        url=text(event, "web_url"),
    )


def _issue(action: str, issue: Object, received_at: datetime) -> Event | Ignored:
    if action not in ("resolved", "archived", "ignored"):
        return Ignored("the rules of Sentry say which issues are alerts")
    return _of_issue(
        needed(issue, "id"),
        text(issue, "project", "slug"),
        received_at,
        annotations={"summary": text(issue, "title"), "culprit": text(issue, "culprit"), "status": action},
        over=True,
        url=text(issue, "web_url") or text(issue, "permalink"),
    )


def _of_issue(issue: str, project: str, received_at: datetime, **said: Any) -> Event:
    return alert({"alertname": "Sentry issue", "issue_id": issue, "service": project}, received_at, **said)


_TEXT = {"type": "string"}
COLLECTOR = Collector(
    kind="sentry",
    title="Metric alerts and issues of Sentry",
    facts="Sentry integration platform webhooks",
    decode=decode,
    translate=translate,
    sample="sentry-firing.json",
    receive=Receive(
        path="/api/v1/collect/sentry",
        signed=SENTRY,
        schema={
            "type": "object",
            "required": ["action", "data"],
            "properties": {
                "action": {**_TEXT, "description": "critical, warning or resolved; triggered; archived, …"},
                "data": {"type": "object", "description": "`metric_alert`, `event` or `issue`"},
            },
        },
    ),
)
