"""One version of what is learned from history: pairs that begin together, and what each rule's strength is worth."""

from collections.abc import Iterable
from datetime import UTC, datetime

from foreshock.core.learned import NOTHING, Learned, Occurrence, versioned
from foreshock.core.topology import Topology
from predictor import calibration, cooccurrence
from predictor.calibration import Judged
from predictor.settings import LearnSettings


def train(
    occurrences: Iterable[Occurrence], topology: Topology, settings: LearnSettings, judged: Iterable[Judged] = ()
) -> Learned:
    """The same history gives the same version, in whatever order it comes; an empty one gives ``NOTHING``.

    Args:
        judged: what rules said of pairs that are known to be one problem or two.
    """
    history = list(occurrences)
    if not history:
        return NOTHING
    found = cooccurrence.fit(history, topology, settings.cooccurrence)
    onsets = [occurrence.at_s for occurrence in history]
    return versioned(
        Learned(
            since=datetime.fromtimestamp(min(onsets), UTC),
            until=datetime.fromtimestamp(max(onsets), UTC),
            occurrences=len(history),
            tested=found.tested,
            fdr=settings.cooccurrence.fdr,
            half_life_s=settings.cooccurrence.half_life.total_seconds(),
            pairs=found.pairs,
            curves=calibration.fit(judged, settings.calibration),
        )
    )
