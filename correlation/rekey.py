"""Other identity rules: which alerts get another fingerprint, which are one from now on, and which come apart."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec
from msgspec import Struct

from correlation.group import number
from correlation.settings import FoldSettings
from correlation.variants import combine, units
from foreshock.core.model import Alert, Link, Member, Situation, SituationState


class Plan(Struct, frozen=True):
    """What becomes of alerts.

    Attributes:
        homes: (situation, its alerts that go over to another open one, that one): what is one alert from now on, or was
            one until now, is in one situation. To be carried out first.
        parts: label sets by their new fingerprint, both in order.
    """

    homes: tuple[tuple[str, tuple[str, ...], str], ...]
    parts: dict[str, list[tuple[Alert, Alert]]]


def plan(alerts: Iterable[Alert], key_of: Callable[[Alert], str], situations: Mapping[str, Situation]) -> Plan:
    """What ``key_of`` a label set means for ``alerts``; nothing is changed."""
    parts: dict[str, list[tuple[Alert, Alert]]] = {}
    for alert in sorted(alerts, key=lambda alert: (alert.first_seen, alert.fingerprint)):
        for unit in units(alert):
            parts.setdefault(key_of(unit), []).append((alert, unit))
    return Plan(tuple(_homes(parts, situations)), parts)


def _homes(
    parts: Mapping[str, Sequence[tuple[Alert, Alert]]], situations: Mapping[str, Situation]
) -> Iterable[tuple[str, tuple[str, ...], str]]:
    for component in _components(parts):
        open_in: dict[str, list[str]] = {}
        for alert in component:
            situation = situations.get(alert.situation)
            if situation is not None and situation.state is SituationState.OPEN:
                open_in.setdefault(situation.id, []).append(alert.fingerprint)
        home, *others = sorted(open_in, key=number) or [""]
        for situation_id in others:
            yield situation_id, tuple(open_in[situation_id]), home


def _components(parts: Mapping[str, Sequence[tuple[Alert, Alert]]]) -> list[list[Alert]]:
    """Alerts that share a new fingerprint, directly or through others."""
    leader: dict[str, str] = {}

    def find(fingerprint: str) -> str:
        while leader.setdefault(fingerprint, fingerprint) != fingerprint:
            leader[fingerprint] = fingerprint = leader[leader[fingerprint]]
        return fingerprint

    found: dict[str, Alert] = {}
    for group in parts.values():
        for alert, _ in group:
            found[alert.fingerprint] = alert
            leader[find(alert.fingerprint)] = find(group[0][0].fingerprint)
    members: dict[str, list[Alert]] = {}
    for fingerprint, alert in found.items():
        members.setdefault(find(fingerprint), []).append(alert)
    return [component for component in members.values() if len(component) > 1]


def carry_out(
    parts: Mapping[str, Sequence[tuple[Alert, Alert]]], situations: Mapping[str, Situation], settings: FoldSettings
) -> dict[str, Alert]:
    """The alerts by their new fingerprints; ``ci`` is to be found anew."""
    alerts: dict[str, Alert] = {}
    pieces = Counter(alert.fingerprint for _, alert in _pairs(parts))
    for key, group in parts.items():
        here = Counter(alert.fingerprint for alert, _ in group)
        first = group[0][0]
        if len(here) == 1 and len(group) == pieces[first.fingerprint]:
            alert = first  # the same label sets as before
        else:
            # An alert that comes apart brings only those of its label sets that belong here.
            brought = [alert if pieces[alert.fingerprint] == here[alert.fingerprint] else unit for alert, unit in group]
            alert = combine(list({id(one): one for one in brought}.values()), key, settings)
            alert.situation = _home([one.situation for one, _ in group], situations)
        for one in (alert, *units(alert)):
            one.fingerprint = key
        alerts[key] = alert
    return alerts


def _home(candidates: Iterable[str], situations: Mapping[str, Situation]) -> str:
    """The open one; else the latest that is still held; else the latest there was."""
    known = sorted(filter(None, candidates), key=number)
    held = [one for one in known if one in situations]
    return next((one for one in held if situations[one].state is SituationState.OPEN), (held or known or [""])[-1])


def renamed(parts: Mapping[str, Sequence[tuple[Alert, Alert]]]) -> dict[str, tuple[str, ...]]:
    """What each old fingerprint has become."""
    found: dict[str, dict[str, None]] = {}
    for key, group in parts.items():
        for alert, _ in group:
            found.setdefault(alert.fingerprint, {})[key] = None
    return {old: tuple(new) for old, new in found.items()}


def rename_members(
    situation: Situation, become: Mapping[str, tuple[str, ...]], alerts: Mapping[str, Alert], most: int
) -> list[str]:
    """Name the members of ``situation`` anew, each once, in their order. Gives those that find no room, as what came
    apart may be more than ``most``: the resolved before the active, the later before the earlier."""
    members: dict[str, Member] = {}
    for old, member in situation.members.items():
        for new in become.get(old, (old,)):
            if situation.state is not SituationState.OPEN or alerts[new].situation == situation.id:
                members.setdefault(new, _renamed(member, new, become))
    order = sorted(members, key=lambda one: one in alerts and not alerts[one].active)
    left_out = order[most:]
    for one in left_out:
        del members[one]
    situation.members = members
    return left_out


def _renamed(member: Member, new: str, become: Mapping[str, tuple[str, ...]]) -> Member:
    def now(fingerprint: str) -> str:
        return become.get(fingerprint, (fingerprint,))[0]

    link: Link | None = member.link
    if link is not None:
        other = now(link.other)
        link = None if other == new else msgspec.structs.replace(link, alert=new, other=other)
    considered = tuple(msgspec.structs.replace(each, other=now(each.other)) for each in member.considered)
    return msgspec.structs.replace(member, link=link, considered=considered)


def _pairs(parts: Mapping[str, Sequence[tuple[Alert, Alert]]]) -> Iterable[tuple[str, Alert]]:
    return ((key, alert) for key, group in parts.items() for alert, _ in group)
