"""What begins soon after a change, on CIs that depend on what was changed, is one problem.

The change may have touched many CIs, as a rollout does, and none of them needs an alert of its own. A link is as strong
as both alerts are due to the change: less with each further step away from it, and less the later they began.
"""

from datetime import timedelta
from functools import partial

from pydantic import Field

from correlation.budget import PAIR
from correlation.relate import Candidate, View, apart
from correlation.rule import Rule, RuleConfig, RuleKind
from foreshock.core.model import Alert, Change, Link
from foreshock.core.quantities import Duration, parse_duration


class ChangeConfig(RuleConfig):
    window: Duration = Field(
        default=parse_duration("30m"),
        ge=timedelta(seconds=1),
        le=timedelta(hours=6),
        description="what begins later than this after a change is not due to it",
    )
    strength: float = Field(
        default=0.6,
        gt=0,
        le=1,
        description="probability that two alerts are the same problem which begin right after a change of what both "
        "depend on directly",
    )
    open: int = Field(
        default=64, ge=1, le=512, description="of open situations below a changed CI, the newest are looked at"
    )


def _build(tag: str, config: ChangeConfig) -> Rule:
    return Rule(tag=tag, relate=partial(_relate, tag, config), describe=_describe)


def _relate(tag: str, config: ChangeConfig, alert: Alert, view: View) -> list[Candidate]:
    if not view.changes.by_ci or not alert.ci:
        return []
    found: dict[str, Candidate] = {}
    for ci, change in view.changes.of(view.topology.upstream(alert.ci)):
        due = _due(view, config, change, alert.ci, ci, alert.starts_at.timestamp())
        for below in change.cis if due >= view.threshold else ():
            begun = _begun(below, config.open, view)
            view.spend(tag, PAIR * (1 + len(begun)))
            for situation, other, there, onset_s in begun:
                strength = config.strength * due * _due(view, config, change, there, below, onset_s)
                known = found.get(situation)
                if strength >= view.threshold and (known is None or strength > known.strength):
                    evidence = _words(change, alert.ci, ci, there, below)
                    found[situation] = Candidate(situation, other, strength, "", tag, evidence=evidence, there=there)
    return list(found.values())


def _begun(ci: str, most: int, view: View) -> list[tuple[str, str, str, float]]:
    """Situations that are on ``ci``, or began on what depends on it: id, alert, its CI, its onset."""
    begun = [(situation, trace.fingerprint, ci, trace.onset_s) for situation, trace in view.traces.on(ci).items()]
    for situation in view.traces.below.newest(ci, most):
        footprint = view.traces.of[situation]
        there = footprint.situation.first_ci
        trace = footprint.cis.get(there)
        if trace is not None:
            begun.append((situation, trace.fingerprint, there, trace.onset_s))
    return begun


def _due(view: View, config: ChangeConfig, change: Change, ci: str, changed: str, onset_s: float) -> float:
    """How surely what began on ``ci`` is due to the change of ``changed``, which it depends on."""
    late = (onset_s - change.at.timestamp()) / config.window.total_seconds()
    hop = view.topology.upstream(ci).get(changed)
    if hop is None or not 0.0 <= late <= 1.0:
        return 0.0
    away: float = view.settings.step ** max(0.0, hop.cost - 1.0)
    return (1.0 - late) * away


def _words(change: Change, here: str, changed: str, there: str, changed_too: str) -> str:
    what = change.title or change.id
    if changed != changed_too:
        return f"{what} changed {_of(here, changed)} and {_of(there, changed_too)}"
    if here == changed or there == changed:
        return f"{what} changed {changed}, on which {there if here == changed else here} depends"
    return f"both depend on {changed}, which {what} changed"


def _of(ci: str, changed: str) -> str:
    return ci if ci == changed else f"{changed}, on which {ci} depends,"


def _describe(link: Link) -> str:
    return f"{link.evidence}, {apart(link)}"


RULE = RuleKind(
    kind="change",
    version=1,
    title="What begins soon after a change, below it, is one problem",
    config=ChangeConfig,
    build=_build,
)
