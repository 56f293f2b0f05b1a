"""What people keep taking apart that the same rule, or the same type of relationship, had joined."""

import math
from collections import defaultdict
from typing import Any

from foreshock.service.suggest.recall import Recalled
from foreshock.service.suggest.suggestion import Mined, Patch, Suggestion, SuggestionKind, suggestion

_LEAST = 3
_DEAREST = 12.0
"""``relate.costs`` allows no more."""


def _mine(past: Recalled) -> Mined:
    cut: defaultdict[str, int] = defaultdict(int)
    for judgement in past.judgements:
        if judgement.apart:
            for link in past.crossings[judgement.id].links:
                cut[link] += 1
    stood: defaultdict[str, int] = defaultdict(int)
    for incident in past.incidents.values():
        for link in incident.links:
            stood[link] += 1
    able = [(link, times) for link, times in sorted(cut.items()) if times >= _LEAST]
    found = (_suggested(link, times, max(stood[link], times), past) for link, times in able)
    return Mined(tuple(one for one in found if one is not None), len(able))


def _suggested(link: str, times: int, of: int, past: Recalled) -> Suggestion | None:
    from predictor.support import more_than

    patch = _patch(link, past)
    if patch is None:
        return None
    name, _, relation = link.partition(" ")
    what = f"a step along {relation}" if relation else f"rule {name}"
    return suggestion(
        "cuts",
        patch,
        title=f"let nothing be joined by a step along {relation}" if relation else f"switch {what} off",
        seen=f"people took apart {times} times what {what} had joined, which it did in {of} incidents",
        times=times,
        of=of,
        p=more_than(0.5, times, of),
        weight=times,
    )


def _patch(link: str, past: Recalled) -> Patch | None:
    name, _, relation = link.partition(" ")
    if relation:
        relate = past.settings.relate
        cost = math.floor(relate.max_cost) + 1.0  # beyond the longest walk: it says nothing any more
        if relate.costs.get(relation, 1.0) >= cost or cost > _DEAREST:
            return None
        return Patch(settings={"relate": {"costs": {relation: cost}}})
    rule = next((one for one in past.rules if one.name == name), None)
    if rule is None or name == "topology":  # what is on one CI is one problem: that is not for a mine to doubt
        return None
    entry: dict[str, Any] = {"name": rule.name, "kind": rule.kind, "enabled": False, **rule.config}
    return Patch(rules=(entry,))


KIND = SuggestionKind(kind="cuts", title="what people keep taking apart", mine=_mine)
