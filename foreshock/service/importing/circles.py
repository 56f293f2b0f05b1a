"""In which order inhibition rules stand, so that as few as possible of them are cut.

With us an alert that a rule names as its target explains others only by rules further down the list
(``correlation.suppression.inhibition``), so a rule whose targets may be another one's sources belongs above it.
"""

import re
from collections.abc import Iterable, Sequence
from itertools import combinations

from msgspec import Struct

from foreshock.core.matchers import Matcher

Matchers = tuple[Matcher, ...]
Pair = tuple[Matchers, Matchers]
"""Matchers of the sources and of the targets of a rule."""

_LITERAL = re.compile(r"(?:[\w \-:/@#%&,;<>=~]|\\[^\w\s])+")


def literals(expression: str) -> tuple[str, ...] | None:
    """The texts that an expression stands for, where it only lists some: ``db|web``; None where it does more."""
    inner = expression.removeprefix("^").removesuffix("$")
    if inner.startswith("(") and inner.endswith(")"):
        inner = inner[1:-1].removeprefix("?:")
    parts = inner.split("|")
    if not all(_LITERAL.fullmatch(part) for part in parts):
        return None
    return tuple(re.sub(r"\\(.)", r"\1", part) for part in parts)


def values(matcher: Matcher) -> tuple[str, ...] | None:
    """All values that a matcher takes, where they can be listed."""
    if not matcher.is_equal:
        return None
    return literals(matcher.value) if matcher.is_regex else (matcher.value,)


def may_overlap(one: Iterable[Matcher], other: Iterable[Matcher]) -> bool:
    """Whether an alert might match both. False only where that is certain."""
    by_name: dict[str, list[Matcher]] = {}
    for matcher in (*one, *other):
        by_name.setdefault(matcher.name, []).append(matcher)
    return all(_possible(name, matchers) for name, matchers in by_name.items())


def _possible(name: str, matchers: Sequence[Matcher]) -> bool:
    listed = [found for matcher in matchers if (found := values(matcher)) is not None]
    if listed:
        return any(all(matcher.matches({name: value}) for matcher in matchers) for value in min(listed, key=len))
    ends = [found for matcher in matchers if matcher.is_equal and (found := _ends(matcher.value)) is not None]
    return all(
        (one[0].startswith(other[0]) or other[0].startswith(one[0]))
        and (one[1].endswith(other[1]) or other[1].endswith(one[1]))
        for one, other in combinations(ends, 2)
    )


def _ends(expression: str) -> tuple[str, str] | None:
    """What every text begins and ends with that an expression like ``disk .*: full`` matches; None for any other."""
    parts = re.split(r"(?<!\\)\.[*+]", expression)
    texts = [literals(part) if part else ("",) for part in parts]
    found = [text[0] for text in texts if text is not None and len(text) == 1]
    return (found[0], found[-1]) if len(found) == len(parts) else None


def implied(by: Iterable[Matcher], matchers: Iterable[Matcher]) -> bool:
    """Whether whatever matches the first certainly matches the second."""
    known = tuple(by)
    return all(any(_implies(one, matcher) for one in known) for matcher in matchers)


def _implies(one: Matcher, other: Matcher) -> bool:
    if one == other:
        return True
    listed = values(one) if one.name == other.name else None
    return listed is not None and all(other.matches({other.name: value}) for value in listed)


class Order(Struct, frozen=True, kw_only=True):
    """Indexes of rules in the order to write them; those in a circle are cut.

    Attributes:
        cut: for a rule, those below it whose targets may be its sources: these alerts explain nothing by it.
        dead: rules of which no alert is left that could explain anything.
    """

    order: tuple[int, ...]
    cut: dict[int, tuple[int, ...]]
    dead: frozenset[int]


_DEAD = 1000


def ordered(rules: Sequence[Pair]) -> Order:
    """An order that cuts little: first what no rule is before, and in a circle what loses least. Takes the square of
    the number of rules."""
    harm = {
        (rule, other): _DEAD if implied(rules[rule][0], rules[other][1]) else 1
        for rule in range(len(rules))
        for other in range(len(rules))
        if rule != other and may_overlap(rules[other][1], rules[rule][0])
    }
    order: list[int] = []
    cut: dict[int, tuple[int, ...]] = {}
    rest = dict.fromkeys(range(len(rules)))
    loss = [sum(harm.get((rule, other), 0) for other in rest) for rule in rest]
    while rest:
        best = min(rest, key=lambda rule: (loss[rule], rule))
        del rest[best]
        order.append(best)
        if lost := tuple(other for other in rest if (best, other) in harm):
            cut[best] = lost
        for rule in rest:
            loss[rule] -= harm.get((rule, best), 0)
    dead = frozenset(rule for rule, others in cut.items() if any(harm[rule, other] == _DEAD for other in others))
    return Order(order=tuple(order), cut=cut, dead=dead)
