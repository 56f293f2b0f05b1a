"""What the topology hardly knows belongs to the situation that grows at the very moment at which it begins.

No topology is complete: some hosts stand in it alone, some names it does not know. When such a thing is in trouble,
time is the only evidence there is, and it is weighed against chance. Of the alerts of a problem a few (``unknown``) lie
where the topology knows no way to the others; and problems of their own begin at such a moment, too:

    strength = unknown x n / (unknown x m + c)

``n`` alerts of the situation and ``m`` of all situations began within a second or two of this one; ``c`` is the number
of situations per moment at which anything began lately. So where much goes on at once, or where all sources report by
the minute, the rule says little; and it says nothing of a CI with relationships, but those to a hub (a core switch).
"""

from datetime import timedelta
from functools import partial

from pydantic import Field

from correlation.budget import PAIR
from correlation.nearby import Began, Nearby, nearest
from correlation.relate import Candidate, View, apart
from correlation.rule import Rule, RuleConfig, RuleKind
from foreshock.core.model import Alert, Link
from foreshock.core.quantities import Duration, parse_duration

_MAX_SITUATIONS = 64  # that something began in at one moment: more, and the moment tells nothing


class SimultaneityConfig(RuleConfig):
    unknown: float = Field(
        default=0.05,
        gt=0,
        le=1,
        description="share of a problem's alerts that lie where the topology knows no way to the others",
    )
    window: Duration = Field(
        default=parse_duration("5m"),
        ge=timedelta(minutes=1),
        le=timedelta(hours=1),
        description="how many situations something begins in is counted over twice this time",
    )


class _Moments(Nearby[int]):
    """Alerts of open situations that began lately, by second."""

    def key_of(self, alert: Alert) -> int:
        return _second(alert)


def _second(alert: Alert) -> int:
    return int(alert.starts_at.timestamp() // 1)


def _build(tag: str, config: SimultaneityConfig) -> Rule:
    moments = _Moments(config.window.total_seconds())
    return Rule(tag=tag, relate=partial(_relate, tag, config, moments), describe=_describe, index=moments)


def _relate(tag: str, config: SimultaneityConfig, moments: _Moments, alert: Alert, view: View) -> list[Candidate]:
    if not _stands_alone(alert, view):
        return []
    moments.forget_before(view.now)
    began = _at_that_moment(alert, moments)
    view.spend(tag, PAIR * len(began))
    if not began or len(began) > _MAX_SITUATIONS:
        return []
    chance = (len(moments.by_situation) + 1) / (len(moments.by_key) + 1)
    of_all = sum(len(those) for rows in began.values() for those in rows)
    candidates = []
    for situation, rows in began.items():
        alerts = sum(len(those) for those in rows)
        strength = config.unknown * alerts / (config.unknown * of_all + chance)
        if strength >= view.threshold:
            candidates.append(
                Candidate(situation, _nearest(alert, rows), strength, "", tag, evidence=f"{alerts} of {of_all}")
            )
    return candidates


def _stands_alone(alert: Alert, view: View) -> bool:
    """Whether the topology says no more of its CIs than which hub each stands behind, if that."""
    for ci in (alert.ci, *alert.peers):
        near = view.surroundings(ci).cis if ci else ()
        if len(near) > 2 or any(there != ci and not _is_hub(there, view) for there in near):
            return False
    return True


def _is_hub(ci: str, view: View) -> bool:
    """Whether ``ci``, in surroundings of two, has more neighbours: so many that none of them is near."""
    topology = view.topology
    return len({*topology.steps_up(ci), *topology.steps_down(ci)}) > 1


def _at_that_moment(alert: Alert, moments: _Moments) -> dict[str, list[list[Began]]]:
    """Alerts that began in the same second as ``alert``, or in the one before or after, by situation."""
    found: dict[str, list[list[Began]]] = {}
    second = _second(alert)
    for near in (second - 1, second, second + 1):
        for situation, those in moments.by_key.get(near, {}).items():
            found.setdefault(situation, []).append(those)
    return found


def _nearest(alert: Alert, rows: list[list[Began]]) -> str:
    onset_s = alert.starts_at.timestamp()
    return min(nearest(those, onset_s, 1)[0] for those in rows)[1]


def _describe(link: Link) -> str:
    return (
        f"{link.evidence} alerts that began at that moment are there, and the topology hardly knows it, {apart(link)}"
    )


RULE = RuleKind(
    kind="simultaneity",
    version=1,
    title="What the topology hardly knows belongs where much begins at the same moment",
    config=SimultaneityConfig,
    build=_build,
)
