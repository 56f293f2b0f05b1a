"""Classes of alerts that mostly recover by themselves, but later than ``suppress.transient.within`` waits for."""

from collections import defaultdict

from foreshock.core.quantities import format_duration
from foreshock.service.suggest.pattern import duration, nice
from foreshock.service.suggest.recall import Recalled
from foreshock.service.suggest.suggestion import Mined, Patch, SuggestionKind, suggestion

_LEAST = 10
_LONGEST_S = 900.0
"""A ticket that would wait for longer than this is worth having."""
_SURE = 0.8
"""``min_share`` of a class is seen with certainty where its true share is above this."""


def _mine(past: Recalled) -> Mined:
    from predictor.support import more_than

    transient = past.settings.suppress.transient
    if not transient.enabled:
        return Mined()
    within_s = transient.within.total_seconds()
    lasted: defaultdict[str, list[float]] = defaultdict(list)
    for episode in past.episodes:
        if episode.said and episode.until_s is not None:
            ci = past.topology.cis.get(episode.who.ci)
            name = f"{episode.who.name} on {ci.kind}" if ci is not None else episode.who.name
            lasted[name].append(episode.until_s - episode.at_s)
    classes = {name: sorted(times) for name, times in lasted.items() if len(times) >= _LEAST}
    by_wait: defaultdict[int, list[tuple[str, int, int, float]]] = defaultdict(list)
    for name, times in sorted(classes.items()):
        wait_s = nice(times[min(len(times) - 1, int(len(times) * transient.min_share))])
        if within_s < wait_s <= _LONGEST_S:
            soon = sum(one <= wait_s for one in times)
            by_wait[wait_s].append((name, soon, len(times), more_than(_SURE, soon, len(times))))
    found = []
    for wait_s, some in by_wait.items():
        soon, of = sum(one[1] for one in some), sum(one[2] for one in some)
        names = f"{some[0][0]}" + (f" and {len(some) - 1} more" if len(some) > 1 else "")
        found.append(
            suggestion(
                "recovering",
                Patch(settings={"suppress": {"transient": {"within": duration(wait_s)}}}),
                title=f"give what recovers by itself {duration(wait_s)} to do so (it has "
                f"{format_duration(transient.within)})",
                seen=f"{names}: {soon} of {of} times it was over within {duration(wait_s)}, and its source said so",
                times=soon,
                of=of,
                p=min(one[3] for one in some),
                weight=soon,
            )
        )
    return Mined(tuple(found), len(classes))


KIND = SuggestionKind(kind="recovering", title="what recovers by itself, later than it is waited for", mine=_mine)
