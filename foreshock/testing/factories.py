"""Values for tests: every field has a sensible default, and a test names only what it is about.

``example_views`` is a whole console's worth of them: a storage failure, smaller incidents in every state, and an
incident whose texts come from somebody who would like to run a script in the reader's browser.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec.structs import replace

from foreshock.core.contracts import DeskNote, DeskRecord, DeskState, ForecastOutcome, ForecastRow
from foreshock.core.model import Anomaly, Cause, Contribution, Evidence, Forecast, Held, HeldKind
from foreshock.core.model import Direction as AnomalyDirection
from foreshock.service.views import (
    AlertView,
    DeadLetterView,
    ForecastView,
    ForeseenView,
    GraphEdge,
    GraphNode,
    GraphView,
    IncidentRow,
    IncidentView,
    JobView,
    OccurrenceView,
    PatternView,
    ProblemRecordView,
    SourceView,
    StatusView,
    TicketView,
    TimelineEntry,
    WhyView,
)
from foreshock.testing.fakes import MemoryViews

NOW = datetime(2026, 11, 22, 14, 5, tzinfo=UTC)
"""What the status page calls now."""

HOSTILE_SCRIPT = "<script>window.pwned=1</script><img src=x onerror=window.pwned=1>\"'><svg/onload=window.pwned=1>"
HOSTILE_TEMPLATE = "{{7*7}}{% raw %}${7*7}#{7*7}"
RIGHT_TO_LEFT = "שרת מסד הנתונים לא מגיב"
REVERSED_NAME = "invoice\u202egpj.exe"
LONG_LABEL = "/".join(["kubernetes", "namespaces"] + ["a-very-long-path-segment-without-a-break" * 3] * 6)
HOSTILE_URLS = (
    "javascript:window.pwned=1",
    "data:text/html,<script>window.pwned=1</script>",
    "//evil.example/x",
    "\tjavascript:window.pwned=1",
    "/\\evil.example",
    'https://x.example/"onmouseover="window.pwned=1',
)


def ago(minutes: float) -> datetime:
    return NOW - timedelta(minutes=minutes)


def make_status_view(**fields: Any) -> StatusView:
    defaults: dict[str, Any] = {
        "version": "0.1.0",
        "demo": False,
        "intake": "accepting",
        "started_at": NOW - timedelta(days=3, hours=4),
        "now": NOW,
        "position": 184_233,
        "lag_records": 0,
        "open_incidents": 0,
        "active_alerts": 0,
        "outbox_pending": 0,
        "outbox_oldest_s": 0.0,
        "dead_letters": 0,
        "topology_version": "9f2c41",
        "cis": 1_284,
        "relationships": 3_902,
        "topology_error": "",
        "jobs": (),
        "disk_free_bytes": 41_200_000_000,
        "disk_total_bytes": 120_000_000_000,
    }
    return StatusView(**{**defaults, **fields})


def make_ticket_view(number: str = "INC0000001", **fields: Any) -> TicketView:
    defaults: dict[str, Any] = {
        "sink": "desk",
        "state": "confirmed",
        "url": f"/incidents/{number}" if number else "",
        "open": True,
    }
    return TicketView(number=number, **{**defaults, **fields})


def make_incident_row(name: str = "S-1", **fields: Any) -> IncidentRow:
    opened_at = fields.get("opened_at", ago(12))
    cis = fields.get("cis", ("db1",))
    defaults: dict[str, Any] = {
        "title": "db1 does not answer",
        "state": "open",
        "priority": 3,
        "severity": "major",
        "opened_at": opened_at,
        "updated_at": opened_at,
        "age_s": (NOW - opened_at).total_seconds(),
        "cis": cis,
        "ci_count": len(cis),
        "alerts": 1,
        "active": 1,
        "events": 4,
        "cause": cis[0] if cis else "",
        "cause_score": 0.62,
        "assignment_group": "database",
        "held_by": "",
        "tickets": (),
    }
    return IncidentRow(id=name, **{**defaults, **fields})


def make_alert_view(fingerprint: str = "a1", **fields: Any) -> AlertView:
    defaults: dict[str, Any] = {
        "name": "InstanceDown",
        "summary": "",
        "state": "firing",
        "severity": "critical",
        "ci": "db1",
        "bound_by": "label instance is an alias of db1",
        "source": "prometheus",
        "labels": {"alertname": "InstanceDown", "instance": "db1:9100", "job": "node"},
        "annotations": {},
        "starts_at": ago(12),
        "ends_at": None,
        "last_seen": ago(1),
        "count": 4,
        "occurrences": 1,
        "url": "",
        "situation": "S-1",
        "why": WhyView(sentence="It opened this incident."),
    }
    return AlertView(fingerprint=fingerprint, **{**defaults, **fields})


def make_held(**fields: Any) -> Held:
    defaults: dict[str, Any] = {
        "kind": HeldKind.SILENCE,
        "id": "q1",
        "reason": "silenced by mira until 2026-11-22 16:00:00 UTC: weekly restore test",
        "until": NOW + timedelta(hours=2),
    }
    return Held(**{**defaults, **fields})


def make_desk_record(number: str = "INC0000001", **fields: Any) -> DeskRecord:
    defaults: dict[str, Any] = {
        "type": "incident",
        "key": "S-1",
        "title": "db1 does not answer",
        "description": "",
        "state": DeskState.NEW,
        "impact": 2,
        "urgency": 2,
        "priority": 3,
        "opened_at": ago(12),
        "updated_at": ago(12),
        "assignment_group": "database",
    }
    return DeskRecord(number=number, **{**defaults, **fields})


def make_anomaly(ci: str = "db1", metric: str = "latency", **fields: Any) -> Anomaly:
    defaults: dict[str, Any] = {
        "unit": "s",
        "onset": ago(14),
        "at": ago(13),
        "score": 12.0,
        "direction": AnomalyDirection.UP,
        "observed": 0.054,
        "expected": 0.012,
        "detector": "robust@1",
        "course": (0.012, 0.011, 0.013, 0.012, 0.047, 0.058, 0.054),
        "course_onset": 4,
    }
    return Anomaly(ci=ci, metric=metric, **{**defaults, **fields})


def make_incident_view(row: IncidentRow | None = None, **fields: Any) -> IncidentView:
    row = row or make_incident_row()
    defaults: dict[str, Any] = {
        "impact": 2,
        "urgency": 2,
        "priority_reason": "",
        "cleared_at": None,
        "resolved_at": None,
        "merged_into": "",
        "previous": "",
        "reopened": 0,
        "next_step": "",
        "cause_doubt": "",
        "causes": (),
        "evidence": (),
        "alerts": (make_alert_view(situation=row.id),),
        "timeline": (),
        "graph": GraphView(nodes=(), edges=()),
        "records": (),
        "notes": (),
    }
    return IncidentView(row=row, **{**defaults, **fields})


def make_source_view(name: str = "prometheus", **fields: Any) -> SourceView:
    defaults: dict[str, Any] = {
        "collector": "alertmanager",
        "title": "Prometheus, as if Foreshock were its Alertmanager",
        "path": "/api/v2/alerts",
        "last_seen": NOW - timedelta(seconds=12),
        "batches": 18_233,
        "events": 182_911,
        "rejected": 0,
    }
    return SourceView(name=name, **{**defaults, **fields})


def make_dead_letter_view(number: int = 1, **fields: Any) -> DeadLetterView:
    defaults: dict[str, Any] = {
        "record": 18_201,
        "item": 3,
        "at": ago(34),
        "source": "prometheus",
        "stage": "translate",
        "error": "the alert has no labels; send at least one label with a value; labels are its identity",
        "payload": '{"labels": {}, "startsAt": "2026-11-22T13:31:00Z"}',
    }
    return DeadLetterView(id=number, **{**defaults, **fields})


def make_pattern_view(id: str = "1f0c27a9d354", **fields: Any) -> PatternView:
    defaults: dict[str, Any] = {
        "problem": "P-1",
        "state": "open",
        "title": "Recurring: RaidDegraded on sto-2",
        "ci": "sto-2",
        "names": ("RaidDegraded",),
        "priority": 2,
        "assignment_group": "storage-oncall",
        "total": 3,
        "reason": "3rd time in 12 days; 3 in 30d are enough",
        "rate": "3 times in 12 days, every 6 days on average",
        "since": NOW - timedelta(days=12),
        "last_at": ago(40),
        "opened_at": ago(39),
        "quiet_since": None,
        "known_error": "controller hangs; fail over with INC0000040's runbook",
        "known_error_in": "PRB0000001",
        "records": (
            ProblemRecordView(
                sink="desk",
                number="PRB0000001",
                url="/problems/PRB0000001",
                state="confirmed",
                linked=3,
                ended="",
                known_error="",
                previous="",
            ),
        ),
        "occurrences": (
            OccurrenceView(
                situation="S-41",
                title="RaidDegraded on sto-2",
                priority=2,
                opened_at=ago(40),
                ended_at=None,
                how="",
                said="",
                label="",
                change="CHG77 firmware, 12 minutes before",
                tickets={"desk": "INC0000041"},
            ),
            OccurrenceView(
                situation="S-7",
                title="RaidDegraded on sto-2",
                priority=2,
                opened_at=NOW - timedelta(days=12),
                ended_at=NOW - timedelta(days=12) + timedelta(hours=1),
                how="closed by Mira Okafor as Fixed",
                said="replaced the battery",
                label="real",
                change="",
                tickets={"desk": "INC0000007"},
            ),
        ),
    }
    return PatternView(id=id, **{**defaults, **fields})


def make_forecast(ci: str = "db1", **fields: Any) -> Forecast:
    defaults: dict[str, Any] = {
        "made_at": ago(10),
        "probability": 0.82,
        "horizon_h": 24.0,
        "lead_time_h": 9.0,
        "model": "disk@3",
        "contributions": (
            Contribution(name="disk_used", points=1.9, evidence="91 % used, 2 % more each hour"),
            Contribution(name="growth", points=0.7, evidence="growing since 06:40, twice as fast as last week"),
            Contribution(name="cleanup", points=-0.4, evidence="the nightly clean-up frees 3 %"),
        ),
        "about": "disk_used mount=/var",
        "summary": "/var is full in 9 h (7 to 13 h)",
        "earliest_h": 7.0,
        "latest_h": 13.0,
    }
    return Forecast(ci=ci, **{**defaults, **fields})


def make_proactive_view(problem: str = "P-3", **fields: Any) -> PatternView:
    defaults: dict[str, Any] = {
        "kind": "proactive",
        "problem": problem,
        "state": "expected",
        "title": "Expected: disk_used mount=/var on db1",
        "ci": "db1",
        "names": (),
        "total": 0,
        "reason": "82%: /var is full in 9 h (7 to 13 h), says disk@3",
        "rate": "expected until 2026-11-23 13:55 UTC",
        "known_error": "",
        "known_error_in": "",
        "occurrences": (),
        "forecast": make_forecast(),
        "services": ("checkout",),
    }
    return make_pattern_view(problem, **{**defaults, **fields})


def make_forecast_view(forecast: Forecast | None = None, **fields: Any) -> ForecastView:
    forecast = forecast or make_forecast()
    defaults: dict[str, Any] = {
        "problem": "P-3",
        "reason": "",
        "entry": "F-9",
        "outcome": "expected",
        "until": forecast.made_at + timedelta(hours=forecast.horizon_h),
        "likely_at": forecast.made_at + timedelta(hours=forecast.lead_time_h),
        "services": ("checkout",),
        "team": "storage-oncall",
    }
    return ForecastView(forecast=forecast, **{**defaults, **fields})


def make_forecast_row(id: str = "F-1", outcome: str = "expired", *, lead_h: float = 4, **fields: Any) -> ForecastRow:
    """lead_h: hours from the first forecast to the outcome."""
    heard_at = fields.get("heard_at", NOW - timedelta(days=3))
    defaults: dict[str, Any] = {
        "model": "disk@3",
        "ci": "db1",
        "about": "disk_used mount=/var",
        "summary": "/var is full in 9 h (7 to 13 h)",
        "services": ("checkout",),
        "team": "storage-oncall",
        "heard_at": heard_at,
        "until": heard_at + timedelta(hours=24),
        "probability": 0.82,
        "horizon_h": 24.0,
        "lead_time_h": 9.0,
        "problem": f"P-{id.removeprefix('F-')}",
        "outcome": ForecastOutcome(outcome),
        "ended_at": None if outcome == "expected" else heard_at + timedelta(hours=lead_h),
    }
    return ForecastRow(id=id, **{**defaults, **fields})


def _forecasts() -> list[ForecastView]:
    speaks = (
        Contribution(name="reallocated", points=1.2, evidence="reallocated sectors: 0 to 24 in six days"),
        Contribution(name="age", points=0.3, evidence="five years in use"),
    )
    nodes = make_forecast("esx-3", model="nodes@7", about="", summary="", probability=0.74, horizon_h=168.0,
                          lead_time_h=60.0, earliest_h=None, latest_h=None, contributions=speaks)  # fmt: skip
    late = make_forecast("db-orders", made_at=ago(190), lead_time_h=2.5, earliest_h=1.0, latest_h=6.0,
                         horizon_h=8.0, summary="connections of pool orders run out in 2 h (1 to 6 h)",
                         about="pool orders", contributions=(), probability=0.93)  # fmt: skip
    hostile = make_forecast(HOSTILE_SCRIPT, about=HOSTILE_SCRIPT, summary=f"{HOSTILE_SCRIPT} {RIGHT_TO_LEFT}",
                            model="<script>window.pwned=1</script>@1", contributions=(
                                Contribution(name=HOSTILE_SCRIPT, points=1e308, evidence=HOSTILE_TEMPLATE),
                                Contribution(name=REVERSED_NAME, points=-1e308, evidence=LONG_LABEL[:500]),
                            ))  # fmt: skip
    unlikely = make_forecast("esx-4", model="nodes@7", about="", summary="", probability=0.31)
    return [
        make_forecast_view(),
        make_forecast_view(nodes, problem="P-4", entry="F-10", services=("checkout", "catalogue", "login")),
        make_forecast_view(late, problem="P-5", entry="F-11"),
        make_forecast_view(hostile, problem="P-6", entry="F-12", services=(HOSTILE_SCRIPT,), team=HOSTILE_SCRIPT),
        make_forecast_view(unlikely, problem="", entry="", outcome="", reason="31%, and 70% are needed"),
        make_forecast_view(hostile, problem="", entry="F-13", reason=f"S-41 is open there already {HOSTILE_SCRIPT}"),
    ]


def _forecast_entries() -> list[ForecastRow]:
    def at(days: float) -> datetime:
        return NOW - timedelta(days=days)

    nodes: dict[str, Any] = {
        "model": "nodes@7",
        "about": "",
        "summary": "",
        "ci": "esx-3",
        "services": ("checkout", "login"),
    }
    return [
        make_forecast_row("F-1", "confirmed", heard_at=at(20), lead_h=6.5, situation="S-42"),
        make_forecast_row("F-2", "confirmed", heard_at=at(12), lead_h=11, situation="S-44", probability=0.91),
        make_forecast_row("F-3", "reached", heard_at=at(9), lead_h=2, probability=0.97),
        make_forecast_row("F-4", "expired", heard_at=at(7), lead_h=24, probability=0.71),
        make_forecast_row("F-5", "withdrawn", heard_at=at(5), lead_h=5, problem="", reason="max_open is 0", **nodes),
        make_forecast_row("F-6", "confirmed", heard_at=at(4), lead_h=40, situation="S-43", **nodes),
        make_forecast_row("F-7", "unknown", heard_at=at(3), **nodes),
        make_forecast_row("F-8", "expired", heard_at=at(2), ci=HOSTILE_SCRIPT, summary=HOSTILE_SCRIPT,
                          model="<script>window.pwned=1</script>@1", services=(HOSTILE_SCRIPT,), team=RIGHT_TO_LEFT,
                          reason=LONG_LABEL[:200], problem=""),
        make_forecast_row("F-9", "expected", heard_at=ago(10)),
    ]  # fmt: skip


def _hostile_pattern() -> PatternView:
    first = make_pattern_view().occurrences[0]
    bad = replace(first, title=HOSTILE_SCRIPT, how=RIGHT_TO_LEFT, said=HOSTILE_SCRIPT, change=HOSTILE_SCRIPT)
    return make_pattern_view(
        "0badc0de",
        problem="",
        state="watched",
        title=HOSTILE_SCRIPT,
        ci=HOSTILE_SCRIPT,
        reason="2 of 3 in 30d",
        known_error=HOSTILE_SCRIPT,
        known_error_in=RIGHT_TO_LEFT,
        opened_at=None,
        records=(),
        occurrences=(bad,),
    )


def example_views() -> MemoryViews:
    """A console's worth of data around ``NOW``."""
    return MemoryViews(
        status=make_status_view(
            lag_records=2,
            outbox_pending=1,
            outbox_oldest_s=4.0,
            jobs=(
                JobView(
                    name="topology sync",
                    started_at=ago(9),
                    ended_at=ago(9) + timedelta(seconds=1.4),
                    ok=True,
                    error="",
                    next_at=ago(-1),
                ),
                JobView(
                    name="retention",
                    started_at=ago(184),
                    ended_at=ago(183.9),
                    ok=False,
                    error="the store has 1.2 GB free, 2 GB are needed; free space or shorten retention.days",
                    next_at=ago(-56),
                ),
                JobView(name="checkpoint", started_at=None, ended_at=None, ok=False, error="", next_at=ago(-4)),
            ),
        ),
        incidents=[_storage_failure(), *_smaller_incidents(), _hostile_incident()],
        problems=[
            make_desk_record(
                "PRB0000001",
                type="problem",
                key="",
                title="Controller firmware 7.2 hangs under rebuild load",
                description="Third time this quarter, see INC0000040.\nVendor case 4411 is open.",
                state=DeskState.IN_PROGRESS,
                priority=2,
                opened_at=NOW - timedelta(days=6),
                updated_at=ago(340),
                assignment_group="storage-oncall",
                assignee="Mira Okafor",
                ci="sto-2",
            ),
            make_desk_record(
                "PRB0000002",
                type="problem",
                key="",
                title=HOSTILE_SCRIPT,
                description=RIGHT_TO_LEFT,
                priority=4,
                assignment_group="",
                opened_at=NOW - timedelta(days=2),
            ),
        ],
        patterns=[
            make_pattern_view(),
            make_pattern_view("2c", problem="P-2", state="quiet", quiet_since=ago(60), records=()),
            make_proactive_view(),
            make_proactive_view("P-4", state="withdrawn"),
            _hostile_pattern(),
        ],
        forecasts=_forecasts(),
        forecast_entries=_forecast_entries(),
        sources=[
            make_source_view(),
            make_source_view(
                "am-eu",
                collector="alertmanager_webhook",
                title="Alertmanager, through its webhook receiver",
                path="/api/v1/collect/alertmanager",
                batches=811,
                events=3_402,
                rejected=7,
                last_error="item 2: label 'path' has 2911 bytes, 2048 are allowed",
            ),
            make_source_view(
                "events",
                collector="events",
                title="Foreshock's own event format",
                path="/api/v1/events",
                last_seen=None,
                batches=0,
                events=0,
            ),
        ],
        dead_letters=[
            make_dead_letter_view(),
            make_dead_letter_view(2, error=HOSTILE_SCRIPT, payload=f"{HOSTILE_SCRIPT}\n{LONG_LABEL}\n{REVERSED_NAME}"),
            make_dead_letter_view(
                3, stage="delivery", source="servicenow", error="HTTP 400: assignment_group 'dba' is not a group"
            ),
        ],
    )


def _storage_failure() -> IncidentView:
    hosts = ("esx-3", "esx-4")
    databases = ("db-orders", "db-stock", "db-users")
    services = ("checkout", "catalogue", "login")
    alerts = [
        make_alert_view(
            "c0ffee01",
            name="StorageControllerOffline",
            summary="Both controllers of sto-2 lost quorum",
            ci="sto-2",
            starts_at=ago(14),
            situation="S-41",
            source="storage-exporter",
            url="https://prometheus.example/graph?g0.expr=up",
            labels={"alertname": "StorageControllerOffline", "array": "sto-2", "site": "fra-1", "severity": "critical"},
            annotations={
                "runbook_url": "https://runbooks.example/storage#quorum",
                "summary": "Both controllers lost quorum",
            },
            bound_by="label array is the name of sto-2",
        )
    ]
    for index, host in enumerate(hosts):
        alerts.append(
            _linked(
                f"c0ffee1{index}",
                "DatastoreInaccessible",
                "major",
                host,
                (host, "sto-2"),
                ("stored_on",),
                22 + 3 * index,
                0.86,
            )
        )
    for index, database in enumerate(databases):
        path = (database, hosts[index % 2], "sto-2")
        alerts.append(
            _linked(
                f"c0ffee2{index}",
                "PostgresDown",
                "critical",
                database,
                path,
                ("runs_on", "stored_on"),
                41 + 9 * index,
                0.71,
            )
        )
    for index, service in enumerate(services):
        way = (service, databases[index], hosts[index % 2], "sto-2")
        alerts.append(
            _linked(
                f"c0ffee3{index}",
                "ErrorBudgetBurn",
                "minor",
                service,
                way,
                ("depends_on", "runs_on", "stored_on"),
                96 + 31 * index,
                0.58,
            )
        )
    alerts[-1] = replace(alerts[-1], state="resolved", ends_at=ago(3))
    alerts[4] = replace(alerts[4], held=(make_held(),))
    nodes = [
        GraphNode(id="sto-2", label="sto-2", kind="storage array", role="cause", severity="critical", level=0),
        GraphNode(id="san-a", label="san-a", kind="switch", role="context", severity="", level=0),
        *(GraphNode(id=ci, label=ci, kind="hypervisor", role="affected", severity="major", level=1) for ci in hosts),
        GraphNode(id="esx-5", label="esx-5", kind="hypervisor", role="context", severity="", level=1),
        *(
            GraphNode(id=ci, label=ci, kind="database", role="affected", severity="critical", level=2)
            for ci in databases
        ),
        *(GraphNode(id=ci, label=ci, kind="service", role="affected", severity="minor", level=3) for ci in services),
    ]
    edges = [
        *(GraphEdge(source=host, target="sto-2", type="stored_on") for host in hosts),
        GraphEdge(source="esx-5", target="san-a", type="connects_to"),
        *(GraphEdge(source=db, target=hosts[i % 2], type="runs_on") for i, db in enumerate(databases)),
        *(GraphEdge(source=service, target=databases[i], type="depends_on") for i, service in enumerate(services)),
        GraphEdge(source="checkout", target="db-stock", type="depends_on"),
    ]
    title = "Storage array sto-2 offline: 3 databases down, checkout and 2 more services failing"
    row = make_incident_row(
        "S-41",
        title=title,
        priority=1,
        severity="critical",
        opened_at=ago(13.5),
        updated_at=ago(1),
        cis=("sto-2", "esx-3", "esx-4", "db-orders", "db-stock"),
        ci_count=9,
        alerts=9,
        active=8,
        events=412,
        cause="sto-2",
        cause_score=0.91,
        assignment_group="storage-oncall",
        services=services,
        tickets=(
            make_ticket_view("INC0000041", assignee="Mira Okafor"),
            make_ticket_view(
                "INC0098812", sink="servicenow", url="https://corp.service-now.example/nav_to.do?uri=incident"
            ),
        ),
    )
    record = make_desk_record(
        "INC0000041",
        key="S-41",
        title=title,
        priority=1,
        impact=1,
        urgency=1,
        state=DeskState.IN_PROGRESS,
        assignee="Mira Okafor",
        assignment_group="storage-oncall",
        ci="sto-2",
    )
    return make_incident_view(
        row,
        impact=1,
        urgency=1,
        priority_reason="checkout (criticality 1) depends on an affected CI; 8 alerts fire, worst critical",
        cause_doubt="",
        foreseen=(ForeseenView(problem="P-3", lead_s=16_500.0, forecast=make_forecast("sto-2"), words="by P-3"),),
        next_step="Update INC0000041 if a further service joins; resolve 5 min after the last alert clears.",
        evidence=(
            Evidence(anomaly=make_anomaly("sto-2", "disk_latency", dimension="volume=vol7"), path=("esx-3", "sto-2")),
            Evidence(
                anomaly=make_anomaly(
                    "esx-3", "run_queue", until=ago(4), course=(), said="92 of 100, full about 12:44 UTC"
                ),
                path=("esx-3",),
            ),
        ),
        causes=(
            Cause(
                ci="sto-2",
                score=0.91,
                contributions=(
                    Contribution(name="upstream", points=0.38, evidence="8 of 8 other affected CIs depend on it"),
                    Contribution(name="onset", points=0.29, evidence="failed first, 22 s before esx-3"),
                    Contribution(name="severity", points=0.14, evidence="critical: StorageControllerOffline"),
                    Contribution(
                        name="recent_change", points=0.10, evidence="CHG0031 firmware 7.2, finished 18 min earlier"
                    ),
                ),
            ),
            Cause(
                ci="esx-3",
                score=0.44,
                contributions=(
                    Contribution(name="upstream", points=0.21, evidence="4 affected CIs depend on it"),
                    Contribution(name="onset", points=0.18, evidence="failed second"),
                    Contribution(name="severity", points=0.05, evidence="major: DatastoreInaccessible"),
                ),
            ),
            Cause(
                ci="db-orders",
                score=0.17,
                contributions=(Contribution(name="severity", points=0.17, evidence="critical: PostgresDown"),),
            ),
        ),
        alerts=tuple(alerts),
        timeline=(
            TimelineEntry(
                at=ago(14), lane="alert", actor="", action="firing", text="StorageControllerOffline on sto-2"
            ),
            TimelineEntry(
                at=ago(13.63), lane="alert", actor="", action="joined", text="DatastoreInaccessible on esx-3"
            ),
            TimelineEntry(
                at=ago(13.5), lane="incident", actor="", action="opened", text="S-41 with 2 alerts, priority 3"
            ),
            TimelineEntry(at=ago(13), lane="ticket", actor="desk", action="opened", text="INC0000041"),
            TimelineEntry(at=ago(12.9), lane="ticket", actor="servicenow", action="opened", text="INC0098812"),
            TimelineEntry(
                at=ago(12.4), lane="incident", actor="", action="priority_raised", text="3 to 1: checkout is affected"
            ),
            TimelineEntry(at=ago(11), lane="person", actor="Mira Okafor", action="took", text="INC0000041"),
            TimelineEntry(
                at=ago(6), lane="person", actor="Mira Okafor", action="commented", text="Vendor on the line."
            ),
            TimelineEntry(at=ago(3), lane="alert", actor="", action="resolved", text="ErrorBudgetBurn on login"),
        ),
        graph=GraphView(nodes=tuple(nodes), edges=tuple(edges), left_out=4),
        records=(record,),
        notes=(
            DeskNote(
                at=ago(13),
                author="",
                text="Opened for S-41. Likely cause sto-2 (0.91): 8 of 8 affected CIs depend on it.",
            ),
            DeskNote(
                at=ago(6),
                author="Mira Okafor",
                text="Vendor on the line. Same picture as PRB0000001.\nFailover in 10 min.",
            ),
        ),
    )


def _linked(
    fingerprint: str,
    name: str,
    severity: str,
    ci: str,
    path: tuple[str, ...],
    relations: tuple[str, ...],
    gap_s: float,
    strength: float,
) -> AlertView:
    return make_alert_view(
        fingerprint,
        name=name,
        severity=severity,
        ci=ci,
        situation="S-41",
        starts_at=ago(14) + timedelta(seconds=gap_s),
        labels={"alertname": name, "instance": f"{ci}:9100", "job": "node", "severity": severity},
        bound_by=f"label instance is an alias of {ci}",
        why=WhyView(
            sentence=f"{ci} needs {path[-1]}, which failed {gap_s:.0f} s earlier",
            path=path,
            relations=relations,
            strength=strength,
            threshold=0.5,
            gap_s=float(gap_s),
            rule="topology@1",
            other="c0ffee01",
        ),
    )


def _smaller_incidents() -> list[IncidentView]:
    rows = [
        make_incident_row(
            "S-43",
            title="core-sw-1 loses packets on both uplinks",
            priority=2,
            opened_at=ago(47),
            cis=("core-sw-1", "core-sw-2"),
            alerts=6,
            active=6,
            events=1_204,
            cause="core-sw-1",
            cause_score=0.74,
            assignment_group="network-oncall",
            tickets=(make_ticket_view("INC0000043"),),
        ),
        make_incident_row(
            "S-44",
            title="Certificate of api.shop.example ends in 6 days",
            priority=4,
            severity="warning",
            opened_at=ago(310),
            cis=("api-gateway",),
            cause_score=0.35,
            assignment_group="platform",
            tickets=(make_ticket_view("", state="unknown", sink="servicenow"),),
        ),
        make_incident_row(
            "S-45",
            title="checkout answers slower than its objective",
            priority=3,
            severity="minor",
            opened_at=NOW - timedelta(seconds=38),
            cis=("checkout",),
            assignment_group="shop",
            cause="",
            cause_score=0.0,
            held_by="it may still recover by itself, 22 s left",
        ),
        make_incident_row(
            "S-38",
            title="Disk of db-archive-1 full in about 9 h (forecast)",
            priority=3,
            severity="warning",
            opened_at=ago(95),
            cis=("db-archive-1",),
            assignment_group="database",
            cause="db-archive-1",
            cause_score=0.66,
            tickets=(
                make_ticket_view(
                    "", state="rejected", sink="servicenow", error="assignment_group 'dba' is not a group"
                ),
            ),
        ),
        make_incident_row(
            "S-12",
            title="Fan speed low in rack 14",
            priority=5,
            severity="info",
            opened_at=NOW - timedelta(days=2, hours=3),
            cis=("rack-14",),
            cause="",
            assignment_group="",
            held_by="maintenance window 'rack 14 recabling' until 18:00",
        ),
        make_incident_row(
            "S-40",
            title="Backups of eu-west failed",
            priority=2,
            state="resolved",
            opened_at=ago(400),
            age_s=5_400.0,
            active=0,
            alerts=14,
            cis=("backup-1",),
            tickets=(make_ticket_view("INC0000040", open=False),),
        ),
        make_incident_row(
            "S-42", title="esx-3 lost its datastore", state="merged", opened_at=ago(13), active=0, age_s=40.0
        ),
    ]
    views = []
    for row in rows:
        numbers = [ticket.number for ticket in row.tickets if ticket.number]
        state = DeskState.RESOLVED if row.state == "resolved" else DeskState.NEW
        views.append(
            make_incident_view(
                row,
                merged_into="S-41" if row.state == "merged" else "",
                records=tuple(
                    make_desk_record(number, key=row.id, title=row.title, priority=row.priority, state=state)
                    for number in numbers
                ),
                alerts=(make_alert_view(f"b0{row.id[2:]}", situation=row.id, ci=row.cis[0]),),
                causes=(Cause(ci=row.cause, score=row.cause_score, contributions=()),) if row.cause else (),
            )
        )
    return views


def _hostile_incident() -> IncidentView:
    row = make_incident_row(
        "S-66",
        title=f"{HOSTILE_SCRIPT} {HOSTILE_TEMPLATE}",
        priority=4,
        opened_at=ago(4),
        cis=(HOSTILE_SCRIPT, RIGHT_TO_LEFT, REVERSED_NAME, LONG_LABEL),
        cause=LONG_LABEL,
        assignment_group=RIGHT_TO_LEFT,
        services=(HOSTILE_SCRIPT, LONG_LABEL),
        tickets=(
            make_ticket_view("INC0000066", assignee=HOSTILE_SCRIPT),
            *(make_ticket_view(f"X-{index}", url=url, sink="webhook") for index, url in enumerate(HOSTILE_URLS)),
        ),
    )
    alerts = [
        make_alert_view(
            f"bad{index}",
            name=HOSTILE_SCRIPT if index == 0 else RIGHT_TO_LEFT if index == 1 else f"Hostile{index}",
            summary=HOSTILE_SCRIPT,
            ci=LONG_LABEL if index == 2 else REVERSED_NAME,
            situation=row.id,
            source=HOSTILE_SCRIPT,
            url=url,
            labels={
                "alertname": HOSTILE_SCRIPT,
                HOSTILE_SCRIPT: LONG_LABEL,
                "name": REVERSED_NAME,
                "host": RIGHT_TO_LEFT,
            },
            annotations={"summary": HOSTILE_TEMPLATE, "nul": "a\x00b\x1b[31m"},
            why=WhyView(
                sentence=HOSTILE_SCRIPT,
                path=(LONG_LABEL, HOSTILE_SCRIPT),
                relations=(HOSTILE_SCRIPT,),
                strength=7.0,
                threshold=-1.0,
                rule=HOSTILE_SCRIPT,
                other=HOSTILE_SCRIPT,
            ),
        )
        for index, url in enumerate(HOSTILE_URLS)
    ]
    return make_incident_view(
        row,
        priority_reason=HOSTILE_SCRIPT,
        cause_doubt=HOSTILE_TEMPLATE,
        next_step=HOSTILE_TEMPLATE,
        foreseen=(
            ForeseenView(problem=HOSTILE_SCRIPT, lead_s=0.0, forecast=make_forecast(summary=HOSTILE_SCRIPT), words=""),
        ),
        evidence=(
            Evidence(
                anomaly=make_anomaly(
                    LONG_LABEL,
                    HOSTILE_SCRIPT,
                    dimension=RIGHT_TO_LEFT,
                    unit=HOSTILE_SCRIPT,
                    observed=1e300,
                    expected=0.0,
                    course=(0.0, -1e300, 1e300),
                    detector=HOSTILE_SCRIPT,
                ),
                path=(HOSTILE_SCRIPT, LONG_LABEL),
            ),
        ),
        causes=(
            Cause(
                ci=LONG_LABEL,
                score=1.0,
                contributions=(Contribution(name=HOSTILE_SCRIPT, points=1.0, evidence=LONG_LABEL),),
            ),
        ),
        alerts=tuple(alerts),
        timeline=(
            TimelineEntry(at=ago(2), lane=HOSTILE_SCRIPT, actor=RIGHT_TO_LEFT, action=HOSTILE_SCRIPT, text=LONG_LABEL),
        ),
        graph=GraphView(
            nodes=(
                GraphNode(
                    id=HOSTILE_SCRIPT, label=HOSTILE_SCRIPT, kind=HOSTILE_SCRIPT, role="cause", severity="x", level=0
                ),
                GraphNode(id=LONG_LABEL, label=LONG_LABEL, kind="host", role="affected", severity="major", level=1),
                GraphNode(id=RIGHT_TO_LEFT, label=RIGHT_TO_LEFT, kind="host", role="context", severity="", level=1),
            ),
            edges=(
                GraphEdge(source=LONG_LABEL, target=HOSTILE_SCRIPT, type=HOSTILE_SCRIPT),
                GraphEdge(source=RIGHT_TO_LEFT, target=LONG_LABEL, type="uses"),
            ),
        ),
        records=(
            make_desk_record(
                "INC0000066",
                key=row.id,
                title=HOSTILE_SCRIPT,
                assignee=HOSTILE_SCRIPT,
                assignment_group=LONG_LABEL,
                resolution_note=HOSTILE_SCRIPT,
                resolution_code=HOSTILE_SCRIPT,
            ),
        ),
        notes=(
            DeskNote(at=ago(1), author=HOSTILE_SCRIPT, text=f"{HOSTILE_SCRIPT}\n{RIGHT_TO_LEFT}\n{LONG_LABEL} S-41"),
        ),
    )
