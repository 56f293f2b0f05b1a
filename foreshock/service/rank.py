"""``foreshock rank``: the causes of incidents whose window is known, from recorded alerts, metrics and a topology.

The ranking is that of the engine (``correlation.cause``), with its defaults. A spec says which table and column is
what; all that differs between data sets is in it. What an incident is judged by: its alerts, how rare they are among
those of all windows, and how far metrics moved on what the broken thing depends on.
"""

import csv
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct
from pydantic import BaseModel, ConfigDict, Field

from correlation import cause
from correlation.bind import bind
from correlation.settings import CorrelationSettings
from correlation.usual import Usual
from foreshock.core.errors import ConfigError, Problem
from foreshock.core.identity import fingerprint
from foreshock.core.model import CI, Alert, Anomaly, Cause, Direction, Relationship, Samples, Series, encode_texts
from foreshock.core.severity import Severity, parse_severity
from foreshock.core.topology import DIRECTIONS, Topology
from foreshock.service.replay import AlertColumns, labels_of, read_time
from foreshock.store.rows import read_columns

_FAR = 12.0
"""Cost of the longest walk from what broke to a metric that may tell why: a call may go through many hands."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str = Field(description="name within the data folder: .csv, .csv.gz or .parquet")
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


def _issues(table: IssueTable, data: Path) -> Iterator[_Issue]:
    names = [name for name in table.model_dump(exclude={"file"}).values() if name]
    for row in _rows(data / table.file, names):
        start = read_time(row[table.start or table.time])
        yield _Issue(
            id=str(row[table.id]),
            scope=_text(row, table.scope),
            start=start,
            end=read_time(row[table.end]) if table.end else start,
            node=_text(row, table.node),
            metric=_text(row, table.metric),
            dimension=_text(row, table.dimension),
        )


def _rows(path: Path, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    columns = read_columns(path, names)
    for values in zip(*columns.values(), strict=True):
        yield dict(zip(columns, values, strict=True))


def _text(row: Mapping[str, Any], column: str) -> str:
    return str(row[column] if row[column] is not None else "") if column else ""


# ---- topology -------------------------------------------------------------------------------------------------------


class _Topologies:
    """One for each scope."""

    def __init__(self, tables: TopologyTables, data: Path, settings: CorrelationSettings) -> None:
        self._settings = settings.relate
        self._cis: dict[str, dict[str, CI]] = defaultdict(dict)
        self._relationships: dict[str, list[Relationship]] = defaultdict(list)
        self._built: dict[tuple[str, float], Topology] = {}
        table = tables.relationships
        path = data / table.file
        names = [name for name in (table.scope, table.source, table.target, table.relation) if name]
        for row in _rows(path, names):
            theirs = _text(row, table.relation)
            kind = tables.relations.get(theirs, theirs) if table.relation else table.type
            if kind not in DIRECTIONS:
                hint = f"write what it is under topology.relations; known: {', '.join(DIRECTIONS)}"
                problem = Problem(
                    file=str(path), line=None, path=theirs, message="is not a relationship type", hint=hint
                )
                raise ConfigError([problem])
            source, target = _text(row, table.source), _text(row, table.target)
            scope = _text(row, table.scope)
            self._relationships[scope].append(Relationship(source=source, type=kind, target=target))
            for end in (source, target):
                self._cis[scope].setdefault(end, self._ci(end, "generic", tables))
        if tables.nodes is not None:
            nodes = tables.nodes
            for row in _rows(data / nodes.file, [name for name in (nodes.scope, nodes.node, nodes.type) if name]):
                theirs = _text(row, nodes.type)
                node = self._ci(_text(row, nodes.node), tables.kinds.get(theirs, theirs) or "generic", tables)
                self._cis[_text(row, nodes.scope)][node.id] = node

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
        table: AlertTable,
        data: Path,
        issues: Sequence[_Issue],
        topologies: _Topologies,
        settings: CorrelationSettings,
    ) -> None:
        columns = table.columns
        wanted = [table.scope, columns.time, columns.node, columns.name, columns.severity, *columns.labels.values()]
        self._by_scope: dict[str, list[Alert]] = defaultdict(list)
        for row in _rows(data / table.file, [name for name in wanted if name]):
            scope = _text(row, table.scope)
            self._by_scope[scope].append(_alert(row, columns, topologies.of(scope), settings))
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


def _alert(row: Mapping[str, Any], columns: AlertColumns, topology: Topology, settings: CorrelationSettings) -> Alert:
    labels = {name: value for name, value in labels_of(row, columns).items() if value}
    severity = parse_severity(_text(row, columns.severity)) if columns.severity else Severity.UNKNOWN
    return _made(labels, read_time(row[columns.time]), severity, topology, settings)


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


def _samples(table: MetricTable, worse: Mapping[str, Direction], data: Path) -> dict[str, dict[_Place, Samples]]:
    """By incident, or by scope where there is no such column; times in order."""
    names = (table.issue or table.scope, table.time, table.node, table.metric, table.dimension, table.value)
    columns = read_columns(data / table.file, [name for name in names if name])
    nothing = [""] * len(columns[table.time])
    points: dict[str, dict[_Place, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
    for whose, at, node, metric, dimension, value in zip(
        *(columns[name] if name else nothing for name in names), strict=True
    ):
        if metric in worse and value not in (None, ""):
            points[str(whose)][node, metric, str(dimension)].append((read_time(at).timestamp(), float(value)))
    return {
        whose: {
            (node, metric, dimension): _series(node, metric, dimension, worse[metric], sorted(found))
            for (node, metric, dimension), found in places.items()
        }
        for whose, places in points.items()
    }


def _series(node: str, metric: str, dimension: str, worse: Direction, points: Sequence[tuple[float, float]]) -> Samples:
    return Samples(
        series=Series(ci=node, metric=metric, dimension=dimension, worse=worse),
        times=[at for at, _ in points],
        values=[value for _, value in points],
    )
