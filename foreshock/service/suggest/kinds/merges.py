"""What people keep merging by hand: a rule that would have joined it."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import islice, product

from foreshock.core.model import Judgement, JudgementKind
from foreshock.service.suggest.pattern import Labels, Pattern, met, patterns
from foreshock.service.suggest.recall import Episode, Recalled
from foreshock.service.suggest.suggestion import Mined, Patch, Suggestion, SuggestionKind, suggestion

_LEAST = 3
"""So often people did the same."""
_MAX_OPTIONS = 60
"""Patterns looked at in the whole history, those with most merges behind them."""
_MAX_PAIRS = 400
"""Of one merge; two big situations have hundreds of thousands."""


class _Joined:
    """One merge by hand. found: the shortest gap between onsets at which each pattern joins the two sides."""

    def __init__(self, judgement: Judgement, past: Recalled, labels: Labels) -> None:
        self.found: dict[Pattern, float] = {}
        for one, other in islice(product(judgement.one, judgement.same), _MAX_PAIRS):
            first, second = past.who.get(one.fingerprint), past.who.get(other.fingerprint)
            if first is None or second is None:
                continue
            gap_s = abs((one.onset - other.onset).total_seconds())
            for pattern in patterns(first, second, labels):
                self.found[pattern] = min(gap_s, self.found.get(pattern, gap_s))


def _mine(past: Recalled) -> Mined:
    labels = Labels(past)
    joined = [
        _Joined(one, past, labels)
        for one in past.judgements
        if one.kind in (JudgementKind.MERGE, JudgementKind.MOVE) and one.one and one.same
    ]
    support: defaultdict[Pattern, list[int]] = defaultdict(list)
    for number, merge in enumerate(joined):
        for pattern in merge.found:
            support[pattern].append(number)
    able = {pattern: numbers for pattern, numbers in support.items() if len(numbers) >= _LEAST}
    episodes = sorted(past.episodes, key=lambda one: one.at_s)
    best = sorted(able.items(), key=lambda one: (-len(one[1]), one[0]))[:_MAX_OPTIONS]
    options = [_Option(pattern, numbers, joined, episodes, past) for pattern, numbers in best]
    return Mined(tuple(_chosen(options, labels, past)), len(able))


class _Option:
    """A rule that might be. times: merges by hand that it would have made; against: pairs of incidents that it would
    have joined as well, which people left apart."""

    def __init__(
        self, pattern: Pattern, numbers: list[int], joined: list[_Joined], episodes: list[Episode], past: Recalled
    ) -> None:
        self.pattern, self.covers = pattern, frozenset(numbers)
        self.gap_s = max(joined[number].found[pattern] for number in numbers)
        self.against = sum(1 for _ in _left_apart(past, episodes, pattern, self.gap_s))

    @property
    def cases(self) -> int:
        return len(self.covers) + self.against

    @property
    def strength(self) -> float:
        """Mean of what is known of the share (Laplace's rule of succession)."""
        return (len(self.covers) + 1) / (self.cases + 2)


def _left_apart(past: Recalled, episodes: Iterable[Episode], pattern: Pattern, gap_s: float) -> set[tuple[str, str]]:
    pairs = set()
    for one, other in met(episodes, pattern, gap_s):
        here, there = past.home(one.situation), past.home(other.situation)
        if here != there and here in past.incidents and there in past.incidents:
            pairs.add((min(here, there), max(here, there)))
    return pairs


def _chosen(options: list[_Option], labels: Labels, past: Recalled) -> Iterator[Suggestion]:
    """One rule for each merge: the surest, of equally sure ones that which covers more, then that which asks for
    more."""
    left = set[int]().union(*(option.covers for option in options))
    threshold = past.settings.group.threshold
    sure = [option for option in options if option.strength >= threshold]
    while sure:
        best = max(
            sure,
            key=lambda one: (
                len(one.covers & left) * len(one.covers) / one.cases,
                labels.values.get(one.pattern.label, 0),
                bool(one.pattern.names),
            ),
        )
        yield _suggested(best, past)
        left -= best.covers
        sure = [option for option in sure if len(option.covers & left) >= _LEAST]


def _suggested(option: _Option, past: Recalled) -> Suggestion:
    from predictor.support import more_than

    times, of = len(option.covers), option.cases
    rest = f"; {option.against} such pairs of incidents were left apart" if option.against else ""
    return suggestion(
        "merges",
        Patch(rules=(option.pattern.rule(max(option.gap_s, 1.0), option.strength),)),
        title=f"join {option.pattern}",
        seen=f"people joined {option.pattern} by hand {times} times, at most {option.gap_s:.0f} s apart{rest}",
        times=times,
        of=of,
        p=more_than(past.settings.group.threshold, times, of),
        weight=times,
    )


KIND = SuggestionKind(kind="merges", title="what people keep merging by hand", mine=_mine)
