"""What makes a new alert part of an open situation: the traces that situations leave on CIs, and the rules that read them.

An alert leaves a trace on its own CI (cost 0) and on each CI it depends on (cost of the walk). A new alert then needs to
look only at its own CI and at what it depends on, a handful of CIs, however many alerts are open.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime

from msgspec import Struct

from correlation.settings import RelateSettings
from foreshock.core.model import Alert, Link
from foreshock.core.topology import Topology


class Trace(Struct, gc=False):
    """What one situation has left on one CI: its nearest alert there, the latest of equals.

    Attributes:
        cost: of the walk from the alert's CI to this one; 0 means an alert on this very CI.
        onset: of that alert. count: members whose CI is this one or depends on it.
    """

    fingerprint: str
    cost: float
    onset: datetime
    count: int


class Candidate(Struct, frozen=True, gc=False):
    """A rule's word for one situation: the alert in it that is related, how strongly, and where the two walks meet."""

    situation: str
    other: str
    strength: float
    via: str
    gap_s: float
    rule: str


class Rule(Struct, frozen=True, kw_only=True):
    """Declaration of a rule kind.

    Attributes:
        kind: the file's name. version: rises when its meaning changes; links carry kind@version.
        relate: candidates among the open situations for a new alert.
        describe: the link in words, for people.
    """

    kind: str
    version: int
    relate: Callable[[Alert, "Traces", Topology, RelateSettings], Iterable[Candidate]]
    describe: Callable[[Link], str]

    @property
    def name(self) -> str:
        return f"{self.kind}@{self.version}"


class Traces:
    """Traces of all open situations, by CI."""

    def __init__(self) -> None:
        self._at: dict[str, dict[str, Trace]] = {}

    def at(self, ci: str) -> Mapping[str, Trace]:
        """Situation id to its trace on ``ci``."""
        return self._at.get(ci, _NONE)

    def add(self, situation: str, alert: Alert, topology: Topology) -> None:
        if not alert.ci:
            return
        for ci, hop in topology.upstream(alert.ci).items():
            here = self._at.get(ci)
            if here is None:
                here = self._at[ci] = {}
            trace = here.get(situation)
            if trace is None:
                here[situation] = Trace(alert.fingerprint, hop.cost, alert.starts_at, 1)
            else:
                trace.count += 1
                if hop.cost <= trace.cost:
                    trace.fingerprint, trace.cost, trace.onset = alert.fingerprint, hop.cost, alert.starts_at

    def drop(self, situation: str, alerts: Iterable[Alert], topology: Topology) -> None:
        """Forget a situation; ``alerts`` are its members."""
        for ci in {ci for alert in alerts if alert.ci for ci in topology.upstream(alert.ci)}:
            here = self._at.get(ci)
            if here is not None:
                here.pop(situation, None)
                if not here:
                    del self._at[ci]


_NONE: Mapping[str, Trace] = {}


def nearness(gap_s: float, settings: RelateSettings) -> float:
    """How much a gap between two onsets leaves of a link: 1 at once, a half at ``half_gap``, falling as the inverse square;
    0 beyond the window."""
    if gap_s > settings.window.total_seconds():
        return 0.0
    ratio = gap_s / settings.half_gap.total_seconds()
    return 1.0 / (1.0 + ratio * ratio)


def relate(
    alert: Alert, rules: Iterable[Rule], traces: Traces, topology: Topology, settings: RelateSettings
) -> Iterator[Candidate]:
    """Everything the rules say, in no particular order."""
    for rule in rules:
        yield from rule.relate(alert, traces, topology, settings)


def link(alert: Alert, candidate: Candidate, other_ci: str, topology: Topology) -> Link:
    """The full reason for the one candidate that won: with the path from CI to CI."""
    up = topology.path(alert.ci, candidate.via) or (alert.ci,)
    down = topology.path(other_ci, candidate.via) or (other_ci,)
    return Link(
        alert=alert.fingerprint,
        other=candidate.other,
        strength=round(candidate.strength, 4),
        rule=candidate.rule,
        path=(*up, *reversed(down[:-1])) if candidate.via else up,
        via=candidate.via,
        gap_s=round(candidate.gap_s, 3),
    )
