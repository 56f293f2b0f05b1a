"""What began together before is one problem again: pairs of alerts, of CIs and of classes that history has shown to
meet more often than chance explains (``predictor/cooccurrence.py``).

Without a table, as before the first training, the rule says nothing and remembers nothing.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct
from pydantic import Field

from correlation.budget import PAIR
from correlation.relate import Candidate, View
from correlation.rule import Rule, RuleConfig, RuleKind
from foreshock.core.learned import CoOccurrence, Learned, Side, Standing, around, class_of, mirrored, stem
from foreshock.core.model import Alert, Link

_FAR = 3.0
"""Beyond so many windows outside the usual lag a pair says nothing."""
_MAX_MEMO = 20_000  # CIs whose surroundings are remembered


class CoOccurrenceConfig(RuleConfig):
    partners: int = Field(
        default=32, ge=1, le=1000, description="an alert is compared with at most so many learned partners of a level"
    )
    open: int = Field(
        default=16, ge=1, le=1000, description="of open alerts that a partner stands for, at most so many, the nearest"
    )


class _Partner(Struct, frozen=True, gc=False):
    """One end of a pair as seen from the other. sign: 1 where the lag of the pair is that of this end."""

    side: Side
    pair: CoOccurrence
    sign: float


class _Table:
    """The learned pairs by what an alert is looked up with, the strongest partners first."""

    def __init__(self, pairs: Iterable[CoOccurrence], partners: int) -> None:
        self.by_alert: dict[tuple[str, str], list[_Partner]] = {}
        self.by_ci: dict[str, list[_Partner]] = {}
        self.by_class: dict[str, list[_Partner]] = {}
        self.alike: dict[tuple[str, str], list[_Partner]] = {}
        self.by_type: dict[tuple[str, str], dict[tuple[str, str, Standing], _Partner]] = {}
        self.names: set[str] = set()
        for pair in pairs:
            self._note(pair.a, _Partner(pair.b, pair, 1.0), pair.standing, partners)
            if pair.a != pair.b or pair.standing not in (Standing.SAME, Standing.SHARES, Standing.ALIKE):
                standing = None if pair.standing is None else mirrored(pair.standing)
                self._note(pair.b, _Partner(pair.a, pair, -1.0), standing, partners)

    def _note(self, side: Side, partner: _Partner, standing: Standing | None, most: int) -> None:
        known: list[_Partner]
        if standing is None:
            known = (
                self.by_alert.setdefault((side.name, side.ci), []) if side.name else self.by_ci.setdefault(side.ci, [])
            )
        elif standing is Standing.UNKNOWN:
            known = self.by_class.setdefault(side.name, [])
        elif standing is Standing.ALIKE:
            known = self.alike.setdefault((side.name, side.kind), [])
        else:
            self.names.update((side.name, partner.side.name))
            ways = self.by_type.setdefault((side.name, side.kind), {})
            ways.setdefault((partner.side.name, partner.side.kind, standing), partner)
            return
        if len(known) < most:
            known.append(partner)
        if side.name:
            self.names.update((side.name, partner.side.name))


class _Onset(Struct, frozen=True, order=True, gc=False):
    """An open alert, ordered by when it began."""

    at_s: float
    fingerprint: str
    situation: str
    name: str
    ci: str


class _Row:
    """Open alerts in order of their onsets."""

    def __init__(self) -> None:
        self.onsets: list[_Onset] = []

    def remove(self, onset: _Onset) -> None:
        place = bisect_left(self.onsets, onset)
        if place < len(self.onsets) and self.onsets[place] == onset:
            del self.onsets[place]

    def near(self, at_s: float, within_s: float, most: int) -> Iterator[_Onset]:
        """Those within ``within_s``, the nearest first, the later among equals."""
        onsets = self.onsets
        up = bisect_left(onsets, at_s, key=lambda onset: onset.at_s)
        down = up - 1
        for _ in range(most):
            later = onsets[up].at_s - at_s if up < len(onsets) else within_s + 1.0
            earlier = at_s - onsets[down].at_s if down >= 0 else within_s + 1.0
            if min(later, earlier) > within_s:
                return
            if later <= earlier:
                yield onsets[up]
                up += 1
            else:
                yield onsets[down]
                down -= 1


class _Open:
    """The open alerts that a learned pair may name, by CI and class, and by class."""

    def __init__(self, names: set[str]) -> None:
        self._names = names
        self._known: dict[str, _Onset] = {}
        self.on_ci: dict[str, dict[str, _Row]] = {}
        self.of_class: dict[str, _Row] = {}

    def add(self, situation: str, alert: Alert) -> None:
        if not self._names:
            return
        name = class_of(alert.read_labels())
        if name in self._names:
            self._forget(alert.fingerprint)
            onset = _Onset(alert.starts_at.timestamp(), alert.fingerprint, situation, name, alert.ci)
            self._known[alert.fingerprint] = onset
            insort(self.of_class.setdefault(name, _Row()).onsets, onset)
            if alert.ci:
                insort(self.on_ci.setdefault(alert.ci, {}).setdefault(name, _Row()).onsets, onset)

    def moved(self, situation: str, alert: Alert) -> None:
        known = self._known.get(alert.fingerprint)
        if known is not None and known.situation == situation:
            self.add(situation, alert)

    def drop(self, situation: str, alerts: Iterable[Alert]) -> None:
        for alert in alerts:
            known = self._known.get(alert.fingerprint)
            if known is not None and known.situation == situation:
                self._forget(alert.fingerprint)

    def _forget(self, fingerprint: str) -> None:
        onset = self._known.pop(fingerprint, None)
        if onset is None:
            return
        rows = [(self.of_class, self.of_class[onset.name])]
        if onset.ci:
            rows.append((self.on_ci[onset.ci], self.on_ci[onset.ci][onset.name]))
        for home, row in rows:
            row.remove(onset)
            if not row.onsets:
                del home[onset.name]
        if onset.ci and not self.on_ci[onset.ci]:
            del self.on_ci[onset.ci]


class _Meeting(Struct, frozen=True, gc=False):
    """A learned partner that is open now."""

    strength: float
    partner: _Partner
    fingerprint: str


class _CoOccurrence:
    """The rule with its table and its index."""

    def __init__(self, tag: str, config: CoOccurrenceConfig, learned: Learned) -> None:
        self.tag, self._config = tag, config
        self.table = _Table(learned.pairs, config.partners)
        self.open = _Open(self.table.names)
        self._empty = not learned.pairs

    def relate(self, alert: Alert, view: View) -> list[Candidate]:
        if self._empty:
            return []
        name, at_s = class_of(alert.read_labels()), alert.starts_at.timestamp()
        best: dict[str, _Meeting] = {}
        for situation, meeting in self._meetings(name, alert.ci, at_s, view):
            view.spend(self.tag, PAIR)
            if meeting.strength >= view.threshold:
                known = best.get(situation)
                if known is None or _order(meeting) < _order(known):
                    best[situation] = meeting
        return [
            Candidate(situation, one.fingerprint, one.strength, "", self.tag, evidence=_words(one.partner.pair))
            for situation, one in best.items()
        ]

    def _meetings(self, name: str, ci: str, at_s: float, view: View) -> Iterator[tuple[str, _Meeting]]:
        table = self.table
        if ci:
            alerts, cis = table.by_alert.get((name, ci), ()), table.by_ci.get(ci, ())
            view.spend(self.tag, PAIR * (len(alerts) + len(cis)))
            for partner in alerts:
                row = self.open.on_ci.get(partner.side.ci, _NONE).get(partner.side.name)
                if row is not None:
                    yield from self._on(row, partner, at_s)
            for partner in cis:
                for situation, trace in view.traces.by_ci.get(partner.side.ci, {}).items():
                    strength = _strength(partner, at_s, trace.onset_s)
                    yield situation, _Meeting(strength, partner, trace.fingerprint)
            yield from self._around(name, ci, at_s, view)
        yield from self._of_class(name, ci, at_s, view)

    def _on(self, row: _Row, partner: _Partner, at_s: float) -> Iterator[tuple[str, _Meeting]]:
        for onset in row.near(at_s, _reach_s(partner), self._config.open):
            yield onset.situation, _Meeting(_strength(partner, at_s, onset.at_s), partner, onset.fingerprint)

    def _around(self, name: str, ci: str, at_s: float, view: View) -> Iterator[tuple[str, _Meeting]]:
        """Open alerts on CIs that stand in some way to this one, and on CIs whose names have the same stem."""
        known = view.topology.cis.get(ci)
        kind = known.kind if known is not None else ""
        ways = self.table.by_type.get((name, kind))
        if ways is not None:
            cis = view.topology.cis
            standings = self._standings(ci, view)
            view.spend(self.tag, PAIR * len(standings))
            for other, standing in standings.items():
                for their, row in self.open.on_ci.get(other, _NONE).items():
                    there = cis.get(other)
                    partner = ways.get((their, there.kind if there is not None else "", standing))
                    if partner is not None:
                        yield from self._on(row, partner, at_s)
        mine = ""
        for partner in self.table.alike.get((name, kind), ()):
            mine = mine or stem(ci)
            row_ = self.open.of_class.get(partner.side.name, _EMPTY)
            for onset in row_.near(at_s, _reach_s(partner), self._config.open):
                if onset.ci != ci and stem(onset.ci) == mine:
                    yield onset.situation, _Meeting(_strength(partner, at_s, onset.at_s), partner, onset.fingerprint)

    def _standings(self, ci: str, view: View) -> Mapping[str, Standing]:
        found: Mapping[str, Standing] | None = view.memo.get((self.tag, ci))
        if found is None:
            if len(view.memo) >= _MAX_MEMO:
                view.memo.clear()
            found = view.memo[self.tag, ci] = around(view.topology, ci)
        return found

    def _of_class(self, name: str, ci: str, at_s: float, view: View) -> Iterator[tuple[str, _Meeting]]:
        """Where the topology does not know one of the two CIs, their classes are all there is. Several situations with
        the same partner share what it says: it can belong to only one."""
        cis = view.topology.cis
        for partner in self.table.by_class.get(name, ()):
            row = self.open.of_class.get(partner.side.name)
            if row is None:
                continue
            met: dict[str, _Onset] = {}
            for onset in row.near(at_s, _reach_s(partner), self._config.open):
                if ci not in cis or onset.ci not in cis:
                    met.setdefault(onset.situation, onset)
            for situation, onset in met.items():
                strength = _strength(partner, at_s, onset.at_s) / len(met)
                yield situation, _Meeting(strength, partner, onset.fingerprint)


_NONE: Mapping[str, _Row] = {}
_EMPTY = _Row()


def _reach_s(partner: _Partner) -> float:
    low, _, high = partner.pair.lag_s
    return max(abs(low), abs(high)) + _FAR * partner.pair.window_s


def _strength(partner: _Partner, at_s: float, other_s: float) -> float:
    """As strong as the pair while the lag is a usual one; a window beyond that leaves a half."""
    pair = partner.pair
    lag_s = abs(other_s - at_s) if pair.a == pair.b else (other_s - at_s) * partner.sign
    low, _, high = pair.lag_s
    excess = max(low - lag_s, lag_s - high, 0.0) / pair.window_s
    return pair.strength / (1.0 + excess * excess) if excess <= _FAR else 0.0


def _order(meeting: _Meeting) -> tuple[float, bool, str, str, str]:
    """The best first, what names its CIs among equals; nothing is left to the order of arrival."""
    side, standing = meeting.partner.side, meeting.partner.pair.standing
    return -meeting.strength, standing is not None, meeting.fingerprint, str(side), str(standing)


_WAYS: Mapping[Standing, str] = {
    Standing.SAME: "on one CI",
    Standing.NEEDED: "on a CI and on what it depends on",
    Standing.NEEDS: "on a CI and on what depends on it",
    Standing.SHARES: "on CIs that depend on the same",
    Standing.ALIKE: "on CIs named alike",
    Standing.UNKNOWN: "anywhere",
}


def _words(pair: CoOccurrence) -> str:
    where = f" {_WAYS[pair.standing]}" if pair.standing is not None else ""
    return (
        f"{pair.a} and {pair.b} began within {pair.window_s:g} s of each other{where} in {pair.together} of the last "
        f"{pair.times} times; chance explains {pair.expected:.1f}"
    )


def _build(tag: str, config: CoOccurrenceConfig, learned: Learned) -> Rule:
    rule = _CoOccurrence(tag, config, learned)
    return Rule(tag=tag, relate=rule.relate, describe=_describe, index=rule.open)


def _describe(link: Link) -> str:
    return link.evidence


RULE = RuleKind(
    kind="cooccurrence",
    version=1,
    title="What began together in the past more often than chance explains is one problem again",
    config=CoOccurrenceConfig,
    build=_build,
    trained=True,
)
