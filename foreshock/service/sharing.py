"""Equal values are one value in memory: a running engine has one string for a CI, a fingerprint or a moment, however
many alerts name it, and decoding makes one for each. Reasons are made anew for each alert, and are mostly the same."""

import sys
from collections.abc import Mapping
from typing import Any

from msgspec.structs import force_setattr

from foreshock.core.model import Alert, Cause, Member, Situation

_OF_ALERTS = (
    "source", "starts_at", "first_seen", "last_seen", "dated", "ends_at", "last_end", "expires_at", "ci", "bound_by",
    "situation", "url", "origin",
)  # fmt: skip
_OF_LINKS = ("rule", "via", "path", "strength", "gap_s")
_OF_CONSIDERED = ("situation", "rule", "why", "strength")


class Sharing:
    """Replaces values by equal ones it has seen before. All times it gets are UTC.

    Args:
        most: values to remember; beyond it the memory begins anew.
    """

    def __init__(self, most: int = sys.maxsize) -> None:
        self._most = most
        self._same: dict[Any, Any] = {}

    def _of(self, value: Any) -> Any:
        same = self._same
        if len(same) >= self._most:
            same.clear()
        return same.setdefault(value, value)

    def alert(self, alert: Alert) -> None:
        for name in _OF_ALERTS:
            value = getattr(alert, name)
            if value:
                setattr(alert, name, self._of(value))

    def situation(self, situation: Situation, alerts: Mapping[str, Alert]) -> None:
        members = {}
        for fingerprint, member in situation.members.items():
            members[_fingerprint(fingerprint, alerts)] = member
            if (link := member.link) is not None:
                force_setattr(link, "alert", _fingerprint(link.alert, alerts))
                force_setattr(link, "other", _fingerprint(link.other, alerts))
                force_setattr(link, "path", tuple([self._of(ci) for ci in link.path]))
            for each in member.considered:
                force_setattr(each, "other", _fingerprint(each.other, alerts))
            self.reasons(member)
        situation.members, situation.causes = members, self.causes(situation.causes)

    def reasons(self, member: Member) -> Member:
        """Not changed: equal values take the place of equal values."""
        if (link := member.link) is not None:
            for name in _OF_LINKS:
                force_setattr(link, name, self._of(getattr(link, name)))
        for each in member.considered:
            for name in _OF_CONSIDERED:
                force_setattr(each, name, self._of(getattr(each, name)))
        return member

    def causes(self, causes: tuple[Cause, ...]) -> tuple[Cause, ...]:
        """The same; what speaks for them is mostly what speaks for others, too."""
        for cause in causes:
            force_setattr(cause, "contributions", self._of(tuple([self._of(part) for part in cause.contributions])))
        return causes


def _fingerprint(fingerprint: str, alerts: Mapping[str, Alert]) -> str:
    alert = alerts.get(fingerprint)
    return fingerprint if alert is None else alert.fingerprint
