"""Two alerts whose labels agree are one problem if they began close in time.

``equal`` names the labels that must have equal values; open alerts are looked up by those values. ``when`` is a
condition in CEL (``core.cel``) on what is left: ``a`` is the new alert, ``b`` the open one.
"""

from datetime import timedelta
from functools import lru_cache, partial
from typing import Any, Self

from pydantic import Field, model_validator

from correlation.budget import CONDITION, PAIR
from correlation.nearby import Nearby, nearest
from correlation.relate import Candidate, View, apart
from correlation.rule import Rule, RuleConfig, RuleKind
from foreshock.core.cel import Condition, Kind
from foreshock.core.errors import Invalid
from foreshock.core.model import Alert, Link
from foreshock.core.quantities import Duration, parse_duration
from foreshock.core.topology import Topology

_TRIES = 4  # alerts of one situation looked at, the nearest in time
_MAX_PAIRS = 256  # looked at for one alert; beyond it the older situations are left out

Values = tuple[str, ...]
_SIDE = {
    "labels": Kind.TEXTS, "annotations": Kind.TEXTS, "severity": Kind.TEXT, "source": Kind.TEXT, "ci": Kind.TEXT,
    "ci_kind": Kind.TEXT,
}  # fmt: skip
VARIABLES = {f"{side}.{name}": kind for side in "ab" for name, kind in _SIDE.items()} | {"gap_s": Kind.NUMBER}


@lru_cache(maxsize=512)
def _condition(text: str) -> Condition:
    """Read once, however often the rule is checked and built anew. Raises Invalid."""
    return Condition(text, VARIABLES)


class AttributeConfig(RuleConfig):
    equal: tuple[str, ...] = Field(
        default=(), max_length=8, description="labels that both alerts have, with equal values", examples=[["cluster"]]
    )
    when: str = Field(
        default="",
        description="a condition in CEL that must hold too: a.labels, a.annotations, a.severity, a.source, a.ci and "
        "a.ci_kind of the new alert, b.… of the open one, gap_s between their onsets",
        examples=['b.labels["job"] == "network"'],
    )
    window: Duration = Field(
        default=parse_duration("5m"),
        ge=timedelta(seconds=1),
        le=timedelta(days=1),
        description="alerts whose onsets are further apart are not related",
    )
    strength: float = Field(
        default=0.5, gt=0, le=1, description="probability that two such alerts are the same problem"
    )

    @model_validator(mode="after")
    def _relates_something(self) -> Self:
        if not self.equal and not self.when:
            raise Invalid("the rule links everything", hint="name labels in `equal`, or write a condition in `when`")
        for index, label in enumerate(self.equal):
            if not label or label in self.equal[:index]:
                raise Invalid(f"{label!r} is no further label", hint="name each label once", path=("equal", index))
        if self.when:
            try:
                condition = _condition(self.when)
            except Invalid as error:
                raise Invalid(str(error), hint=error.hint, path=("when",)) from None
            if not self.equal and all(condition.holds(pair) for pair in _STRANGERS):
                raise Invalid(
                    "the rule links everything: its condition holds for alerts that have nothing in common",
                    hint="name labels in `equal`, or compare a with b in `when`",
                    path=("when",),
                )
        return self


def _sides(**one: dict[str, Any]) -> dict[str, Any]:
    return {f"{side}.{name}": value for side, values in one.items() for name, value in values.items()}


def _stranger(word: str, severity: str) -> dict[str, Any]:
    labels = {"alertname": f"{word}Down", "job": word, "instance": f"{word}:9100"}
    return {
        "labels": labels, "annotations": {"summary": word}, "severity": severity, "source": word, "ci": word,
        "ci_kind": word,
    }  # fmt: skip


_NOTHING: dict[str, Any] = {
    "labels": {"x": "x"}, "annotations": {}, "severity": "unknown", "source": "", "ci": "", "ci_kind": "",
}  # fmt: skip
_STRANGERS = [
    _sides(a=a, b=b) | {"gap_s": gap_s}
    for a, b, gap_s in (
        (_stranger("alpha", "critical"), _stranger("beta", "warning"), 1.0),
        (_stranger("gamma", "warning"), _NOTHING, 100.0),
        (_NOTHING, _stranger("delta", "critical"), 200.0),
    )
]


class _Equals(Nearby[Values]):
    """Alerts by the values of the labels that must be equal."""

    def __init__(self, config: AttributeConfig) -> None:
        super().__init__(config.window.total_seconds())
        self._labels = config.equal

    def key_of(self, alert: Alert) -> Values | None:
        labels = alert.read_labels()
        values = tuple(labels.get(name, "") for name in self._labels)
        return values if all(values) else None


def _build(tag: str, config: AttributeConfig) -> Rule:
    condition = _condition(config.when) if config.when else None
    equals = _Equals(config)
    return Rule(tag=tag, relate=partial(_relate, tag, config, condition, equals), describe=_describe, index=equals)


def _relate(
    tag: str, config: AttributeConfig, condition: Condition | None, equals: _Equals, alert: Alert, view: View
) -> list[Candidate]:
    key = equals.key_of(alert)
    equals.forget_before(view.now)
    situations = equals.by_key.get(key, {}) if key is not None else {}
    if not situations or config.strength < view.threshold:
        return []
    onset_s = alert.starts_at.timestamp()
    near = sorted((nearest(began, onset_s, _TRIES), situation) for situation, began in situations.items())
    mine = _read("a", alert, view.topology) if condition is not None else {}
    evidence = ", ".join(f"{name}={value}" for name, value in zip(config.equal, key or (), strict=True))
    if condition is not None:
        evidence = f"{evidence}, and {condition.text}" if evidence else condition.text
    found: list[Candidate] = []
    view.spend(tag, PAIR * len(near))
    pairs = 0
    for others, situation in near:
        for gap_s, other in others:
            if gap_s > equals.window_s or other == alert.fingerprint:
                continue
            if pairs >= _MAX_PAIRS:
                return found
            pairs += 1
            if condition is not None:
                view.spend(tag, CONDITION + condition.cost)
                theirs = _read("b", view.alerts[other], view.topology)
                if not condition.holds({**mine, **theirs, "gap_s": gap_s}):
                    continue
            found.append(Candidate(situation, other, config.strength, "", tag, evidence=evidence))
            break
    return found


def _read(side: str, alert: Alert, topology: Topology) -> dict[str, Any]:
    """What a condition sees of an alert."""
    ci = topology.cis.get(alert.ci)
    return {
        f"{side}.labels": alert.read_labels(),
        f"{side}.annotations": alert.read_annotations(),
        f"{side}.severity": alert.severity.word,
        f"{side}.source": alert.source,
        f"{side}.ci": alert.ci,
        f"{side}.ci_kind": ci.kind if ci is not None else "",
    }


def _describe(link: Link) -> str:
    return f"they agree: {link.evidence}; {apart(link)}"


RULE = RuleKind(
    kind="attribute",
    version=1,
    title="Two alerts whose labels agree are one problem if they began close in time",
    config=AttributeConfig,
    build=_build,
    shipped=False,
)
