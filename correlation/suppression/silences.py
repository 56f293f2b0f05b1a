"""Silences: a person asked for quiet.

Many silences are in force in a large house and most name one host or service, so they are found by their equality
matchers: an alert is compared only with silences that name one of its label values.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Generic, Protocol, TypeVar

from correlation.suppression.suppressor import moment
from foreshock.core.matchers import Matcher, matches_all
from foreshock.core.model import Held, HeldKind, Silence, SilenceMatcher

_MAX_COMMENT = 200


class Matching(Protocol):
    """Something with matchers of labels."""

    matchers: tuple[Matcher, ...]


M = TypeVar("M", bound=Matching)
"""A silence or a window."""


def compiled(matchers: Iterable[SilenceMatcher]) -> tuple[Matcher, ...]:
    """Raises Malformed for an expression that cannot be read."""
    return tuple(Matcher(name=m.name, value=m.value, is_regex=m.is_regex, is_equal=m.is_equal) for m in matchers)


class ActiveSilence:
    """A silence with its matchers compiled. Raises Malformed for an expression that cannot be read."""

    def __init__(self, silence: Silence) -> None:
        self.silence = silence
        self.matchers = compiled(silence.matchers)
        comment = silence.comment if len(silence.comment) <= _MAX_COMMENT else silence.comment[:_MAX_COMMENT] + "…"
        self.held = Held(
            kind=HeldKind.SILENCE,
            id=silence.id,
            reason=f"silenced by {silence.created_by} until {moment(silence.ends_at)}: {comment}",
            until=silence.ends_at,
        )

    def covers(self, labels: Mapping[str, str], now: datetime) -> bool:
        return self.silence.starts_at <= now < self.silence.ends_at and matches_all(self.matchers, labels)


def silenced_by(labels: Mapping[str, str], silences: Iterable[ActiveSilence], now: datetime) -> tuple[str, ...]:
    """Ids of the silences that cover the labels now, sorted."""
    return tuple(sorted(active.silence.id for active in silences if active.covers(labels, now)))


class ByLabel(Generic[M]):
    """Things with matchers, found by the labels of an alert."""

    def __init__(self, items: Iterable[M]) -> None:
        self._by_value: dict[str, dict[str, list[M]]] = {}
        self._others: list[M] = []
        for item in items:
            named = next((m for m in item.matchers if m.is_equal and not m.is_regex and m.value), None)
            if named is None:
                self._others.append(item)
            else:
                self._by_value.setdefault(named.name, {}).setdefault(named.value, []).append(item)

    def matching(self, labels: Mapping[str, str]) -> Iterator[M]:
        """Those whose matchers all hit, in no particular order."""
        for name, by_value in self._by_value.items():
            for item in by_value.get(labels.get(name, ""), ()):
                if matches_all(item.matchers, labels):
                    yield item
        for item in self._others:
            if matches_all(item.matchers, labels):
                yield item
