"""Failures spread along relationships: an alert joins the situation of what it depends on, of what depends on it, or of
something that depends on the same CI.

The walk goes only the way failures spread (``core.topology.DIRECTIONS``). A CI that many depend on is weak evidence by
itself: two CIs behind one core switch have little to do with each other while the switch is silent, so such links are
damped by the number of its dependents.
"""

from collections.abc import Iterator

from correlation.relate import Candidate, Rule, Traces, nearness
from correlation.settings import RelateSettings
from foreshock.core.model import Alert, Link
from foreshock.core.topology import Topology


def _relate(alert: Alert, traces: Traces, topology: Topology, settings: RelateSettings) -> Iterator[Candidate]:
    onset = alert.starts_at
    for ci, hop in topology.upstream(alert.ci).items():
        for situation, trace in traces.at(ci).items():
            cost = hop.cost + trace.cost
            if cost == 0.0:
                continue  # the same CI: not ours
            gap_s = abs((onset - trace.onset).total_seconds())
            strength = nearness(gap_s, settings) * settings.step ** (cost - 1.0)
            if hop.cost and trace.cost:
                strength *= settings.common_cause * settings.hub / (settings.hub + topology.dependents(ci))
            if strength > 0.0:
                yield Candidate(situation, trace.fingerprint, strength, ci, gap_s, RULE.name)


def _describe(link: Link) -> str:
    here, there = link.path[0], link.path[-1]
    gap = "at the same moment" if link.gap_s < 1 else f"{link.gap_s:.0f} s apart"
    if link.via == there:
        return f"{here} depends on {there}, which also failed, {gap}"
    if link.via == here:
        return f"{there} depends on {here} and also failed, {gap}"
    return f"{here} and {there} both depend on {link.via}, {gap}"


RULE = Rule(kind="topology", version=1, relate=_relate, describe=_describe)
