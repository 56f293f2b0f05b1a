"""A recorded outage of the PetShop application, as the alerts a Prometheus with thresholds.yaml would send.

When which alert fires follows from metrics.csv, normal.csv and thresholds.yaml alone; which node was the
cause is not in them. Offsets are seconds since the start of the recording. Nothing here reads a clock, so the
same files give the same alerts.
"""

import csv
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct
from ruamel.yaml import YAML

from foreshock.core.model import CI, Relationship
from foreshock.core.topology import Topology

FOLDER = Path(__file__).parent
TOPOLOGY_FILE = FOLDER / "topology.yaml"

_JOB = "petshop"
_SAMPLE_EVERY_S = 300.0
_RESENDS_HELD = 4
"""Prometheus dates a firing alert to end four resend delays after sending it: it expires if Prometheus dies
(https://github.com/prometheus/prometheus/blob/v3.0.0/rules/alerting.go, sendAlerts)."""


class DemoAlert(Struct, frozen=True, kw_only=True):
    """One sending of an alert: its start, a repeat while it fires, or its end.

    Attributes:
        offset_s: when it is sent.
        firing: False for the one sending that says the condition is over.
        labels: identity; ``service`` is the node's name in the recording, an alias in topology.yaml.
        annotations: ``summary`` and ``description`` with the latest value that fired and the normal
            value, both with their unit.
        starts_s: onset of this occurrence.
        duration_s: how long this occurrence lasts in all, known beforehand because it is a recording.
        resend_every_s: how often a firing alert is sent again.
    """

    offset_s: float
    firing: bool
    labels: dict[str, str]
    annotations: dict[str, str]
    starts_s: float
    duration_s: float
    resend_every_s: float

    @property
    def repeat(self) -> bool:
        """Sent again although nothing changed but perhaps the value."""
        return self.firing and self.offset_s > self.starts_s


class _Rule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    alert: str
    metric: Literal["latency", "availability", "requests"]
    stat: str
    direction: Literal["above", "below"]
    times_normal: float
    least_change: float
    severity: str
    what: str


class _Thresholds(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    version: Literal[1]
    resend_every_s: float
    rules: tuple[_Rule, ...]


class _TopologyFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    version: Literal[1]
    cis: tuple[CI, ...]
    relationships: tuple[Relationship, ...]


class _Normal(Struct, frozen=True, kw_only=True):
    """What a series was without a fault, in its own unit."""

    median: float
    p01: float
    p99: float


_Series = tuple[str, str, str]
"""node, metric, stat"""


def alerts() -> list[DemoAlert]:
    """Every sending of every alert, in order: each firing alert again once a minute, then one resolve.

    Of those due at the same moment the older ones come first.
    """
    return list(_alerts())


def recorded_span_s() -> float:
    """From the first sample to the last one."""
    return max(_offsets())


@cache
def topology() -> Topology:
    """topology.yaml as the graph that the alerts bind to."""
    file = msgspec.convert(_yaml(TOPOLOGY_FILE), _TopologyFile)
    return Topology(file.cis, file.relationships, version="demo")


def postable(alert: DemoAlert, started_at: datetime) -> dict[str, Any]:
    """The alert as Alertmanager's API v2 takes it (``postableAlert``).

    Args:
        started_at: aware time that offset 0 stands for.
    """
    assert started_at.tzinfo is not None, "started_at must be an aware time"
    if alert.firing:
        ends_s = alert.offset_s + _RESENDS_HELD * alert.resend_every_s
    else:
        ends_s = alert.starts_s + alert.duration_s
    return {
        "labels": dict(alert.labels),
        "annotations": dict(alert.annotations),
        "startsAt": _rfc3339(started_at, alert.starts_s),
        "endsAt": _rfc3339(started_at, ends_s),
        "generatorURL": "",
    }


@cache
def _alerts() -> tuple[DemoAlert, ...]:
    thresholds = msgspec.convert(_yaml(FOLDER / "thresholds.yaml"), _Thresholds)
    normals, samples = _normals(), _samples()
    sendings: list[DemoAlert] = []
    for rule in thresholds.rules:
        for (node, metric, stat), values in samples.items():
            normal = normals.get((node, metric, stat))
            if (metric, stat) == (rule.metric, rule.stat) and normal is not None:
                for occurrence in _occurrences(rule, values, normal):
                    sendings += _sendings(rule, node, occurrence, normal, thresholds.resend_every_s)
    sendings.sort(
        key=lambda alert: (alert.offset_s, alert.starts_s, alert.labels["service"], alert.labels["alertname"])
    )
    return tuple(sendings)


def _fires(rule: _Rule, value: float, normal: _Normal) -> bool:
    limit = rule.times_normal * normal.median
    if rule.direction == "above":
        return value > normal.p99 and value > limit and value - normal.median >= rule.least_change
    return value < normal.p01 and value < limit and normal.median - value >= rule.least_change


class _Occurrence(Struct, frozen=True, kw_only=True):
    """values: sample offset to the value that fired there, ascending. ends_s: when it no longer fires."""

    values: dict[float, float]
    ends_s: float


def _occurrences(rule: _Rule, values: Mapping[float, float], normal: _Normal) -> Iterator[_Occurrence]:
    """Runs of samples that fire. A sample without a value fires nothing, as in Prometheus."""
    firing: dict[float, float] = {}
    for offset_s in _offsets():
        value = values.get(offset_s)
        if value is not None and _fires(rule, value, normal):
            firing[offset_s] = value
        elif firing:
            yield _Occurrence(values=firing, ends_s=offset_s)
            firing = {}
    assert not firing, "the recording ends before this alert is over; take more samples into metrics.csv"


def _sendings(
    rule: _Rule, node: str, occurrence: _Occurrence, normal: _Normal, resend_every_s: float
) -> Iterator[DemoAlert]:
    labels = {"alertname": rule.alert, "service": node, "severity": rule.severity, "job": _JOB}
    starts_s, annotations = min(occurrence.values), {"summary": "", "description": ""}
    offset_s = starts_s
    while True:
        firing = offset_s < occurrence.ends_s
        if firing:
            latest_s = max(sampled_s for sampled_s in occurrence.values if sampled_s <= offset_s)
            annotations = _annotations(rule, node, occurrence.values[latest_s], normal)
        yield DemoAlert(
            offset_s=offset_s,
            firing=firing,
            labels=dict(labels),
            annotations=dict(annotations),
            starts_s=starts_s,
            duration_s=occurrence.ends_s - starts_s,
            resend_every_s=resend_every_s,
        )
        if not firing:
            return
        offset_s = min(offset_s + resend_every_s, occurrence.ends_s)


def _annotations(rule: _Rule, node: str, value: float, normal: _Normal) -> dict[str, str]:
    (ci,) = topology().named(node)
    name = topology().cis[ci].name
    observed, usual = _worded(rule.metric, value), _worded(rule.metric, normal.median)
    times = f" ({value / normal.median:.0f} times normal)" if value >= 2 * normal.median > 0 else ""
    far, edge = ("over", normal.p99) if rule.direction == "above" else ("under", normal.p01)
    return {
        "summary": f"{name}: {rule.what} is {observed}, normally {usual}{times}",
        "description": (
            f"Node {node}. The rule asks for {far} {rule.times_normal:g} times the normal median of {usual}, "
            f"at least {_worded(rule.metric, rule.least_change)} away from it, "
            f"and outside the range of normal, which ends at {_worded(rule.metric, edge)}."
        ),
    }


def _worded(metric: str, value: float) -> str:
    if metric == "latency":
        return f"{value:.1f} s" if value >= 1 else f"{value * 1000:.0f} ms"
    if metric == "availability":
        return f"{value:.1f} %"
    return f"{value:.0f} per {_SAMPLE_EVERY_S / 60:.0f} min"


def _rfc3339(started_at: datetime, offset_s: float) -> str:
    moment = started_at.astimezone(UTC) + timedelta(seconds=offset_s)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


# ---- files ------------------------------------------------------------------------------------------------


@cache
def _samples() -> dict[_Series, dict[float, float]]:
    found: dict[_Series, dict[float, float]] = {}
    for row in _rows("metrics.csv"):
        found.setdefault(_series(row), {})[float(row["offset_s"])] = float(row["value"])
    return found


@cache
def _offsets() -> tuple[float, ...]:
    """When samples were taken, ascending; the same for all series."""
    return tuple(sorted({offset_s for values in _samples().values() for offset_s in values}))


def _normals() -> dict[_Series, _Normal]:
    return {
        _series(row): _Normal(median=float(row["median"]), p01=float(row["p01"]), p99=float(row["p99"]))
        for row in _rows("normal.csv")
    }


def _series(row: Mapping[str, str]) -> _Series:
    return row["node"], row["metric"], row["stat"]


def _rows(name: str) -> list[dict[str, str]]:
    with (FOLDER / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _yaml(path: Path) -> Any:
    return YAML(typ="safe").load(path.read_text(encoding="utf-8"))
