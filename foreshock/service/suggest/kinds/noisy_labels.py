"""Labels whose value is another one each time, so that one condition comes as ever new alerts: an identity rule.

A number, a time, a process id, a random name: its value looks like one, hardly ever comes back, and the CI of the alert
is the same without it.
"""

import re
from collections import defaultdict
from collections.abc import Iterable

from correlation.bind import Binder
from correlation.settings import IdentityRule
from foreshock.core.matchers import matches_all, parse_matcher
from foreshock.service.suggest.recall import Episode, Recalled, Who
from foreshock.service.suggest.suggestion import Mined, Patch, Suggestion, SuggestionKind, suggestion

_ANEW = 0.8
"""A label whose value is new at more than this share of the occurrences identifies nothing that lasts."""
_LEAST = 5
_SHAPED = 0.9
_LOOKED_AT = 200
_VOLATILE = re.compile(
    r"[0-9]{2,}"  # a process id, a counter, seconds since 1970
    r"|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"  # RFC 9562
    r"|\d{4}-\d\d-\d\d([T ]\d\d:?\d\d.*)?"  # RFC 3339
    r"|(0x)?(?=[0-9a-f]*[0-9])(?=[0-9]*[a-f])[0-9a-f]{7,64}"  # a digest, an address
    r"|.+-[0-9a-f]{6,10}-[a-z0-9]{5}"  # a pod of a Kubernetes deployment
    r"|.+[-_/.:#][0-9]{5,}",
    re.IGNORECASE,
)

Class = tuple[str, str, str]
"""Collector, source, and what the alert says."""


def _mine(past: Recalled) -> Mined:
    by_class: defaultdict[Class, list[Episode]] = defaultdict(list)
    for episode in past.episodes:
        who = episode.who
        if "alertname" in who.labels and not _has_a_rule(who, past):
            by_class[who.collector, who.source, who.name].append(episode)
    noisy: defaultdict[tuple[str, str, tuple[str, ...]], list[tuple[str, int, int, int]]] = defaultdict(list)
    tested = 0
    for (collector, source, name), episodes in sorted(by_class.items()):
        if len(episodes) < _LEAST:
            continue
        labels = _shaped(episodes)
        tested += len(labels)
        found = {label: counted for label in labels if (counted := _anew(episodes, label, labels))[0] > 0}
        sure = tuple(sorted(label for label, (times, of) in found.items() if times > _ANEW * of and of >= _LEAST))
        if sure and _same_ci(episodes, sure, past):
            times, of = min((found[label] for label in sure), key=lambda one: one[0] / one[1])
            alerts = len({one.who.fingerprint for one in episodes})
            noisy[collector, source, sure].append((name, times, of, alerts))
    return Mined(tuple(_suggested(*key, found, past) for key, found in noisy.items()), tested)


def _has_a_rule(who: Who, past: Recalled) -> bool:
    """Somebody has thought about what identifies it."""
    return any(
        rule.about(who.collector, who.source)
        and matches_all(tuple(parse_matcher(text) for text in rule.match), who.labels)
        for rule in past.settings.fold.identity
    )


def _shaped(episodes: list[Episode]) -> tuple[str, ...]:
    """Labels whose values look like something that is made up anew each time."""
    looked_at = episodes[:: max(1, len(episodes) // _LOOKED_AT)]
    names = {label for one in looked_at for label in one.who.labels} - {"alertname"}
    return tuple(
        sorted(
            label
            for label in names
            if sum(bool(_VOLATILE.fullmatch(one.who.labels.get(label, ""))) for one in looked_at)
            >= _SHAPED * len(looked_at)
        )
    )


def _anew(episodes: Iterable[Episode], label: str, besides: tuple[str, ...]) -> tuple[int, int]:
    """Of the occurrences after the first of what is the same but for ``besides``, how many had a value of ``label``
    that was not seen before, and how many there were."""
    seen: dict[tuple[tuple[str, str], ...], set[str]] = {}
    times = of = 0
    for episode in episodes:
        labels = episode.who.labels
        rest = tuple(sorted((name, value) for name, value in labels.items() if name not in besides))
        value = labels.get(label, "")
        if rest not in seen:
            seen[rest] = {value}
            continue
        of += 1
        times += value not in seen[rest]
        seen[rest].add(value)
    return times, of


def _same_ci(episodes: list[Episode], labels: tuple[str, ...], past: Recalled) -> bool:
    """Whether the alerts are about the same CIs without ``labels``; one that was only made up from them is none."""
    binder = Binder(past.topology, past.settings.bind)
    for episode in episodes[:: max(1, len(episodes) // _LOOKED_AT)]:
        who = episode.who
        left = {name: value for name, value in who.labels.items() if name not in labels}
        if who.known and binder.bind(left, who.collector, who.source).ci != who.ci:
            return False
    return True


def _suggested(
    collector: str, source: str, labels: tuple[str, ...], found: list[tuple[str, int, int, int]], past: Recalled
) -> Suggestion:
    from predictor.support import more_than

    names = [name for name, *_ in found]
    times, of = sum(one[1] for one in found), sum(one[2] for one in found)
    said = names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
    matcher = f'alertname="{_quoted(names[0])}"' if len(names) == 1 else f'alertname=~"{_either(names)}"'
    rule = IdentityRule(collector=collector, source=source, match=(matcher,), without=labels)
    identity = [one.model_dump(mode="json", exclude_defaults=True) for one in (rule, *past.settings.fold.identity)]
    told = " and ".join(labels)
    return suggestion(
        "noisy_labels",
        Patch(settings={"fold": {"identity": identity}}),
        title=f"let {told} not identify {said}",
        seen=f"{said} of {source} fired {of + len(found)} times as {sum(one[3] for one in found)} alerts: {told} had "
        f"a value never seen before {times} of {of} times",
        times=times,
        of=of,
        p=more_than(_ANEW, times, of),
        weight=times,
    )


def _quoted(name: str) -> str:
    return name.replace("\\", "\\\\").replace('"', '\\"')


def _either(names: Iterable[str]) -> str:
    return _quoted("|".join(map(re.escape, names)))


KIND = SuggestionKind(kind="noisy_labels", title="labels that make ever new alerts of one condition", mine=_mine)
