"""Two alerts that say nearly the same in rare words are one problem if they began close in time.

Their texts are compared as templates (``core.templates``), by the words they share, each weighted by what it tells
(``correlation.vocabulary``); common words glue nothing. It needs no CI, so it also serves alerts whose names the CMDB
does not know.
"""

from datetime import datetime, timedelta
from functools import partial

from pydantic import Field

from correlation.budget import PAIR
from correlation.nearby import Nearby, nearest
from correlation.relate import Candidate, View, apart
from correlation.rule import Rule, RuleConfig, RuleKind
from correlation.vocabulary import Vocabulary
from foreshock.core.model import Alert, Link
from foreshock.core.quantities import Duration, parse_duration
from foreshock.core.templates import MAX_CHARACTERS, words

_LOOKED_UP = 4  # of an alert's words, those that tell most
_MAX_TEMPLATES = 32  # open at once with one word: more, and the word is common now
_MAX_SITUATIONS = 64  # open at once with one template: the same
_MAX_MET = 16  # other situations counted when a word comes
_COMPARED = 20  # steps of comparing two templates
_SHOWN = 4  # words in a reason

Template = tuple[str, ...]


class TextConfig(RuleConfig):
    labels: tuple[str, ...] = Field(default=("alertname",), description="labels whose words are compared")
    annotations: tuple[str, ...] = Field(
        default=("summary", "description", "message"), description="annotations whose words are compared"
    )
    window: Duration = Field(
        default=parse_duration("10m"),
        ge=timedelta(seconds=1),
        le=timedelta(days=1),
        description="alerts whose onsets are further apart are not compared",
    )
    strength: float = Field(
        default=0.7, gt=0, le=1, description="strength of two equal texts, begun at once, in words that never coincide"
    )
    min_words: int = Field(default=2, ge=1, le=16, description="a text with fewer words is too short to compare")
    half_life: Duration = Field(
        default=parse_duration("7d"),
        ge=timedelta(hours=1),
        le=timedelta(days=365),
        description="what was learned of a word counts half after this long",
    )


class _Texts(Nearby[Template]):
    """Texts of the alerts in open situations that began lately: by template, and templates by word."""

    def __init__(self, config: TextConfig, vocabulary: Vocabulary) -> None:
        super().__init__(config.window.total_seconds())
        self._config, self._vocabulary = config, vocabulary
        self.by_word: dict[str, dict[Template, None]] = {}
        self._read: tuple[bytes, bytes, Template] = (b"", b"", ())

    # ---- Index ----

    def key_of(self, alert: Alert) -> Template | None:
        template = self.template(alert)
        return template if len(template) >= self._config.min_words else None

    def appeared(self, key: Template) -> None:
        for word in key:
            self.by_word.setdefault(word, {})[key] = None

    def vanished(self, key: Template) -> None:
        for word in key:
            templates = self.by_word[word]
            del templates[key]
            if not templates:
                del self.by_word[word]

    # ---- Memory ----

    def learn(self, situation: str, alert: Alert, now: datetime) -> None:
        self.forget_before(now)
        onset_s = alert.starts_at.timestamp()
        template = self.template(alert) if self.is_recent(onset_s) else ()
        if len(template) < self._config.min_words:
            return
        if self.has_near(self.by_key.get(template, {}).get(situation, []), onset_s, alert.fingerprint):
            return  # the common case in a storm: its situation has every word already
        brought = self._brought(template, situation, onset_s, alert.fingerprint)
        self._vocabulary.learn({word: self._met(word, onset_s, situation, alert.fingerprint) for word in brought}, now)

    def save(self) -> bytes:
        return self._vocabulary.save()

    def load(self, saved: bytes) -> None:
        self._vocabulary.load(saved)

    # ---- questions ----

    def template(self, alert: Alert) -> Template:
        labels, annotations, known = self._read
        if labels is alert.labels and annotations is alert.annotations:
            return known
        found_labels, found_annotations = alert.read_labels(), alert.read_annotations()
        texts = [found_labels.get(name, "") for name in self._config.labels]
        texts += [found_annotations.get(name, "")[:MAX_CHARACTERS] for name in self._config.annotations]
        template = words("\n".join(filter(None, texts)))
        self._read = (alert.labels, alert.annotations, template)
        return template

    def _brought(self, template: Template, situation: str, onset_s: float, fingerprint: str) -> list[str]:
        """Words that no other alert of ``situation`` near in time has."""
        left = set(template)
        for other in self.by_situation.get(situation, ()):
            if not left.isdisjoint(other) and self.has_near(self.by_key[other][situation], onset_s, fingerprint):
                left.difference_update(other)
                if not left:
                    return []
        return [word for word in template if word in left]

    def _met(self, word: str, onset_s: float, situation: str, fingerprint: str) -> int:
        """How many other situations have an alert with ``word`` that began within a window, at most ``_MAX_MET``."""
        templates = self.by_word.get(word, {})
        if len(templates) > _MAX_TEMPLATES:
            return _MAX_MET
        found: set[str] = set()
        for template in templates:
            for other, traces in self.by_key[template].items():
                if other != situation and self.has_near(traces, onset_s, fingerprint):
                    found.add(other)
                    if len(found) == _MAX_MET:
                        return _MAX_MET
        return len(found)


def _build(tag: str, config: TextConfig) -> Rule:
    vocabulary = Vocabulary(config.window.total_seconds(), config.half_life)
    texts = _Texts(config, vocabulary)
    return Rule(
        tag=tag, relate=partial(_relate, tag, config, vocabulary, texts), describe=_describe, index=texts, memory=texts
    )


def _relate(
    tag: str, config: TextConfig, vocabulary: Vocabulary, texts: _Texts, alert: Alert, view: View
) -> list[Candidate]:
    texts.forget_before(view.now)
    onset_s = alert.starts_at.timestamp()
    template = texts.template(alert) if texts.is_recent(onset_s) else ()
    if len(template) < config.min_words:
        return []
    rarity = vocabulary.rarities(template)
    # The words come in alphabetical order, and sorting keeps it among equals.
    ranked = sorted(template, key=rarity.__getitem__, reverse=True)
    looked_up: set[Template] = set()
    for word in ranked[:_LOOKED_UP]:
        templates = texts.by_word.get(word, {})
        if len(templates) <= _MAX_TEMPLATES:
            looked_up.update(templates)
    found: list[Candidate] = []
    view.spend(tag, _COMPARED * len(looked_up))
    told_by: dict[str, float] = {}
    for other in sorted(looked_up):
        situations = texts.by_key[other]
        view.spend(tag, PAIR * min(len(situations), _MAX_SITUATIONS))
        for rarest in ranked:
            if rarest in other:
                break
        told = told_by.get(rarest)
        if told is None:
            told = told_by[rarest] = vocabulary.told_by(rarest)
        if config.strength * told < view.threshold or len(situations) > _MAX_SITUATIONS:
            continue
        shared = ranked if other == template else [word for word in ranked if word in other]
        strength = config.strength * told * _alike(shared, other, rarity, vocabulary)
        if strength < view.threshold:
            continue
        evidence = ", ".join(shared[:_SHOWN])
        for situation, traces in situations.items():
            (gap_s, fingerprint) = nearest(traces, onset_s, 1)[0]
            near = strength * (1.0 - 0.5 * gap_s / texts.window_s)
            if gap_s <= texts.window_s and near >= view.threshold and fingerprint != alert.fingerprint:
                found.append(Candidate(situation, fingerprint, near, "", tag, evidence=evidence))
    return found


def _alike(shared: list[str], other: Template, rarity: dict[str, float], vocabulary: Vocabulary) -> float:
    """Jaccard similarity of two templates, each word weighted by the square of its rarity; 0..1."""
    if len(shared) == len(rarity) == len(other):
        return 1.0
    both = sum([rarity[word] ** 2 for word in shared])
    mine = sum([weight * weight for weight in rarity.values()])
    theirs = vocabulary.rarities([word for word in other if word not in rarity])
    return both / (mine + sum([weight * weight for weight in theirs.values()]))


def _describe(link: Link) -> str:
    return f"their texts share words that seldom come together: {link.evidence}; {apart(link)}"


RULE = RuleKind(
    kind="text",
    version=1,
    title="Two alerts that say nearly the same in rare words are one problem if they began close in time",
    config=TextConfig,
    build=_build,
    shipped=False,
)
