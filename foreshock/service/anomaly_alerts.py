"""Anomalies that are alerts by themselves, because the settings say so; all others are evidence only.

Such an alert is told by its metric, CI, dimension and direction. It holds as long as the deviation does, and is over
when nothing is heard of that for a while, as after a restart.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from foreshock.core.errors import Invalid, Malformed
from foreshock.core.matchers import matches_all, parse_matchers
from foreshock.core.model import POINTS, Anomaly

KIND = "events"
"""The collector that reads what is made here."""

HOLDS = timedelta(minutes=25)
"""A deviation that lasts is told again every ten minutes."""


class AnomalyAlert(BaseModel):
    """Which anomalies become alerts; the first that fits counts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    match: str = Field(
        min_length=1,
        max_length=4096,
        description="matchers on metric, ci, dimension, unit and direction (up or down)",
        examples=['metric="availability", direction="down"'],
    )
    severity: str = Field(default="warning", min_length=1, max_length=64, description="of the alert")
    score: float = Field(
        default=0.0, ge=0, le=100, allow_inf_nan=False, description="how far it must deviate at least, in spreads"
    )

    @field_validator("match")
    @classmethod
    def _are_matchers(cls, match: str) -> str:
        try:
            if not parse_matchers(match):
                raise Invalid("it matches every anomaly", hint='write matchers such as metric="availability"')
        except Malformed as error:
            raise Invalid(str(error), hint=error.hint) from None
        return match


def alerts(anomalies: Iterable[Anomaly], rules: Sequence[AnomalyAlert], now: datetime) -> list[dict[str, Any]]:
    """Those that a rule makes alerts of, as events that the collector ``KIND`` reads."""
    read = [(parse_matchers(rule.match), rule) for rule in rules]
    found = []
    for anomaly in anomalies:
        said = {
            "metric": anomaly.metric,
            "ci": anomaly.ci,
            "dimension": anomaly.dimension,
            "unit": anomaly.unit,
            "direction": anomaly.direction.value,
        }
        rule = next((r for matchers, r in read if matches_all(matchers, said) and anomaly.score >= r.score), None)
        if rule is not None or (anomaly.until is not None and any(matches_all(m, said) for m, _ in read)):
            found.append(_event(anomaly, "" if rule is None else rule.severity, now))
    return found


def _event(anomaly: Anomaly, severity: str, now: datetime) -> dict[str, Any]:
    way = "above" if anomaly.direction.value == "up" else "below"
    name = "no points" if anomaly.metric == POINTS else f"{anomaly.metric} {way} its usual band"
    unit = f" {anomaly.unit}" if anomaly.unit else ""
    numbers = f"{anomaly.observed:.4g}{unit}, usually {anomaly.expected:.4g}{unit}"
    summary = f": {anomaly.said}" if anomaly.said else f" is {numbers}"
    labels = {
        "alertname": name,
        "instance": anomaly.ci,
        "metric": anomaly.metric,
        "dimension": anomaly.dimension,
    }
    over = anomaly.until is not None
    return {
        "labels": {name: value for name, value in labels.items() if value},
        "annotations": {
            "summary": f"{anomaly.metric} of {anomaly.ci}{summary}",
            "score": f"{anomaly.score:.1f}",
            "detector": anomaly.detector,
        },
        "status": "resolved" if over else "firing",
        "severity": severity,
        "starts_at": anomaly.onset,
        "ends_at": anomaly.until if over else now + HOLDS,
    }
