"""Two alerts on the same CI are one problem if they began close in time."""

from functools import partial

from correlation.relate import Candidate, View
from correlation.rule import Rule, RuleConfig, RuleKind
from foreshock.core.model import Alert, Link


class SameCIConfig(RuleConfig):
    """It has no parameters."""


def _build(tag: str, config: SameCIConfig) -> Rule:
    return Rule(tag=tag, relate=partial(_relate, tag), describe=_describe)


def _relate(tag: str, alert: Alert, view: View) -> list[Candidate]:
    found: list[Candidate] = []
    if alert.ci in view.traces.by_ci:
        view.related(alert, alert.ci, 1.0, alert.ci, tag, explains=False, into=found)
    return found


def _describe(link: Link) -> str:
    return f"also on {link.path[0]}, " + ("at the same moment" if link.gap_s < 1 else f"{link.gap_s:.0f} s apart")


RULE = RuleKind(
    kind="same_ci",
    version=1,
    title="Two alerts on the same CI are one problem if they began close in time",
    config=SameCIConfig,
    build=_build,
)
