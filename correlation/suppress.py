"""What is real but must not disturb anyone now, always with the reason. It may hold back a creation, never a
resolution."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from foreshock.core.matchers import Matcher, matches_all
from foreshock.core.model import Silence


class ActiveSilence:
    """A silence with its matchers compiled. Raises Malformed for an expression that cannot be read."""

    def __init__(self, silence: Silence) -> None:
        self.silence = silence
        self.matchers = tuple(
            Matcher(name=m.name, value=m.value, is_regex=m.is_regex, is_equal=m.is_equal) for m in silence.matchers
        )

    def covers(self, labels: Mapping[str, str], now: datetime) -> bool:
        return self.silence.starts_at <= now < self.silence.ends_at and matches_all(self.matchers, labels)


def silenced_by(labels: Mapping[str, str], silences: Iterable[ActiveSilence], now: datetime) -> tuple[str, ...]:
    """Ids of the silences that cover the labels now, sorted."""
    return tuple(sorted(active.silence.id for active in silences if active.covers(labels, now)))
