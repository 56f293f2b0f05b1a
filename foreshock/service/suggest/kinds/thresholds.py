"""Merges and cuts by hand where correlation had seen the link, and its strength was on the wrong side of
``group.threshold`` by little."""

import math

from foreshock.service.suggest.recall import Recalled
from foreshock.service.suggest.suggestion import Mined, Patch, Suggestion, SuggestionKind, suggestion

_REACH = 0.15
"""A threshold is moved by no more than this at a time."""
_LEAST = 3
_SHARE = 0.2
"""Where fewer corrections than this share are near the threshold, it is not what is wrong."""


def _mine(past: Recalled) -> Mined:
    threshold = past.settings.group.threshold
    joined = [past.crossings[one.id].strongest for one in past.judgements if one.same]
    cut = [past.crossings[one.id].strongest for one in past.judgements if one.apart]
    below = sorted(one for one in joined if threshold - _REACH <= one < threshold)
    above = sorted(one for one in cut if threshold <= one < threshold + _REACH)
    found = []
    if len(below) >= _LEAST:
        found.append(_suggested(math.floor(below[0] * 100) / 100, below, len(joined) + len(cut), "joined", past))
    if len(above) >= _LEAST:
        found.append(_suggested(math.floor(above[-1] * 100 + 1) / 100, above, len(joined) + len(cut), "cut", past))
    return Mined(tuple(found), 2)


def _suggested(to: float, near: list[float], of: int, what: str, past: Recalled) -> Suggestion:
    from predictor.support import more_than

    return suggestion(
        "thresholds",
        Patch(settings={"group": {"threshold": to}}),
        title=f"set group.threshold to {to:g} (it is {past.settings.group.threshold:g})",
        seen=f"of {of} corrections people {what} {len(near)} times what was related with a strength from "
        f"{near[0]:.2f} to {near[-1]:.2f}",
        times=len(near),
        of=of,
        p=more_than(_SHARE, len(near), of),
        weight=len(near),
    )


KIND = SuggestionKind(kind="thresholds", title="links on the wrong side of the threshold", mine=_mine)
