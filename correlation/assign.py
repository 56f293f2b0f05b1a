"""Which group gets the ticket, and why: that of what is likeliest to be the cause.

CI by CI, the likeliest cause first, until one names a group: its owner; else the owner of the nearest thing that
depends on it, its application or service; else the first rule of the settings that fits it or its alerts. Where none
does, the default.
"""

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from itertools import islice

from msgspec import Struct

from correlation.settings import AssignmentRule, AssignmentSettings, read_matchers
from foreshock.core.matchers import matches_all
from foreshock.core.model import Alert
from foreshock.core.topology import Topology

_MAX_DEPENDENTS = 200  # looked at for an owner, the nearest first
_MAX_ALERTS = 50  # of which labels are read for a rule


class Assigned(Struct, frozen=True):
    """reason: in words. group: empty where nobody is known."""

    group: str
    reason: str


def assigned(
    causes: Sequence[str],
    members: Sequence[Alert],
    topology: Topology,
    settings: AssignmentSettings,
    common: str = "",
) -> Assigned:
    """causes: ids of CIs, the likeliest first. common: the CI that all has in common, where it is an umbrella."""
    ids = list(dict.fromkeys(filter(None, (common, *causes))))
    unowned: list[str] = []
    for id in ids:
        role = _COMMON if id == common else _ROLES.get(causes.index(id), "another candidate")
        for group, why in _of_ci(id, members, topology, settings):
            instead = f"; nobody is known for {', '.join(unowned[:3])}" if unowned else ""
            return Assigned(group, f"{why} {id}, {role}{instead}")
        unowned.append(id)
    for rule in settings.rules if not ids else ():
        if not rule.ci and not rule.kind and not rule.environment and _labels_fit(rule, members, ""):
            return Assigned(rule.group, f"rule {rule.name} fits the labels of its alerts")
    whose = f"nobody is known for {', '.join(unowned[:3])}" if unowned else "no CI is known to be the cause"
    return Assigned(settings.default, f"{whose}: the default group" if settings.default else whose)


_COMMON = "which all of it has in common"
_ROLES = {0: "the likeliest cause", 1: "the second candidate", 2: "the third candidate"}


def _of_ci(
    id: str, members: Sequence[Alert], topology: Topology, settings: AssignmentSettings
) -> Iterator[tuple[str, str]]:
    """(group, why: it goes before the name of the CI), the best first."""
    ci = topology.cis.get(id)
    if ci is not None and ci.owner:
        yield ci.owner, "owner of"
    if ci is not None and (found := _dependent_with_owner(id, topology)) is not None:
        yield topology.cis[found].owner, f"owner of {topology.cis[found].name or found}, which depends on"
    for rule in settings.rules:
        if _fits(rule, id, topology) and _labels_fit(rule, members, id):
            yield rule.group, f"rule {rule.name} fits"


def _dependent_with_owner(id: str, topology: Topology) -> str | None:
    """The nearest, or else the most critical business service that has one."""
    near = islice(topology.walk_down(id), 1, _MAX_DEPENDENTS)
    owned = (one for one in (*near, *topology.services(id)) if one in topology.cis and topology.cis[one].owner)
    return next(owned, None)


def _fits(rule: AssignmentRule, id: str, topology: Topology) -> bool:
    ci = topology.cis.get(id)
    names = {id.lower()} if ci is None else {id.lower(), ci.name.lower()}
    return (
        (not rule.ci or any(fnmatchcase(name, rule.ci.lower()) for name in names))
        and (not rule.kind or (ci is not None and ci.kind == rule.kind))
        and (not rule.environment or (ci is not None and ci.environment == rule.environment))
    )


def _labels_fit(rule: AssignmentRule, members: Sequence[Alert], id: str) -> bool:
    """Whether an alert on the CI, or any where it has none, has labels that fit."""
    if not rule.matchers:
        return True
    matchers = read_matchers(rule.matchers)
    on_it = [alert for alert in members if alert.ci == id] or members
    return any(matches_all(matchers, alert.read_labels()) for alert in on_it[:_MAX_ALERTS])
