"""What makes a new alert part of an open situation: the traces that situations leave on CIs, and the rules that read
them.

An alert leaves a trace on its own CI. For each CI a rule works out once which other CIs matter to it and how much; a
new alert then looks only where that set and the traces meet, however many alerts are open.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct

from correlation.budget import PAIR
from correlation.rule import Rule
from correlation.settings import RelateSettings
from foreshock.core.model import Alert, Link
from foreshock.core.topology import Topology


class Trace(Struct, gc=False):
    """The latest alert that one situation has on one CI. onset_s: when it began, seconds since 1970."""

    fingerprint: str
    onset_s: float


class Candidate(Struct, frozen=True, gc=False):
    """A rule's word for one situation: the alert in it that is related, how strongly, and where the two walks meet.

    Attributes:
        via: that CI; empty where the rule's evidence is no path.
        explains: the new alert may be what the other one suffers from, so it can show two situations to be one.
        evidence: what the rule saw, in words, where the path does not say it.
    """

    situation: str
    other: str
    strength: float
    via: str
    rule: str
    explains: bool = False
    evidence: str = ""


class View:
    """What rules look at.

    Args:
        threshold: the least strength anybody acts on; a rule leaves out what is weaker.
    Attributes:
        memo: a rule's own notes by (rule, CI), for what depends on nothing but topology and settings; a new view
            starts empty.
        alerts: all that are known, by fingerprint.
        now: on the records' clock.
        spent: steps each rule took for the alert at hand, by tag (see ``correlation.budget``).
    """

    def __init__(
        self,
        traces: "Traces",
        topology: Topology,
        settings: RelateSettings,
        threshold: float,
        alerts: Mapping[str, Alert] | None = None,
    ) -> None:
        self.traces, self.topology, self.settings, self.threshold = traces, topology, settings, threshold
        self.alerts: Mapping[str, Alert] = {} if alerts is None else alerts
        self.now = datetime.fromtimestamp(0, UTC)
        self.spent: dict[str, int] = {}
        self._window_s = settings.window.total_seconds()
        self._half_s = settings.half_gap.total_seconds()
        self.memo: dict[tuple[str, str], Any] = {}

    def spend(self, rule: str, steps: int) -> None:
        self.spent[rule] = self.spent.get(rule, 0) + steps

    def related(
        self, alert: Alert, ci: str, factor: float, via: str, rule: str, *, explains: bool, into: list[Candidate]
    ) -> None:
        """Add a candidate for each situation with a trace on ``ci``, as strong as ``factor`` and the gap between the
        onsets make it: a gap of ``half_gap`` leaves a half, falling as the inverse square; beyond ``window`` none."""
        onset_s = alert.starts_at.timestamp()
        traces = self.traces.by_ci[ci]
        self.spend(rule, PAIR * len(traces))
        for situation, trace in traces.items():
            gap_s = onset_s - trace.onset_s
            if -self._window_s <= gap_s <= self._window_s:
                ratio = gap_s / self._half_s
                strength = factor / (1.0 + ratio * ratio)
                if strength >= self.threshold:
                    into.append(Candidate(situation, trace.fingerprint, strength, via, rule, explains))


class Traces:
    """Traces of all open situations: by CI, then by situation."""

    def __init__(self) -> None:
        self.by_ci: dict[str, dict[str, Trace]] = {}

    def add(self, situation: str, alert: Alert) -> None:
        if alert.ci:
            self.by_ci.setdefault(alert.ci, {})[situation] = Trace(alert.fingerprint, alert.starts_at.timestamp())

    def moved(self, situation: str, alert: Alert) -> None:
        """The onset of ``alert`` is another one now."""
        trace = self.by_ci.get(alert.ci, _NONE).get(situation)
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


def relate(alert: Alert, rules: Iterable[Rule], view: View) -> list[Candidate]:
    """Everything the rules say, in no particular order."""
    found: list[Candidate] = []
    for rule in rules:
        found += rule.relate(alert, view)
    return found


def link(alert: Alert, candidate: Candidate, other: Alert, topology: Topology) -> Link:
    """The full reason for the one candidate that won: with the path from CI to CI, if it is one."""
    up = topology.path(alert.ci, candidate.via) or (alert.ci,)
    down = topology.path(other.ci, candidate.via) or (other.ci,)
    return Link(
        alert=alert.fingerprint,
        other=candidate.other,
        strength=round(candidate.strength, 4),
        rule=candidate.rule,
        path=(*up, *reversed(down[:-1])) if candidate.via else (),
        via=candidate.via,
        evidence=candidate.evidence,
        gap_s=round(abs((alert.starts_at - other.starts_at).total_seconds()), 3),
    )
