"""What rules said of pairs that somebody has judged since: the input of link calibration.

Recorded input is read once more by an engine whose rules are listened to. What a rule says of a new alert and a
situation is held against what people said of that alert and the situation's members.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

import msgspec
from msgspec import Struct

from correlation.closing import NO_INCIDENT
from correlation.relate import Candidate, View
from correlation.rule import Rule, RuleKind
from foreshock.core.contracts import Collector, Record, RecordKind
from foreshock.core.model import Alert, Label, Situation
from foreshock.service.engine import Engine
from predictor.calibration import Judged

_TACIT = 0.2
"""Weight of a situation that a person took or closed and left as it was: they may not have looked at each alert."""
_SAME_OCCURRENCE = timedelta(minutes=5)
_MAX_MEMBERS = 50
_MAX_HEARD = 300_000


class Heard(Struct, frozen=True):
    """What one rule said of one alert and one situation.

    Attributes:
        alert: its fingerprint. members: those of the situation at that moment, the newest.
    """

    at_s: float
    rule: str
    strength: float
    alert: str
    members: tuple[str, ...]


Say = Callable[[Heard], tuple[bool, float] | None]
"""Whether alert and situation were one problem, and how much that is believed; None where nobody knows."""


class Listener:
    """An engine whose rules are listened to.

    Attributes:
        heard: in order; the first of them, if there are too many.
        final: the situation in which each alert ended up, and whether a person has handled that situation.
    """

    def __init__(self, collectors: Mapping[str, Collector], rules: Mapping[str, RuleKind]) -> None:
        self.heard: list[Heard] = []
        self.final: dict[str, tuple[str, bool]] = {}
        self.engine = Engine(collectors, {name: _listened(kind, self._hear) for name, kind in rules.items()})

    def _hear(self, rule: str, alert: Alert, found: Sequence[Candidate], view: View) -> None:
        strongest: dict[str, float] = {}
        for candidate in found:
            strongest[candidate.situation] = max(candidate.strength, strongest.get(candidate.situation, 0.0))
        for situation, strength in strongest.items():
            if len(self.heard) < _MAX_HEARD:
                members = tuple(self.engine.situations[situation].members)[-_MAX_MEMBERS:]
                self.heard.append(Heard(view.now.timestamp(), rule, strength, alert.fingerprint, members))

    def read(self, record: Record) -> None:
        # What was learned before must not judge itself: bare strengths are what a curve is fitted on.
        if record.kind is RecordKind.LEARNED:
            record = msgspec.structs.replace(record, body=_bare(record.body))
        for situation in self.engine.step([(record, None)]).situations.values():
            self._note(situation)

    def _note(self, situation: Situation) -> None:
        tickets = situation.tickets.values()
        handled = any(ticket.assignee or ticket.closed_by for ticket in tickets)
        # Who closed it as a duplicate or a false alarm did not let it stand as a problem of its own.
        handled = handled and not any(ticket.label in NO_INCIDENT for ticket in tickets)
        if not situation.merged_into:
            self.final.update(dict.fromkeys(situation.members, (situation.id, handled)))

    def tacitly(self, heard: Heard) -> tuple[bool, float] | None:
        """What people let stand: alerts of one situation they handled are one problem, of two they are two."""
        mine, handled = self.final.get(heard.alert, ("", False))
        theirs = [self.final[member] for member in heard.members if member in self.final]
        if not handled or not theirs or not all(one[1] for one in theirs):
            return None
        same = sum(situation == mine for situation, _ in theirs)
        return (same * 2 > len(theirs), _TACIT) if same in (0, len(theirs)) else None


def _bare(body: bytes) -> bytes:
    record: dict[str, Any] = msgspec.json.decode(body)
    record["learned"] = {**record["learned"], "curves": {}}
    return msgspec.json.encode(record)


def _listened(kind: RuleKind, hear: Callable[[str, Alert, Sequence[Candidate], View], None]) -> RuleKind:
    def build(*parts: Any) -> Rule:
        rule = kind.build(*parts)

        def relate(alert: Alert, view: View) -> Sequence[Candidate]:
            found = rule.relate(alert, view)
            if found:
                hear(rule.name, alert, found, view)
            return found

        return msgspec.structs.replace(rule, relate=relate)

    return msgspec.structs.replace(kind, build=build)


def by_labels(labels: Iterable[Label], alerts: Mapping[str, Alert]) -> Say:
    """What people said in so many words. ``alerts``: those known in the end, to tell occurrences apart."""
    said: dict[tuple[str, str], bool] = {}
    for label in labels:
        one, other = label.alert, label.other
        if other is None or label.says not in ("same", "apart"):
            continue
        if all(_is_meant(alerts.get(who.fingerprint), who.onset) for who in (one, other)):
            said[one.fingerprint, other.fingerprint] = said[other.fingerprint, one.fingerprint] = label.says == "same"

    def say(heard: Heard) -> tuple[bool, float] | None:
        found = {said[heard.alert, member] for member in heard.members if (heard.alert, member) in said}
        return (found.pop(), 1.0) if len(found) == 1 else None

    return say


def _is_meant(alert: Alert | None, onset: Any) -> bool:
    """An alert that has begun anew since is another occurrence; one that is forgotten had no other."""
    return alert is None or abs(alert.starts_at - onset) <= _SAME_OCCURRENCE


def judged(heard: Iterable[Heard], *sources: Say) -> Iterator[Judged]:
    """What was heard with the answer of the first source that has one."""
    for one in heard:
        answer = next((found for say in sources if (found := say(one)) is not None), None)
        if answer is not None:
            yield Judged(at_s=one.at_s, rule=one.rule, strength=one.strength, same=answer[0], weight=answer[1])
