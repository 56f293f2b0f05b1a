"""Two alerts on the same CI are one problem if they began close in time."""

from correlation.relate import Candidate, Rule, View
from foreshock.core.model import Alert, Link


def _relate(alert: Alert, view: View) -> list[Candidate]:
    found: list[Candidate] = []
    if alert.ci in view.traces.by_ci:
        view.related(alert, alert.ci, 1.0, alert.ci, _NAME, explains=False, into=found)
    return found


def _describe(link: Link) -> str:
    return f"also on {link.path[0]}, " + ("at the same moment" if link.gap_s < 1 else f"{link.gap_s:.0f} s apart")


RULE = Rule(kind="same_ci", version=1, relate=_relate, describe=_describe)
_NAME = RULE.name
