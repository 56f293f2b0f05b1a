"""How much it tells that two alerts share a word: learned from how often, and beside what else, each word has come."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

import msgspec
from msgspec import Struct

MAX_WORDS = 10_000
_KEPT = MAX_WORDS * 9 // 10


class Word(Struct, array_like=True, gc=False):
    """What is known of a word, halved with each half-life.

    Attributes:
        seen: alerts that brought it where their situation had none with it yet.
        met: how many other open situations had it at such a moment, near in time, summed up.
        era: the half-life in which both were last brought up to date.
    """

    seen: float
    met: float
    era: int


class _Saved(Struct, array_like=True):
    era: int
    watched_s: float
    last_s: float
    words: dict[str, Word]


class Vocabulary:
    """Words with their chance of being no coincidence.

    Args:
        window_s: two alerts this near in time, in seconds, are compared.
        half_life: what was learned counts half after this long.
    Bounds: ``MAX_WORDS`` words; beyond it those seen least are forgotten.
    """

    def __init__(self, window_s: float, half_life: timedelta) -> None:
        self._window_s, self._half_life_s = window_s, half_life.total_seconds()
        self._era = 0
        self._watched_s = 0.0
        self._last_s = 0.0
        self._words: dict[str, Word] = {}

    def rarity(self, word: str) -> float:
        """1 for a word that never comes; 0.5 for one that comes once within a window; nearly 0 for common ones."""
        seen, _ = self._known(word)
        return self._rarity(seen)

    def rarities(self, words: Iterable[str]) -> dict[str, float]:
        """``rarity`` of each: an alert has two dozen words, and each new alert asks."""
        known, era, window_s = self._words, self._era, self._window_s
        watched_s = self._watched_s + window_s
        found = {}
        for word in words:
            entry = known.get(word)
            if entry is None:
                seen = 0.0
            elif entry.era == era:
                seen = entry.seen
            else:
                seen = entry.seen * 0.5 ** (era - entry.era)
            found[word] = 1.0 / (1.0 + (seen + 1.0) * window_s / watched_s)
        return found

    def told_by(self, word: str) -> float:
        """The probability, 0..1, that two alerts near in time whose rarest common word is ``word`` are one problem.

        Against it speak the alerts that bring the word by themselves within a window (its rate), and the situations
        that had it at the same moment and were other problems. A word never seen before counts as if it had met one
        such situation: it tells little until it has shown that it comes alone.
        """
        seen, met = self._known(word)
        return 1.0 / (1.0 / self._rarity(seen) + (met + 1.0) / (seen + 1.0))

    def _known(self, word: str) -> tuple[float, float]:
        known = self._words.get(word)
        if known is None:
            return 0.0, 0.0
        fading = 0.5 ** (self._era - known.era)
        return known.seen * fading, known.met * fading

    def _rarity(self, seen: float) -> float:
        return 1.0 / (1.0 + (seen + 1.0) * self._window_s / (self._watched_s + self._window_s))

    def learn(self, met: Mapping[str, int], now: datetime) -> None:
        """A situation got its first alert with each of these words, while so many others had it already."""
        self._watch(now.timestamp())
        for word, others in met.items():
            known = self._words.get(word)
            if known is None:
                self._words[word] = Word(1.0, float(others), self._era)
            else:
                fading = 0.5 ** (self._era - known.era)
                known.seen, known.met, known.era = known.seen * fading + 1.0, known.met * fading + others, self._era
        if len(self._words) > MAX_WORDS:
            self._forget()

    def _watch(self, now_s: float) -> None:
        if not self._last_s:
            self._last_s, self._era = now_s, int(now_s // self._half_life_s)
        era = int(now_s // self._half_life_s)
        # Powers of two: exact, so that a restored vocabulary goes on to the bit.
        self._watched_s = self._watched_s * 0.5 ** (era - self._era) + (now_s - self._last_s)
        self._last_s, self._era = now_s, era

    def _forget(self) -> None:
        def weight(entry: tuple[str, Word]) -> tuple[float, str]:
            word, known = entry
            return -known.seen * 0.5 ** (self._era - known.era), word

        kept = sorted(self._words.items(), key=weight)[:_KEPT]
        self._words = dict(kept)

    def save(self) -> bytes:
        return msgspec.msgpack.encode(_Saved(self._era, self._watched_s, self._last_s, self._words))

    def load(self, saved: bytes) -> None:
        read = msgspec.msgpack.decode(saved, type=_Saved)
        self._era, self._watched_s, self._last_s, self._words = read.era, read.watched_s, read.last_s, read.words

    def __len__(self) -> int:
        return len(self._words)
