"""Alerts, causes and situations as values, for tests of what is said of them."""

from typing import Any

from foreshock.core.model import Alert, Cause, Contribution, Situation
from foreshock.core.severity import Severity
from foreshock.testing.records import NOON


def alert(ci: str, labels: bytes = b'{"alertname":"Down"}', **changes: Any) -> Alert:
    values: dict[str, Any] = {
        "fingerprint": f"on-{ci}", "source": "alertmanager", "labels": labels, "annotations": b"{}", "ci": ci,
        "severity": Severity.MAJOR, "starts_at": NOON, "first_seen": NOON, "last_seen": NOON,
    }  # fmt: skip
    return Alert(**(values | changes))


def cause(ci: str) -> Cause:
    return Cause(ci=ci, score=0.75, contributions=(Contribution(name="first", points=0.75, evidence="it began first"),))


def situation(**changes: Any) -> Situation:
    values: dict[str, Any] = {
        "id": "S-1", "opened_at": NOON, "onset": NOON, "updated_at": NOON, "last_joined_at": NOON,
        "title": "Down on db1", "severity": Severity.MAJOR, "impact": 2, "urgency": 2, "priority": 3,
    }  # fmt: skip
    return Situation(**(values | changes))
