"""Failures spread along relationships: an alert joins the situation of what it depends on, of what depends on it, or of
something that depends on the same CI.

The walk goes only the way failures spread (``core.topology.DIRECTIONS``). A CI that many depend on is weak evidence by
itself: two CIs behind one core switch have little to do with each other while the switch is silent, so such links are
damped by the number of its dependents.
"""

from functools import partial

from pydantic import Field

from correlation.relate import Candidate, View
from correlation.rule import Rule, RuleConfig, RuleKind
from foreshock.core.model import Alert, Link

_MAX_MEMO = 20_000  # CIs whose surroundings are remembered; beyond it they are worked out again


class TopologyConfig(RuleConfig):
    step: float = Field(
        default=0.5, gt=0, le=1, description="each unit of cost multiplies the strength of a link by this"
    )
    common_cause: float = Field(
        default=0.65, ge=0, le=1, description="strength of two alerts that only share something both depend on"
    )
    hub: int = Field(
        default=6,
        ge=1,
        description="a shared CI with this many direct dependents halves the strength of a common-cause link",
    )


def _build(tag: str, config: TopologyConfig) -> Rule:
    return Rule(tag=tag, relate=partial(_relate, tag, config), describe=_describe)


def _relate(tag: str, config: TopologyConfig, alert: Alert, view: View) -> list[Candidate]:
    if not alert.ci:
        return []
    related = view.memo.get((tag, alert.ci))
    if related is None:
        if len(view.memo) >= _MAX_MEMO:
            view.memo.clear()
        related = view.memo[tag, alert.ci] = _related(alert.ci, config, view)
    found: list[Candidate] = []
    by_ci = view.traces.by_ci
    for ci, (factor, via) in zip(*related, strict=True):
        if ci in by_ci:
            view.related(alert, ci, factor, via, tag, explains=via == alert.ci, into=found)
    return found


def _related(ci: str, config: TopologyConfig, view: View) -> tuple[tuple[str, ...], tuple[tuple[float, str], ...]]:
    """Other CIs that matter to an alert on ``ci``: how strongly at best, and through which CI; what is weaker than the
    threshold is left out. The strongest way counts, the nearer meeting point among equals.

    Two tuples side by side: each CI that ever had an alert has such a pair, and a dictionary takes four times the room.
    """
    topology = view.topology
    found: dict[str, tuple[float, str]] = {}
    same: dict[tuple[float, str], tuple[float, str]] = {}  # few different pairs serve many CIs

    def note(other: str, factor: float, via: str) -> None:
        if other != ci and factor >= view.threshold and factor > found.get(other, (0.0, ""))[0]:
            found[other] = same.setdefault((factor, via), (factor, via))

    for dependent, hop in topology.downstream(ci).items():
        note(dependent, config.step ** (hop.cost - 1.0), ci)
    for needed, hop in topology.walk_up(ci).items():
        note(needed, config.step ** (hop.cost - 1.0), needed)
        shared = config.common_cause * config.hub / (config.hub + topology.dependents(needed))
        if needed == ci or shared * config.step ** (hop.cost - 1.0) < view.threshold:
            continue
        for other, down in topology.downstream(needed).items():
            if other != needed:
                note(other, shared * config.step ** (max(hop.cost, down.cost) - 1.0), needed)
    return tuple(found), tuple(found.values())


def _describe(link: Link) -> str:
    here, there = link.path[0], link.path[-1]
    gap = "at the same moment" if link.gap_s < 1 else f"{link.gap_s:.0f} s apart"
    if link.via == there:
        return f"{here} depends on {there}, which also failed, {gap}"
    if link.via == here:
        return f"{there} depends on {here} and also failed, {gap}"
    return f"{here} and {there} both depend on {link.via}, {gap}"


RULE = RuleKind(
    kind="topology",
    version=1,
    title="Failures spread along relationships",
    config=TopologyConfig,
    build=_build,
)
