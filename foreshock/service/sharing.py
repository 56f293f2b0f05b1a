"""What was read from disk shares again what is equal: a running engine has one string for a CI, a fingerprint or a
moment, however many alerts name it, and decoding makes one for each. Saves a fifth of the memory after a restart."""

from collections.abc import Mapping
from typing import Any

from msgspec.structs import force_setattr

from foreshock.core.model import Alert, Link, Situation

_OF_ALERTS = (
    "source", "starts_at", "first_seen", "last_seen", "dated", "ends_at", "last_end", "expires_at", "ci", "bound_by",
    "situation", "url", "origin",
)  # fmt: skip


class Sharing:
    """Replaces values by equal ones it has seen before. Everything it gets was decoded: all times are UTC."""

    def __init__(self) -> None:
        self._same: dict[Any, Any] = {}

    def _of(self, value: Any) -> Any:
        return self._same.setdefault(value, value)

    def alert(self, alert: Alert) -> None:
        for name in _OF_ALERTS:
            value = getattr(alert, name)
            if value:
                setattr(alert, name, self._of(value))

    def situation(self, situation: Situation, alerts: Mapping[str, Alert]) -> None:
        members = {}
        for fingerprint, member in situation.members.items():
            members[_fingerprint(fingerprint, alerts)] = member
            if member.link is not None:
                self._link(member.link, alerts)
        situation.members = members

    def _link(self, link: Link, alerts: Mapping[str, Alert]) -> None:
        """Not changed: equal values take the place of equal values."""
        force_setattr(link, "alert", _fingerprint(link.alert, alerts))
        force_setattr(link, "other", _fingerprint(link.other, alerts))
        force_setattr(link, "rule", self._of(link.rule))
        force_setattr(link, "via", self._of(link.via))
        force_setattr(link, "path", self._of(tuple([self._of(ci) for ci in link.path])))


def _fingerprint(fingerprint: str, alerts: Mapping[str, Alert]) -> str:
    alert = alerts.get(fingerprint)
    return fingerprint if alert is None else alert.fingerprint
