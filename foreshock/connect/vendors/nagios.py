"""What Nagios, Naemon, Icinga 2 and Checkmk share: states of hosts and services, and types of notifications.

Facts: https://assets.nagios.com/downloads/nagioscore/docs/nagioscore/4/en/notifications.html, and statetypes.html,
    flapping.html and macrolist.html there, read 2026-11-22; Icinga 2 and Checkmk took the words over.
"""

from collections.abc import Mapping
from datetime import datetime

from msgspec import Struct

from foreshock.core.contracts import Ignored
from foreshock.core.errors import Malformed
from foreshock.core.model import Event
from foreshock.core.payload import alert

HOST_DOWN = "Host down"
"""``alertname`` of what is about a host as a whole; of a service it is the service's name."""

_GOOD = frozenset({"OK", "UP"})
_SEVERITY = {
    "WARNING": "warning",
    "CRITICAL": "critical",
    "UNKNOWN": "warning",
    "DOWN": "critical",
    "UNREACHABLE": "warning",  # something on the way there is down, and has an alert of its own
}
_CHANGES = frozenset({"", "PROBLEM", "RECOVERY"})


class Report(Struct, frozen=True, kw_only=True):
    """What was said of a host or, where it has a name, of a service.

    Attributes:
        type: of the notification; empty: the result of a check.
        state: OK, WARNING, CRITICAL or UNKNOWN of a service; UP, DOWN or UNREACHABLE of a host.
        soft: it is still being checked whether that is so.
        at: when it was said. changed_at: since when the state is as it is.
        labels: that identify beside host and service. annotations: that explain.
    """

    host: str
    state: str
    service: str = ""
    type: str = ""
    soft: bool = False
    at: datetime | None = None
    changed_at: datetime | None = None
    labels: Mapping[str, str] = {}
    annotations: Mapping[str, str] = {}
    url: str = ""


def to_event(report: Report, received_at: datetime) -> Event | Ignored:
    """The state decides, whatever the notification is about: while something is in a downtime or flaps no recovery is
    sent, and the end of the downtime or of the flapping is then all that tells of it. What begins to flap is trouble
    although it may be well at that moment.

    Raises Malformed where the host or the state is missing, or the state is none.
    """
    if not report.host:
        raise Malformed("the host is missing", hint="compare the command with that of the connector's page")
    type_, state = report.type.upper(), report.state.upper()
    if state == "PENDING":
        return Ignored("it was not checked yet")
    if state not in _GOOD and state not in _SEVERITY:
        known = ", ".join((*sorted(_GOOD), *_SEVERITY))
        raise Malformed(f"the state is {report.state[:40]!r}, none of {known}")
    flaps = type_ == "FLAPPINGSTART"
    over = state in _GOOD and not flaps
    if report.soft and not over:
        return Ignored("a soft state: it is still being checked")
    # A downtime, a flapping and an acknowledgement are dated when they are said; since when the state is as it is tells
    # nothing about them.
    at = (report.changed_at or report.at) if type_ in _CHANGES else (report.at or report.changed_at)
    return alert(
        {"alertname": report.service or HOST_DOWN, "host": report.host, **report.labels},
        received_at,
        annotations={"state": state, "notification": type_, **report.annotations},
        severity="" if over else _SEVERITY.get(state, "warning"),
        starts_at=None if over else at,
        over=over,
        ended_at=at,
        url=report.url,
    )
