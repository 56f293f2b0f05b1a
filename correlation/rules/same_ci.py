"""Two alerts on the same CI are one problem if they began close in time."""

from collections.abc import Iterator

from correlation.relate import Candidate, Rule, Traces, nearness
from correlation.settings import RelateSettings
from foreshock.core.model import Alert, Link
from foreshock.core.topology import Topology


def _relate(alert: Alert, traces: Traces, topology: Topology, settings: RelateSettings) -> Iterator[Candidate]:
    for situation, trace in traces.at(alert.ci).items():
        if trace.cost == 0.0:
            gap_s = abs((alert.starts_at - trace.onset).total_seconds())
            if strength := nearness(gap_s, settings):
                yield Candidate(situation, trace.fingerprint, strength, alert.ci, gap_s, RULE.name)


def _describe(link: Link) -> str:
    return f"also on {link.path[0]}, {_gap(link.gap_s)}"


def _gap(gap_s: float) -> str:
    return "at the same moment" if gap_s < 1 else f"{gap_s:.0f} s apart"


RULE = Rule(kind="same_ci", version=1, relate=_relate, describe=_describe)
