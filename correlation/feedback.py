"""What people said of the structure: what correlation must respect of it, and what others can learn from it."""

from collections.abc import Iterable, Iterator, Sequence, Set
from itertools import islice, product
from typing import Any

from foreshock.core.model import Alert, Cause, Contribution, Judgement, JudgementKind, Label, Situation, Witness

MAX_LABELS = 1000
"""Drawn from one judgement: two situations of 500 alerts would give a quarter of a million pairs, one as good as the
other."""


def witness(alert: Alert) -> Witness:
    labels = alert.read_labels()
    name = labels.get("alertname") or next(iter(labels.values()))
    return Witness(fingerprint=alert.fingerprint, name=name, ci=alert.ci, onset=alert.starts_at)


class KeptApart:
    """Who must not meet, by what was judged: an alert finds out with a dictionary look-up that nobody spoke of it."""

    def __init__(self) -> None:
        self._by_alert: dict[str, dict[str, frozenset[str]]] = {}
        self._by_ci: dict[str, dict[str, str]] = {}

    def __bool__(self) -> bool:
        return bool(self._by_alert or self._by_ci)

    def add(self, judgement: Judgement) -> None:
        if judgement.kind is JudgementKind.NOT_RELATED and judgement.cis:
            one, two = judgement.cis
            self._by_ci.setdefault(one, {})[judgement.id] = two
            self._by_ci.setdefault(two, {})[judgement.id] = one
            return
        ours, theirs = _fingerprints(judgement.one), _fingerprints(judgement.apart)
        for side, other in ((ours, theirs), (theirs, ours)):
            for fingerprint in side:
                self._by_alert.setdefault(fingerprint, {})[judgement.id] = other

    def drop(self, judgement: Judgement) -> None:
        for fingerprint in (*_fingerprints(judgement.one), *_fingerprints(judgement.apart)):
            _forget(self._by_alert, fingerprint, judgement.id)
        for ci in judgement.cis:
            _forget(self._by_ci, ci, judgement.id)

    def between(self, alert: Alert, situation: Situation, cis: Set[str]) -> str:
        """The judgement that keeps ``alert`` out of ``situation``, whose affected CIs are ``cis``; empty if none."""
        for judgement, others in self._by_alert.get(alert.fingerprint, _NONE).items():
            if not situation.members.keys().isdisjoint(others):
                return judgement
        for judgement, other in self._by_ci.get(alert.ci, _NOWHERE).items():
            if other in cis:
                return judgement
        return ""


_NONE: dict[str, frozenset[str]] = {}
_NOWHERE: dict[str, str] = {}


def _fingerprints(witnesses: Iterable[Witness]) -> frozenset[str]:
    return frozenset(one.fingerprint for one in witnesses)


def _forget(index: dict[str, dict[str, Any]], key: str, judgement: str) -> None:
    here = index.get(key)
    if here is not None:
        here.pop(judgement, None)
        if not here:
            del index[key]


def contradicts(judgement: Judgement, later: Judgement) -> bool:
    """Whether ``later`` says that some of what ``judgement`` keeps apart is one problem."""
    for one, two in ((later.one, later.same), (later.same, later.one)):
        if judgement.cis:
            if {judgement.cis[0]} <= _cis(one) and {judgement.cis[1]} <= _cis(two):
                return True
        elif _meet(judgement.one, one) and _meet(judgement.apart, two):
            return True
    return False


def _cis(witnesses: Iterable[Witness]) -> set[str]:
    return {one.ci for one in witnesses}


def _meet(some: Iterable[Witness], others: Iterable[Witness]) -> bool:
    return not _fingerprints(some).isdisjoint(_fingerprints(others))


def said_first(causes: Sequence[Cause], situation: Situation) -> tuple[Cause, ...]:
    """The causes with the one that a person named in front, marked; its points stay what the evidence gives it."""
    ci, by = situation.cause_said, situation.cause_said_by
    if not ci:
        return tuple(causes)
    word = Contribution(name="said", points=0.0, evidence=f"{by} said that it was the cause")
    found = next((cause for cause in causes if cause.ci == ci), Cause(ci=ci, score=0.0, contributions=()))
    parts = tuple(part for part in found.contributions if part.name != word.name)
    said = Cause(ci=ci, score=found.score, contributions=(word, *parts), said_by=by)
    return (said, *(cause for cause in causes if cause.ci != ci))


def labels(judgement: Judgement) -> Iterator[Label]:
    """Pairs of alerts that are one problem or are not, and what a CI caused; at most ``MAX_LABELS``, the first of each
    kind. What was judged stays true where it could not be applied."""
    pairs = [("same", pair) for pair in _pairs(judgement.one, judgement.same)]
    pairs += [("apart", pair) for pair in _pairs(judgement.one, judgement.apart)]
    for says, (alert, other) in pairs:
        yield Label(says=says, alert=alert, other=other, by=judgement.actor, at=judgement.at, judgement=judgement.id)
    if judgement.kind is JudgementKind.CAUSE:
        for alert in judgement.one[:MAX_LABELS]:
            yield Label(
                says="cause",
                alert=alert,
                ci=judgement.cis[0],
                by=judgement.actor,
                at=judgement.at,
                judgement=judgement.id,
            )


def _pairs(one: Sequence[Witness], two: Sequence[Witness]) -> Iterator[tuple[Witness, Witness]]:
    return islice(product(one, two), MAX_LABELS // 2)
