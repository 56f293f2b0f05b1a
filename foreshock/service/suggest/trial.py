"""Suggestions mined on the earlier part of history, each planned on the later one: all over one reading of it."""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice, product

import msgspec
from msgspec import Struct

from correlation.rule import RuleKind
from foreshock.core.contracts import Collector, Snapshot
from foreshock.core.model import Judgement, JudgementKind, Witness
from foreshock.service.plan.compare import Difference, Kind, Plan, compare
from foreshock.service.plan.outcome import Outcome
from foreshock.service.plan.run import outcomes
from foreshock.service.recorded import Input
from foreshock.service.replay import Version
from foreshock.service.suggest.recall import Recalled
from foreshock.service.suggest.suggestion import Suggestion, changed, mine
from foreshock.service.truth import Truth

_EARLIER = 2 / 3
"""Of what began in history, this share is mined; the rest tells what comes of it."""
_LEAST = 100
"""Onsets below which chance and habit cannot be told apart."""
_TRIED = 2
"""For each suggestion that is asked for, so many are tried at most: a trial is a replay."""
_ABREAST = 8
"""So many are tried over one reading: each holds all that is open."""
_FDR = 0.05
_LOST = 10
"""Tickets that one urgent incident nobody hears of outweighs."""
_AGAIN = 0.5
"""Of a ticket: one that is reopened disturbs somebody who knows of it already."""
_LATE = 0.1
"""Of a ticket: ten that people get later outweigh one that they do not get."""
_LATER_S = 60.0
_SAME = 0.0005
"""F1 that differs by less is told as the same."""
_URGENT = 1
_FOREVER = datetime.max.replace(tzinfo=UTC)
_NEAR = timedelta(minutes=5)
_MAX_PAIRS = 100


class Tried(Struct, frozen=True, kw_only=True):
    """A suggestion with what would have come of it in the later part of history.

    Attributes:
        saved: tickets opened that would not have been; negative: more. calm: the same of tickets reopened.
        right, wrong: of what people said there of what belongs together, how much it would have made right that was
            wrong, and the other way round. parted: of what it would have made right, what it keeps apart.
        lost: priority 1 incidents that nobody would have heard of.
        late: tickets that would have come a minute or more later.
    """

    suggestion: Suggestion
    plan: Plan
    saved: int
    calm: int
    right: int
    parted: int
    wrong: int
    lost: int
    late: int

    @property
    def worth(self) -> float:
        """Benefit against harm: a ticket and a correction by hand count the same, each costs somebody's attention. What
        people took apart had a ticket more in the end: that one is no harm."""
        benefit = self.saved + self.parted + _AGAIN * self.calm + self.right
        return benefit - self.wrong - _LATE * self.late - _LOST * self.lost

    @property
    def helps(self) -> bool:
        return self.worth > 0 and not self.harms

    @property
    def harms(self) -> bool:
        one, other = self.plan.before.fit, self.plan.after.fit
        fits_worse = one is not None and other is not None and other.f1 < one.f1 - _SAME
        return self.lost > 0 or self.wrong > self.right or fits_worse


class Suggested(Struct, frozen=True, kw_only=True):
    """What was found.

    Attributes:
        best: those that help, the best first. useless, harmful: how many were tried and are not among them.
        untried: candidates that were not tried, for want of rank.
        onsets: in the earlier part, of ``days``; split_at: where the later one begins, None where there is too little
            history; later_days.
    """

    best: tuple[Tried, ...] = ()
    useless: int = 0
    harmful: int = 0
    untried: int = 0
    onsets: int = 0
    split_at: datetime | None = None
    days: float = 0.0
    later_days: float = 0.0
    least: int = _LEAST


class History(Struct, frozen=True, kw_only=True):
    """What there is to read, and what to read it with.

    Attributes:
        read: begins to read it anew. topology: in place of its own. truth: what is known to belong together in it.
    """

    read: Callable[[], Iterable[Input]]
    collectors: Mapping[str, Collector]
    rules: Mapping[str, RuleKind]
    topology: Snapshot | None = None
    truth: Truth | None = None


def suggest(
    history: History, past: Recalled, kinds: Iterable[str], top: int, since: datetime | None = None
) -> Suggested:
    """Mine and try. past: all of the history. since: what came before is neither mined nor told."""
    begin = past.first_at if since is None or past.first_at is None else max(past.first_at, since)
    if begin is None or past.last_at is None:
        return Suggested()
    told = past.between(begin, past.last_at + timedelta(microseconds=1))
    split_at = _split(told)
    if split_at is None:
        return Suggested(onsets=len(told.episodes), days=told.days)
    earlier, later = told.between(begin, split_at), told.between(split_at, past.last_at + timedelta(microseconds=1))
    candidates = [one for one in mine(earlier, kinds, _FDR) if not _is_in_force(one, past)]
    chosen = candidates[: _TRIED * top]
    tried = _tried(history, chosen, past, later.judgements, split_at) if chosen else []
    helpful = sorted((one for one in tried if one.helps), key=lambda one: (-one.worth, one.suggestion.id))
    harmful = sum(one.harms for one in tried)
    return Suggested(
        best=tuple(helpful[:top]),
        useless=len(tried) - len(helpful) - harmful,
        harmful=harmful,
        untried=len(candidates) - len(chosen) + len(helpful[top:]),
        onsets=len(earlier.episodes),
        split_at=split_at,
        days=earlier.days,
        later_days=later.days,
    )


def _split(past: Recalled) -> datetime | None:
    """Where the later part begins; None where there is too little to mine."""
    onsets = sorted(one.at_s for one in past.episodes)
    if len(onsets) < _LEAST:
        return None
    return datetime.fromtimestamp(onsets[int(len(onsets) * _EARLIER)], UTC)


def _is_in_force(suggestion: Suggestion, past: Recalled) -> bool:
    """People have taken it up, perhaps after what it was mined from."""
    names = {rule.name for rule in past.rules if rule.enabled}
    return any(rule["name"] in names and rule.get("enabled", True) for rule in suggestion.patch.rules)


def _tried(
    history: History, chosen: Sequence[Suggestion], past: Recalled, said: Sequence[Judgement], split_at: datetime
) -> list[Tried]:
    before = Version(settings=past.settings, rules=past.rules, topology=history.topology)
    pinned = msgspec.structs.replace(before, topology=past.snapshot)
    tried = []
    for start in range(0, len(chosen), _ABREAST):
        some = chosen[start : start + _ABREAST]
        draws = any(one.patch.relationships for one in some)
        sides = [before, *([pinned] if draws else []), *(changed(before, one.patch, past.snapshot) for one in some)]
        with outcomes(history.read(), history.collectors, history.rules, sides, split_at, history.truth) as found:
            present, same_topology, *results = found if draws else (found[0], *found)
            tried += [
                _held_against(one, same_topology if one.patch.relationships else present, result, said)
                for one, result in zip(some, results, strict=True)
            ]
    return tried


def _held_against(suggestion: Suggestion, before: Outcome, after: Outcome, said: Sequence[Judgement]) -> Tried:
    plan = compare(before, after)
    was, would_be = _Homes(before), _Homes(after)
    answers = [(one, was.agrees(one), would_be.agrees(one)) for one in said]
    right = [one for one, before_it, after_it in answers if before_it is False and after_it is True]
    return Tried(
        suggestion=suggestion,
        plan=plan,
        saved=before.tickets - after.tickets,
        calm=before.reopened - after.reopened,
        right=len(right),
        parted=sum(bool(one.apart and not one.same) for one in right),
        wrong=sum(before_it is True and after_it is False for _, before_it, after_it in answers),
        lost=sum(_is_lost(each, after) for each in plan.differences),
        late=sum(_is_late(each) for each in plan.differences),
    )


def _is_lost(difference: Difference, after: Outcome) -> bool:
    """Whether nobody would have heard of an incident of priority 1. Under other identity rules it has other
    fingerprints, and is known by its title."""
    if difference.kind is not Kind.VANISHED or difference.priority != _URGENT:
        return False
    (one,) = difference.before
    return not any(
        other.title == one.title
        and other.ticket_at is not None
        and other.opened_at <= (one.ended_at or _FOREVER)
        and one.opened_at <= (other.ended_at or _FOREVER)
        for other in after.incidents.values()
    )


def _is_late(difference: Difference) -> bool:
    if difference.kind is not Kind.TIME:
        return False
    (one,), (other,) = difference.before, difference.after
    assert one.wait_s is not None
    assert other.wait_s is not None
    return other.wait_s - one.wait_s >= _LATER_S


class _Homes:
    """Where alerts were in an outcome, when."""

    def __init__(self, outcome: Outcome) -> None:
        self._numbers, self._incidents = outcome.numbers, outcome.incidents
        self._homes: dict[int, list[tuple[datetime, str]]] = {}
        for id, alerts in outcome.alerts.items():
            for alert in alerts:
                self._homes.setdefault(alert, []).append((outcome.incidents[id].opened_at, id))
        for homes in self._homes.values():
            homes.sort()

    def agrees(self, judgement: Judgement) -> bool | None:
        """Whether most pairs of what a person said are so; None where nothing of it is known."""
        if judgement.kind is JudgementKind.CAUSE:
            causes = {self._incidents[home].cause for one in judgement.one if (home := self._home(one))}
            return judgement.cis[0] in causes if causes else None
        answers = [
            (one == other) is same
            for others, same in ((judgement.same, True), (judgement.apart, False))
            for a, b in islice(product(judgement.one, others), _MAX_PAIRS)
            if (one := self._home(a)) and (other := self._home(b))
        ]
        return sum(answers) * 2 > len(answers) if answers else None

    def _home(self, witness: Witness) -> str:
        homes = self._homes.get(self._numbers.get(witness.fingerprint, -1), [])
        place = bisect_right(homes, (witness.onset + _NEAR, "~"))
        return homes[place - 1][1] if place else ""
