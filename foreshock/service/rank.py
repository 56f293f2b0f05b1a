"""``foreshock rank``: the causes of incidents whose window is known, from recorded alerts, metrics and a topology.

The ranking is that of the engine (``correlation.cause``), with its defaults. A spec says which table and column is
what; all that differs between data sets is in it. What an incident is judged by: its alerts, how rare they are among
those of all windows, and how far metrics moved on what the broken thing depends on.
"""

import csv
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal, Self

from msgspec import Struct
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from correlation import cause
from correlation.bind import bind
from correlation.settings import CorrelationSettings
from correlation.usual import Usual
from foreshock.connect.config import did_you_mean
from foreshock.core.errors import Invalid
from foreshock.core.identity import fingerprint
from foreshock.core.model import CI, Alert, Anomaly, Cause, Direction, Relationship, Samples, Series, encode_texts
from foreshock.core.severity import Severity, parse_severity
from foreshock.core.topology import DIRECTIONS, Topology
from foreshock.service.recorded import AlertColumns, labels_of, read_time
from foreshock.store.rows import read_table

_FAR = 12.0
"""Cost of the longest walk from what broke to a metric that may tell why: a call may go through many hands."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str = Field(description="name within the data folder: .csv, .jsonl, either with .gz, or .parquet")
    scope: str = Field(
        default="", description="column that says to which part of the estate a row belongs; all rows where empty"
    )


class IssueTable(_Table):
    """The incidents to rank causes for: a window each, or the moment and place where something broke."""

    id: str = Field(default="issue_id", description="identifies an incident")
    start: str = Field(default="", description="when its window begins")
    end: str = Field(default="", description="when its window ends")
    time: str = Field(default="", description="when it broke, in place of a window")
    node: str = Field(default="", description="what broke")
    metric: str = Field(default="", description="the metric that broke")
    dimension: str = Field(default="", description="which of the series of that metric")

    @model_validator(mode="after")
    def _tells_when(self) -> Self:
        if not self.start and not self.time:
            raise Invalid(
                "neither `start` nor `time` is given", hint="name the column that tells when it began or broke"
            )
        return self


class AlertTable(_Table):
    columns: AlertColumns


class NodeTable(_Table):
    node: str = "node"
    type: str = Field(default="", description="CI type")


class RelationshipTable(_Table):
    source: str = "source"
    target: str = "target"
    relation: str = Field(default="", description="relationship type, see `relations`")
    type: str = Field(default="depends_on", description="the type of all rows where there is no column for it")

    @field_validator("type")
    @classmethod
    def _is_known(cls, type: str) -> str:
        if type not in DIRECTIONS:
            raise Invalid(f"{type!r} is not a relationship type", hint=did_you_mean(type, tuple(DIRECTIONS)))
        return type


class TopologyTables(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    nodes: NodeTable | None = None
    relationships: RelationshipTable
    kinds: dict[str, str] = Field(default_factory=dict, description="CI types: theirs to ours")
    relations: dict[str, str] = Field(default_factory=dict, description="relationship types: theirs to ours")
    implied: tuple[str, ...] = Field(
        default=(), description="patterns of nodes that are known only by what others say of them: *_remote"
    )


class MetricTable(_Table):
    issue: str = Field(default="", description="column that says to which incident a row belongs")
    time: str = "time"
    node: str = "node"
    metric: str = "metric"
    dimension: str = Field(default="", description="which of several series of a metric")
    value: str = "value"


class MetricTables(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    windows: MetricTable
    normal: MetricTable | None = Field(default=None, description="recordings without incidents")
    worse: dict[str, Direction] = Field(
        description="the metrics that tell how well a CI does, and which way is worse; others, like load, are left out"
    )


class RankSpec(BaseModel):
    """A spec file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = 1
    issues: IssueTable
    topology: TopologyTables
    alerts: AlertTable | None = None
    metrics: MetricTables | None = None


class Ranked(Struct, frozen=True):
    """What was found for one incident. doubt: why none is named, in words; empty where the first is."""

    issue: str
    causes: tuple[Cause, ...]
    doubt: str


class _Issue(Struct, frozen=True, kw_only=True):
    id: str
    scope: str
    start: datetime
    end: datetime
    node: str
    metric: str
    dimension: str


def rank(spec: RankSpec, data: Path, settings: CorrelationSettings | None = None) -> Iterator[Ranked]:
    """The causes of each incident, in the order of the table. Raises ConfigError for what cannot be read."""
    chosen = settings or CorrelationSettings()
    issues = list(_issues(spec.issues, data))
    topologies = _Topologies(spec.topology, data, chosen)
    alerts = _Alerts(spec.alerts, data, issues, topologies, chosen) if spec.alerts else None
    metrics = _Metrics(spec.metrics, data, issues) if spec.metrics else None
    for issue in issues:
        topology = topologies.of(issue.scope)
        members = alerts.of(issue) if alerts else []
        if issue.node:
            members = [*members, _breach(issue, topology, chosen)]
        causes = cause.rank(
            members,
            topology,
            settings=chosen.cause,
            binding=chosen.bind,
            timing=chosen.relate,
            usual=alerts.usual[issue.scope] if alerts else None,
            anomalies=metrics.of(issue, topologies.far(issue.scope)) if metrics else (),
            focus=issue.metric,
        )
        yield Ranked(issue.id, causes, cause.doubt(causes, chosen.cause))


def write(ranked: Iterable[Ranked], out: Path) -> tuple[int, int]:
    """causes.csv; how many incidents there are, and for how many a cause is named."""
    issues = named = 0
    with out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("issue_id", "rank", "node", "score", "reason"))
        for each in ranked:
            issues, named = issues + 1, named + (not each.doubt)
            for place, found in enumerate(each.causes, 1):
                writer.writerow((each.issue, place, found.ci, found.score, found.reason))
    return issues, named


def _issues(spec: IssueTable, data: Path) -> Iterator[_Issue]:
    names = (spec.id, spec.scope, spec.node, spec.metric, spec.dimension)
    begins = spec.start or spec.time
    table = read_table(data / spec.file, [*names, begins, spec.end])
    starts = table.read(begins, read_time)
    ends = table.read(spec.end, read_time) if spec.end else starts
    for start, end, *texts in zip(starts, ends, *map(table.texts, names), strict=True):
        id, scope, node, metric, dimension = texts
        yield _Issue(id=id, scope=scope, start=start, end=end, node=node, metric=metric, dimension=dimension)


# ---- topology -------------------------------------------------------------------------------------------------------


class _Topologies:
    """One for each scope."""

    def __init__(self, tables: TopologyTables, data: Path, settings: CorrelationSettings) -> None:
        self._settings = settings.relate
        self._cis: dict[str, dict[str, CI]] = defaultdict(dict)
        self._relationships: dict[str, list[Relationship]] = defaultdict(list)
        self._built: dict[tuple[str, float], Topology] = {}
        self._read_relationships(tables, data)
        if tables.nodes is not None:
            names = (tables.nodes.scope, tables.nodes.node, tables.nodes.type)
            table = read_table(data / tables.nodes.file, names)
            for scope, id, theirs in zip(*map(table.texts, names), strict=True):
                self._cis[scope][id] = self._ci(id, tables.kinds.get(theirs, theirs) or "generic", tables)

    def _read_relationships(self, tables: TopologyTables, data: Path) -> None:
        spec = tables.relationships
        names = (spec.scope, spec.source, spec.target)
        table = read_table(data / spec.file, [*names, spec.relation])

        def ours(theirs: str) -> str:
            kind = tables.relations.get(theirs, theirs)
            if kind not in DIRECTIONS:
                hint = f"write what it is under topology.relations; known: {', '.join(DIRECTIONS)}"
                raise Invalid(f"{theirs!r} is not a relationship type", hint=hint)
            return kind

        kinds = table.read(spec.relation, ours) if spec.relation else [spec.type] * table.size
        for kind, scope, source, target in zip(kinds, *map(table.texts, names), strict=True):
            self._relationships[scope].append(Relationship(source=source, type=kind, target=target))
            for end in (source, target):
                self._cis[scope].setdefault(end, self._ci(end, "generic", tables))

    def of(self, scope: str) -> Topology:
        return self._build(scope, self._settings.max_cost)

    def far(self, scope: str) -> Topology:
        """With walks as long as metrics need."""
        return self._build(scope, _FAR)

    def _build(self, scope: str, max_cost: float) -> Topology:
        found = self._built.get((scope, max_cost))
        if found is None:
            found = self._built[scope, max_cost] = Topology(
                self._cis[scope].values(),
                self._relationships[scope],
                costs=self._settings.costs,
                max_cost=max_cost,
            )
        return found

    @staticmethod
    def _ci(node: str, kind: str, tables: TopologyTables) -> CI:
        return CI(id=node, kind=kind, implied=any(fnmatchcase(node, pattern) for pattern in tables.implied))


# ---- alerts ---------------------------------------------------------------------------------------------------------


class _Alerts:
    """Alerts by scope in order of time, and how rare each condition is among those of all windows.

    usual: learned as if the windows had followed one another, for nothing is known of the time between them.
    """

    def __init__(
        self,
        spec: AlertTable,
        data: Path,
        issues: Sequence[_Issue],
        topologies: _Topologies,
        settings: CorrelationSettings,
    ) -> None:
        self._by_scope: dict[str, list[Alert]] = defaultdict(list)
        for scope, at, severity, labels in _alert_rows(spec, data):
            self._by_scope[scope].append(_made(labels, at, severity, topologies.of(scope), settings))
        for alerts in self._by_scope.values():
            alerts.sort(key=lambda alert: (alert.starts_at, alert.fingerprint))
        self.usual: dict[str, Usual] = defaultdict(Usual)
        watched: dict[str, datetime] = defaultdict(lambda: datetime(1970, 1, 1, tzinfo=UTC))
        for issue in sorted(issues, key=lambda issue: (issue.start, issue.id)):
            start = watched[issue.scope]
            for alert in self.of(issue):
                name = cause.name_of(alert.read_labels())
                self.usual[issue.scope].note(alert.fingerprint, name, start + (alert.starts_at - issue.start))
            watched[issue.scope] = start + max(issue.end - issue.start, timedelta(seconds=1))
        for scope, until in watched.items():
            self.usual[scope].stop(until)

    def of(self, issue: _Issue) -> list[Alert]:
        """Those that begin in its window, each condition once."""
        found: dict[str, Alert] = {}
        for alert in self._by_scope[issue.scope]:
            if issue.start <= alert.starts_at <= issue.end:
                found.setdefault(alert.fingerprint, alert)
        return list(found.values())


def _alert_rows(spec: AlertTable, data: Path) -> Iterator[tuple[str, datetime, Severity, dict[str, str]]]:
    """(scope, time, severity, labels)."""
    columns = spec.columns
    given = (spec.scope, columns.time, columns.node, columns.name, columns.severity)
    table = read_table(data / spec.file, [*given, *columns.labels.values()])
    times, scopes = table.read(columns.time, read_time), table.texts(spec.scope)
    severities = map(parse_severity, table.texts(columns.severity))
    for scope, at, severity, labels in zip(scopes, times, severities, labels_of(table, columns), strict=True):
        yield scope, at, severity, {name: value for name, value in labels.items() if value}


def _breach(issue: _Issue, topology: Topology, settings: CorrelationSettings) -> Alert:
    """What is known to have broken, as the alert it would be."""
    labels = {"alertname": f"{issue.metric or 'service level'} breached", "ci": issue.node}
    return _made(labels, issue.start, Severity.CRITICAL, topology, settings)


def _made(
    labels: dict[str, str], at: datetime, severity: Severity, topology: Topology, settings: CorrelationSettings
) -> Alert:
    return Alert(
        fingerprint=fingerprint(labels),
        source="rank",
        labels=bytes(encode_texts(labels)),
        annotations=b"{}",
        severity=severity,
        starts_at=at,
        first_seen=at,
        last_seen=at,
        ci=bind(labels, topology, settings.bind).ci,
    )


# ---- metrics --------------------------------------------------------------------------------------------------------

_Place = tuple[str, str, str]


class _Metrics:
    """Recorded series: those of each incident, and those that tell what moves anyway."""

    def __init__(self, tables: MetricTables, data: Path, issues: Sequence[_Issue]) -> None:
        self._windows = _samples(tables.windows, tables.worse, data)
        self._normal: dict[_Place, list[Samples]] = defaultdict(list)
        if tables.normal is not None:
            for recorded in _samples(tables.normal, tables.worse, data).values():
                for place, samples in recorded.items():
                    self._normal[place].append(samples)
        # Before each incident nothing was wrong: that is a short recording of what is usual.
        self._before: dict[_Place, list[tuple[str, Samples]]] = defaultdict(list)
        for issue in issues:
            for place, samples in self._windows.get(issue.id, {}).items():
                calm = [at for at in samples.times if at < issue.start.timestamp()]
                if calm:
                    part = Samples(series=samples.series, times=calm, values=samples.values[: len(calm)])
                    self._before[place].append((issue.id, part))

    def of(self, issue: _Issue, topology: Topology) -> list[Anomaly]:
        """What moved on the CIs that the broken one depends on, however far."""
        from predictor.shift import moved

        here = self._windows.get(issue.id, {})
        concerned = topology.upstream(issue.node) if issue.node else None
        dimensions = {metric for _, metric, dimension in here if dimension == issue.dimension}
        window = [
            samples
            for (node, metric, dimension), samples in sorted(here.items())
            if (concerned is None or node in concerned)
            and (not issue.dimension or dimension == issue.dimension or metric not in dimensions)
        ]
        usual = {
            place: [*self._normal[place], *(part for id, part in self._before[place] if id != issue.id)]
            for place in here
        }
        return moved(window, usual, issue.start.timestamp())


def _samples(spec: MetricTable, worse: Mapping[str, Direction], data: Path) -> dict[str, dict[_Place, Samples]]:
    """By incident, or by scope where there is no such column; times in order."""
    names = (spec.issue or spec.scope, spec.node, spec.metric, spec.dimension)
    table = read_table(data / spec.file, [*names, spec.time, spec.value])
    times, values = table.read(spec.time, read_time), table.read(spec.value, _value)
    points: dict[str, dict[_Place, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
    for at, value, *texts in zip(times, values, *map(table.texts, names), strict=True):
        whose, node, metric, dimension = texts
        if metric in worse and value is not None:
            points[whose][node, metric, dimension].append((at.timestamp(), value))
    return {
        whose: {
            (node, metric, dimension): _series(node, metric, dimension, worse[metric], sorted(found))
            for (node, metric, dimension), found in places.items()
        }
        for whose, places in points.items()
    }


def _value(value: Any) -> float | None:
    """None where nothing was measured. Raises Invalid."""
    if value is None or value == "":
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise Invalid(f"{str(value)[:40]!r} is no number", hint="leave it empty where nothing was measured") from None
    return number if math.isfinite(number) else None


def _series(node: str, metric: str, dimension: str, worse: Direction, points: Sequence[tuple[float, float]]) -> Samples:
    return Samples(
        series=Series(ci=node, metric=metric, dimension=dimension, worse=worse),
        times=[at for at, _ in points],
        values=[value for _, value in points],
    )
