"""Tickets that were opened just before all was over, or was part of another incident: a longer delay."""

from typing import Any

from foreshock.core.model import JudgementKind
from foreshock.core.quantities import format_duration
from foreshock.service.suggest.pattern import duration
from foreshock.service.suggest.recall import Incident, Recalled
from foreshock.service.suggest.suggestion import Mined, Patch, SuggestionKind, suggestion

_TRIED_S = (60.0, 120.0, 300.0)
_WORTH = 0.05
"""Waiting is asked of all tickets; it is worth it where it spares more than one in twenty."""
_LEAST = 5
_MOST = 0.8
"""The shortest delay is enough that spares this share of what the longest does."""
_URGENT = 1


def _mine(past: Recalled) -> Mined:
    from predictor.support import more_than

    now = past.settings.ticket.delay
    incidents = [one for one in past.incidents.values() if one.priority != _URGENT]
    unsaid = {past.home(one.situation) for one in past.episodes if not one.said}
    by_hand = {one.other for one in past.judgements if one.kind is JudgementKind.MERGE}
    tried = [delay_s for delay_s in _TRIED_S if now.total_seconds() < delay_s < _runs_out_s(past)]
    spared = [
        sum(one.id not in unsaid | by_hand and _is_spared(one, delay_s, past) for one in incidents) for delay_s in tried
    ]
    most = max(spared, default=0)
    if most < _LEAST:
        return Mined((), len(tried))
    delay_s, times = next(
        (delay_s, times) for delay_s, times in zip(tried, spared, strict=True) if times >= _MOST * most
    )
    ticket: dict[str, Any] = {"delay": duration(delay_s)}
    if _URGENT not in past.settings.ticket.delay_by_priority:
        ticket |= {"delay_by_priority": {_URGENT: format_duration(now)}}
    found = suggestion(
        "delays",
        Patch(settings={"ticket": ticket}),
        title=f"set ticket.delay to {duration(delay_s)} (it is {format_duration(now)})",
        seen=f"{times} of {len(incidents)} tickets below priority 1 were for what was over within "
        f"{duration(delay_s)}, as its sources said, or part of another incident by then, untouched by people; all the "
        "others wait so much longer",
        times=times,
        of=len(incidents),
        p=more_than(_WORTH, times, len(incidents)),
        weight=times,
    )
    return Mined((found,), len(tried))


def _runs_out_s(past: Recalled) -> float:
    """A ticket that waits as long as alerts hold would never be opened for what is only not sent again."""
    fold = past.settings.fold
    return min(
        one.total_seconds()
        for one in (fold.expire_after, *(each.expire_after or fold.expire_after for each in fold.sources))
    )


def _is_spared(incident: Incident, delay_s: float, past: Recalled) -> bool:
    if incident.over_s is None or incident.handled or incident.reopened:
        return False
    if incident.id in past.merged:
        return incident.over_s <= incident.began_s + delay_s
    quiet_s = past.settings.group.quiet_of(incident.priority).total_seconds()
    return incident.over_s - quiet_s <= incident.began_s + delay_s


KIND = SuggestionKind(kind="delays", title="tickets for what was over at once", mine=_mine)
