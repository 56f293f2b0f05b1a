"""What people name as the cause again and again, although the topology has no way to it: a relationship."""

from collections import Counter, defaultdict

from foreshock.core.model import JudgementKind, Relationship
from foreshock.service.suggest.recall import Recalled
from foreshock.service.suggest.suggestion import Mined, Patch, SuggestionKind, suggestion

_LEAST = 3
_HALF = 0.5


def _mine(past: Recalled) -> Mined:
    from predictor.support import more_than

    known = past.topology.cis
    named: Counter[tuple[str, str]] = Counter()
    judged: Counter[str] = Counter()
    for judgement in past.judgements:
        if judgement.kind is not JudgementKind.CAUSE or not judgement.one:
            continue
        (cause,) = judgement.cis
        for ci in {one.ci for one in judgement.one if one.ci in known}:
            judged[ci] += 1
            named[ci, cause] += ci != cause and cause in known and cause not in past.topology.upstream(ci)
    able = {both: times for both, times in sorted(named.items()) if times >= _LEAST}
    by_cause: defaultdict[str, list[str]] = defaultdict(list)
    for ci, cause in able:
        by_cause[cause].append(ci)
    found = []
    for cause, cis in by_cause.items():
        rarest = min(cis, key=lambda ci: able[ci, cause] / judged[ci])
        times, of = able[rarest, cause], judged[rarest]
        lines = tuple(Relationship(source=ci, type="depends_on", target=cause) for ci in cis)
        told = ", ".join(cis[:3]) + (f" and {len(cis) - 3} more" if len(cis) > 3 else "")
        found.append(
            suggestion(
                "causes",
                Patch(relationships=lines),
                title=f"tell the topology that {told} depend{'s' if len(cis) == 1 else ''} on {cause}",
                seen=f"people named {cause} as the cause of what failed on {rarest} {times} of {of} times that they "
                "named one; the topology has no way there",
                times=times,
                of=of,
                p=more_than(_HALF, times, of),
                weight=times,
            )
        )
    return Mined(tuple(found), len(able))


KIND = SuggestionKind(kind="causes", title="causes that the topology has no way to", mine=_mine)
