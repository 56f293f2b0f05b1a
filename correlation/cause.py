"""Where a problem most likely started: a first, honest ranking with every point visible."""

from collections.abc import Iterable
from datetime import datetime

from foreshock.core.model import Alert, Cause, Contribution
from foreshock.core.severity import Severity
from foreshock.core.topology import Topology

MAX_CAUSES = 5
_EXPLAINS, _FIRST, _SEVERE = 0.55, 0.3, 0.15  # what a candidate can earn at most; they sum to 1


def rank(alerts: Iterable[Alert], topology: Topology) -> tuple[Cause, ...]:
    """CIs with alerts, the most likely cause first, at most ``MAX_CAUSES``.

    Three kinds of evidence, each in 0..1 times its weight: the share of the other affected CIs that depend on the
    candidate (failures spread from it); how early its first alert began within the span of onsets; and its severity.
    Ties go to the earlier onset, then to the smaller id, so that the order never depends on arrival.
    """
    onset: dict[str, datetime] = {}
    severity: dict[str, Severity] = {}
    for alert in alerts:
        if not alert.ci:
            continue
        known = onset.get(alert.ci)
        onset[alert.ci] = alert.starts_at if known is None else min(known, alert.starts_at)
        severity[alert.ci] = max(severity.get(alert.ci, Severity.UNKNOWN), alert.severity)
    if not onset:
        return ()
    explained = dict.fromkeys(onset, 0)
    for ci in onset:
        for needed in topology.upstream(ci):
            if needed != ci and needed in explained:
                explained[needed] += 1
    first, last = min(onset.values()), max(onset.values())
    span_s = (last - first).total_seconds()
    others = len(onset) - 1
    causes = []
    for ci, began in onset.items():
        late_s = (began - first).total_seconds()
        parts = (
            Contribution(
                name="explains",
                points=round(_EXPLAINS * explained[ci] / others if others else _EXPLAINS, 4),
                evidence=f"{explained[ci]} of {others} other affected CIs depend on it"
                if others
                else "it is the only affected CI",
            ),
            Contribution(
                name="first",
                points=round(_FIRST * (1 - late_s / span_s) if span_s else _FIRST, 4),
                evidence="its alert began first" if late_s == 0 else f"its alert began {late_s:.0f} s after the first",
            ),
            Contribution(
                name="severe",
                points=round(_SEVERE * severity[ci] / Severity.CRITICAL, 4),
                evidence=f"its worst alert is {severity[ci].word}",
            ),
        )
        causes.append((-sum(part.points for part in parts), began, ci, parts))
    causes.sort(key=lambda entry: entry[:3])
    return tuple(
        Cause(ci=ci, score=round(-score, 4), contributions=parts) for score, _, ci, parts in causes[:MAX_CAUSES]
    )
