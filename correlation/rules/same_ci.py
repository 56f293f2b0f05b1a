"""Two alerts on the same CI are one problem if they began close in time."""

from collections.abc import Iterator

from correlation.relate import Candidate, Nearness, Rule, View
from foreshock.core.model import Alert, Link


def _relate(alert: Alert, view: View) -> Iterator[Candidate]:
    traces = view.traces.on(alert.ci)
    if not traces:
        return
    nearness = Nearness(alert.starts_at.timestamp(), view.settings)
    for situation, trace in traces.items():
        strength = nearness(trace.onset_s)
        if strength >= view.threshold:
            yield Candidate(situation, trace.fingerprint, strength, alert.ci, _NAME)


def _describe(link: Link) -> str:
    return f"also on {link.path[0]}, " + ("at the same moment" if link.gap_s < 1 else f"{link.gap_s:.0f} s apart")


RULE = Rule(kind="same_ci", version=1, relate=_relate, describe=_describe)
_NAME = RULE.name
