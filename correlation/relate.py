"""What makes a new alert part of an open situation: the traces that situations leave on CIs, and the rules that read
them.

An alert leaves a trace on its own CI. For each CI a rule works out once which other CIs matter to it and how much; a
new alert then looks only where that set and the traces meet, however many alerts are open.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from msgspec import Struct

from correlation.settings import RelateSettings
from foreshock.core.model import Alert, Link
from foreshock.core.topology import Topology


class Trace(Struct, gc=False):
    """The latest alert that one situation has on one CI. onset_s: when it began, seconds since 1970."""

    fingerprint: str
    onset_s: float


class Candidate(Struct, frozen=True, gc=False):
    """A rule's word for one situation: the alert in it that is related, how strongly, and where the two walks meet."""

    situation: str
    other: str
    strength: float
    via: str
    rule: str


class View:
    """What rules look at.

    Args:
        threshold: the least strength anybody acts on; a rule may leave out what is weaker.
    Attributes:
        memo: a rule's own notes by (rule, CI), for what depends on nothing but topology and settings; a new view
            starts empty.
    """

    def __init__(self, traces: "Traces", topology: Topology, settings: RelateSettings, threshold: float) -> None:
        self.traces, self.topology, self.settings, self.threshold = traces, topology, settings, threshold
        self.memo: dict[tuple[str, str], Any] = {}


class Rule(Struct, frozen=True, kw_only=True):
    """Declaration of a rule kind.

    Attributes:
        kind: the file's name. version: rises when its meaning changes; links carry kind@version.
        relate: candidates among the open situations for a new alert, in any order.
        describe: the link in words, for people.
    """

    kind: str
    version: int
    relate: Callable[[Alert, View], Iterable[Candidate]]
    describe: Callable[[Link], str]

    @property
    def name(self) -> str:
        return f"{self.kind}@{self.version}"


class Traces:
    """Traces of all open situations: by CI, then by situation."""

    def __init__(self) -> None:
        self.by_ci: dict[str, dict[str, Trace]] = {}

    def on(self, ci: str) -> Mapping[str, Trace]:
        """Situation id to its trace on ``ci``."""
        return self.by_ci.get(ci, _NONE)

    def add(self, situation: str, alert: Alert) -> None:
        if alert.ci:
            self.by_ci.setdefault(alert.ci, {})[situation] = Trace(alert.fingerprint, alert.starts_at.timestamp())

    def moved(self, situation: str, alert: Alert) -> None:
        """The onset of ``alert`` is another one now."""
        trace = self.on(alert.ci).get(situation)
        if trace is not None and trace.fingerprint == alert.fingerprint:
            trace.onset_s = alert.starts_at.timestamp()

    def drop(self, situation: str, alerts: Iterable[Alert]) -> None:
        """Forget a situation; ``alerts`` are its members."""
        for alert in alerts:
            here = self.by_ci.get(alert.ci)
            if here is not None:
                here.pop(situation, None)
                if not here:
                    del self.by_ci[alert.ci]


_NONE: Mapping[str, Trace] = {}


class Nearness:
    """How much a gap between two onsets leaves of a link: 1 at once, a half at ``half_gap``, falling as the inverse
    square;
    0 beyond the window."""

    def __init__(self, onset_s: float, settings: RelateSettings) -> None:
        self._onset_s = onset_s
        self._window_s = settings.window.total_seconds()
        self._half_s = settings.half_gap.total_seconds()

    def __call__(self, other_s: float) -> float:
        gap_s = self._onset_s - other_s
        if not -self._window_s <= gap_s <= self._window_s:
            return 0.0
        ratio = gap_s / self._half_s
        return 1.0 / (1.0 + ratio * ratio)


def relate(alert: Alert, rules: Iterable[Rule], view: View) -> Iterator[Candidate]:
    """Everything the rules say, in no particular order."""
    for rule in rules:
        yield from rule.relate(alert, view)


def link(alert: Alert, candidate: Candidate, other: Alert, topology: Topology) -> Link:
    """The full reason for the one candidate that won: with the path from CI to CI."""
    up = topology.path(alert.ci, candidate.via) or (alert.ci,)
    down = topology.path(other.ci, candidate.via) or (other.ci,)
    return Link(
        alert=alert.fingerprint,
        other=candidate.other,
        strength=round(candidate.strength, 4),
        rule=candidate.rule,
        path=(*up, *reversed(down[:-1])),
        via=candidate.via,
        gap_s=round(abs((alert.starts_at - other.starts_at).total_seconds()), 3),
    )
