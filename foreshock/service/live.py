"""Answers people's questions from the running engine and the store."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from correlation.feedback import witness
from correlation.variants import whole
from foreshock import __version__
from foreshock.core.contracts import (
    AuditRow,
    Collector,
    DeskAction,
    DeskBook,
    DeskNote,
    DeskRecord,
    ForecastRow,
    NewRecord,
    Outcome,
    RecordKind,
)
from foreshock.core.errors import Rejected, Unavailable
from foreshock.core.model import (
    Alert,
    Ended,
    Judgement,
    JudgementKind,
    SituationState,
)
from foreshock.service import feedback, ledger, patterns, reasons, shown, sources
from foreshock.service.engine import Engine
from foreshock.service.inbox import Inbox
from foreshock.service.intake import Rejections
from foreshock.service.ledger import Ledger, Per
from foreshock.service.posted import PostedPoints
from foreshock.service.reasons import Found
from foreshock.service.records import OperatorRecord, Statement
from foreshock.service.reload import LastReload
from foreshock.service.report import By, Report, of_period
from foreshock.service.runner import Runner
from foreshock.service.settings import CollectorInstance
from foreshock.service.views import (
    AgainstView,
    AlertView,
    DeadLetterView,
    ExplainView,
    ForecastView,
    IncidentRow,
    IncidentView,
    JobView,
    ListeningView,
    PatternView,
    PayloadView,
    SourceView,
    StatusView,
)
from foreshock.store.store import Store

_MAX_PAYLOAD = 4096
_MAX_SHOWN = 65_536
_NOT_HEARD: Mapping[str, Any] = {"last_seen": None, "batches": 0, "events": 0}


class LiveViews:
    """Implements ``Views`` and ``Actions``.

    Args:
        rejections: requests the intake refused whole, by source. proofs: requests by source and what proved them.
        configured: sources that the settings name. polled: those that are asked. listened: those that are listened to,
            by name. posted: points of metrics, by source.
        jobs: the scheduler's jobs now.
        closed: why the intake takes nothing, or None.
        backlog: (pending orders, age of the oldest in seconds).
        poke: asks the delivery lanes to look at once.
        topology_error: why the newest topology could not be loaded; empty if it was.
        last_reload: how the last reload of settings and rules went.
        disk: (size, free) of the disk with the store, in bytes.
        foresees: which model foresees incidents, or why none does.
    """

    def __init__(
        self,
        *,
        runner: Runner,
        inbox: Inbox,
        store: Store,
        book: DeskBook,
        collectors: Mapping[str, Collector],
        clock: Callable[[], datetime],
        rejections: Callable[[], Mapping[str, Rejections]],
        proofs: Callable[[], Mapping[str, Mapping[str, int]]],
        configured: Callable[[], Iterable[CollectorInstance]],
        polled: Callable[[], Iterable[SourceView]],
        listened: Callable[[], Mapping[str, ListeningView]],
        posted: Callable[[], Mapping[str, PostedPoints]],
        jobs: Callable[[], Iterable[JobView]],
        closed: Callable[[], tuple[str, int] | None],
        backlog: Callable[[], tuple[int, float]],
        poke: Callable[[], None],
        topology_error: Callable[[], str],
        last_reload: Callable[[], LastReload],
        disk: Callable[[], tuple[int, int]],
        foresees: Callable[[], str],
        demo: bool,
    ) -> None:
        self._runner, self._inbox, self._store, self._book = runner, inbox, store, book
        self._collectors, self._clock = collectors, clock
        self._rejections, self._polled, self._jobs, self._closed, self._backlog = (
            rejections,
            polled,
            jobs,
            closed,
            backlog,
        )
        self._configured, self._listened, self._posted = configured, listened, posted
        self._poke, self._topology_error, self._disk, self._demo = poke, topology_error, disk, demo
        self._last_reload, self._foresees = last_reload, foresees
        self._past = _Stored(store)
        self._started_at = clock()
        self._proofs = proofs

    # ---- Views ----

    def _up_to_date(self) -> None:
        """Every answer includes what was acknowledged before the question."""
        if not self._runner.caught_up(self._inbox.last):
            raise Unavailable(
                f"{self._runner.lag} records are not reflected yet", hint="ask again in a moment", retry_after_s=5
            )

    def status(self) -> StatusView:
        closed, (pending, oldest_s) = self._closed(), self._backlog()
        dead_letters = self._store.count_dead_letters()
        size, free = self._disk()
        reload, foresees = self._last_reload(), self._foresees()
        with self._runner.looking() as engine:
            return StatusView(
                version=__version__,
                demo=self._demo,
                intake="accepting" if closed is None else closed[0],
                started_at=self._started_at,
                now=self._clock(),
                position=self._runner.position,
                lag_records=self._runner.lag,
                open_incidents=sum(s.state is SituationState.OPEN for s in engine.situations.values()),
                active_alerts=engine.active,
                outbox_pending=pending,
                outbox_oldest_s=oldest_s,
                dead_letters=dead_letters,
                topology_version=engine.topology.version,
                cis=len(engine.topology.cis),
                relationships=len(engine.topology.relationships),
                topology_error=self._topology_error(),
                rules=tuple(rule.tag for rule in engine.rules if rule.tag not in engine.budget.suspended),
                rules_suspended=dict(engine.budget.suspended),
                reloaded_at=reload.succeeded_at,
                reload_error=reload.error,
                jobs=tuple(self._jobs()),
                disk_free_bytes=free,
                disk_total_bytes=size,
                foresees=foresees,
            )

    def incidents(self, *, state: str = "open", limit: int = 200, parent: str = "") -> list[IncidentRow]:
        self._up_to_date()
        now = self._clock()
        wanted = {
            "open": (SituationState.OPEN,),
            "resolved": (SituationState.RESOLVED,),
            "merged": (SituationState.MERGED,),
        }.get(state, tuple(SituationState))
        with self._runner.looking() as engine:
            held = [
                s
                for s in engine.situations.values()
                if s.state in wanted and (s.parent if s.state is SituationState.OPEN else "") == parent
            ]
            held.sort(
                key=lambda s: (
                    s.state is not SituationState.OPEN,
                    s.priority if s.state is SituationState.OPEN else 0,
                    -s.opened_at.timestamp(),
                )
            )
            rows = [shown.row(s, engine.members(s), engine, now) for s in held[:limit]]
        ended = [s.value for s in wanted if s is not SituationState.OPEN and not parent]
        if ended and len(rows) < limit:
            listed = {row.id for row in rows}
            for stored in self._store.situations(states=ended, limit=limit):
                if stored.id not in listed and stored.body is not None and len(rows) < limit:
                    past = msgspec.json.decode(stored.body, type=Ended)
                    rows.append(shown.row(past.situation, past.alerts, None, now))
        return rows

    def incident(self, id: str) -> IncidentView | None:
        self._up_to_date()
        found = self._find(id)
        if found is None:
            return None
        situation = found.situation
        record = self._book.by_key(situation.id)
        records = tuple(filter(None, (record, self._book.get(record.problem) if record and record.problem else None)))
        notes = tuple(self._book.notes(record.number)) if record else ()
        trail = self._past.trail(situation.id)
        judgements = self._past.judgements(situation.id)
        now = self._clock()
        with self._runner.looking() as engine:
            alerts = found.alerts
            if found.live:
                situation = engine.situations.get(situation.id, situation)
                alerts = tuple(engine.members(situation)) or alerts
            return shown.incident(
                engine,
                situation,
                alerts,
                live=found.live,
                trail=trail,
                judgements=judgements,
                records=records,
                notes=notes,
                now=now,
            )

    def alert(self, fingerprint: str) -> AlertView | None:
        self._up_to_date()
        with self._runner.looking() as engine:
            alert = engine.alerts.get(fingerprint)
            if alert is None:
                return None
            alert = whole(alert)
            situation = engine.situations.get(alert.situation)
            why = shown.member_why(engine, situation, alert) if situation else None
            case = engine.suppression.case(situation, engine.members(situation), engine.now) if situation else None
            return shown.alert_view(alert, engine, why, case)

    def explain(self, id: str) -> ExplainView:
        self._up_to_date()
        with self._runner.looking() as engine:
            return reasons.why(engine, self._past, id, self._clock())

    def against(self, id: str, other: str) -> list[AgainstView]:
        self._up_to_date()
        with self._runner.looking() as engine:
            return reasons.why_not(engine, self._past, id, other)

    def sources(self) -> list[SourceView]:
        self._up_to_date()
        rejected, proofs = self._rejections(), self._proofs()
        found: dict[str, SourceView] = {
            c.kind: SourceView(
                name=c.kind,
                collector=c.kind,
                title=c.title,
                path=c.receive.path,
                last_seen=None,
                batches=0,
                events=0,
                rejected=0,
            )
            for c in self._collectors.values()
            if c.receive
        }
        with self._runner.looking() as engine:
            counts = {name: msgspec.structs.replace(count) for name, count in engine.sources.items()}
            facts = {name: sources.facts(engine, name) for name in counts}
        posted = self._posted()
        for name in sorted({*counts, *rejected, *posted}):
            count, refused, points = counts.get(name), rejected.get(name), posted.get(name)
            kind = count.collector if count else points.kind if points else name if name in self._collectors else ""
            collector = self._collectors.get(kind)
            found[name] = SourceView(
                name=name,
                collector=kind,
                title=collector.title if collector else "refused requests only",
                path=_path(name, collector),
                rejected=(count.rejected if count else 0) + (refused.requests if refused else 0),
                last_error=(refused.last_error if refused else "") or (count.last_error if count else ""),
                refused=refused.by if refused else {},
                proofs=dict(proofs.get(name, {})),
                **facts.get(name, _NOT_HEARD),
            )
            if points is not None:
                found[name] = _with_points(found[name], points)
        for polled in self._polled():
            found[polled.name] = _with_polled(found.get(polled.name), polled)
        for name, listening in self._listened().items():
            found[name] = _with_listening(found.get(name), listening)
        for instance in self._configured():
            found[instance.name] = _as_configured(found.get(instance.name), self._collectors[instance.kind], instance)
        return list(found.values())

    def last_payload(self, source: str) -> PayloadView | None:
        record = self._store.journal.last_of(source)
        if record is None:
            return None
        return PayloadView(
            record=record.number,
            at=record.at,
            source=record.source,
            collector=record.collector,
            actor=record.actor,
            bytes=len(record.body),
            payload=record.body[:_MAX_SHOWN].decode("utf-8", "replace"),
        )

    def dead_letters(self, *, limit: int = 200) -> list[DeadLetterView]:
        self._up_to_date()
        return [
            DeadLetterView(
                id=id,
                record=letter.record,
                item=letter.item,
                at=letter.at,
                source=letter.source,
                stage=letter.stage,
                error=letter.error,
                payload=letter.payload[:_MAX_PAYLOAD].decode("utf-8", "replace"),
            )
            for id, letter in self._store.dead_letters(limit=limit)
        ]

    def problems(self, *, limit: int = 200) -> list[DeskRecord]:
        return list(self._book.list(type="problem", limit=limit))

    def patterns(self, *, watched: bool = False, limit: int = 200) -> list[PatternView]:
        self._up_to_date()
        with self._runner.looking() as engine:
            return patterns.listed(engine, watched=watched, limit=limit)

    def pattern(self, name: str) -> PatternView | None:
        self._up_to_date()
        with self._runner.looking() as engine:
            return patterns.show(engine, name)

    def record(self, number: str) -> tuple[DeskRecord, list[DeskNote]] | None:
        record = self._book.get(number)
        return None if record is None else (record, list(self._book.notes(number)))

    def linked(self, problem: str) -> list[DeskRecord]:
        return list(self._book.list(problem=problem))

    def judgements(self, *, incident: str = "", limit: int = 200) -> list[Judgement]:
        self._up_to_date()
        return self._store.judgements(situation=incident, limit=limit)

    def report(self, begin: datetime | None, end: datetime | None, by: By | None) -> Report:
        self._up_to_date()
        return of_period(self._store, self._clock(), begin, end, by)

    def forecasts(self, *, limit: int = 200) -> list[ForecastView]:
        self._up_to_date()
        with self._runner.looking() as engine:
            found = [patterns.forecast(engine, heard) for heard in engine.forecasts.heard.values()]
        return sorted(found, key=lambda each: (each.likely_at, each.forecast.ci, each.entry))[:limit]

    def forecast_entries(
        self, *, limit: int = 100, model: str = "", ci: str = "", outcome: str = "", ended: bool = False
    ) -> list[ForecastRow]:
        self._up_to_date()
        return self._store.forecasts(limit=limit, ended=ended, model=model, ci=ci, outcome=outcome)

    def ledger(self, begin: datetime | None, end: datetime | None, by: Per, *, problems_only: bool = True) -> Ledger:
        self._up_to_date()
        return ledger.of_period(self._store, self._clock(), begin, end, by, problems_only=problems_only)

    # ---- Actions ----

    def act(self, number: str, action: DeskAction, *, actor: str, text: str = "", code: str = "") -> DeskRecord:
        record = self._book.act(number, action, actor=actor, at=self._clock(), text=text, code=code)
        self._poke()
        return record

    def open_problem(self, incident: str, *, actor: str, title: str = "") -> DeskRecord:
        found = self._find(incident)
        if found is not None and (record := self._book.by_key(found.situation.id)) is not None:
            incident = record.number
        elif found is not None:
            raise Rejected(f"{incident} has no record on the desk yet", hint="wait for its ticket, or lower its delay")
        problem = self._book.open_problem(incident, actor=actor, at=self._clock(), title=title)
        self._poke()
        return problem

    def judge(self, said: Statement, *, actor: str) -> Judgement:
        self._up_to_date()
        said = self._spelled_out(said)
        with self._runner.looking() as engine:
            meant = feedback.meaning(engine, said)
        if meant.outcome and not meant.one:
            raise Rejected(meant.outcome, hint="see the incident's page for its alerts and their fingerprints")
        body = msgspec.json.encode(OperatorRecord(judge=said))
        number = self._inbox.append_now(NewRecord(kind=RecordKind.OPERATOR, body=body, source="feedback", actor=actor))
        judged = self._store.judgement(number) if self._runner.caught_up(number) else None
        if judged is None:
            raise Unavailable("it is on disk, and not reflected yet", hint="look at the incident in a moment")
        self._poke()
        return judged

    def _spelled_out(self, said: Statement) -> Statement:
        """With ids for names, and with the alerts of what only the store remembers. Raises Rejected for a name that
        means nothing or several things."""
        situations, past = [], {}
        for name in (said.situation, said.other):
            found = self._find(name) if name else None
            if name and found is None:
                raise Rejected(f"there is no incident {name!r}", hint="list them with foreshock incidents list")
            situations.append(found.situation.id if found else "")
            if found:
                past[found.situation.id] = tuple(witness(alert) for alert in found.alerts)
        with self._runner.looking() as engine:
            past = {id: alerts for id, alerts in past.items() if id not in engine.situations}
            known = [one.fingerprint for each in past.values() for one in each] + list(engine.alerts)
            alerts = tuple(_whole(known, start) for start in said.alerts)
            if said.kind is JudgementKind.MOVE and not said.situation and alerts and alerts[0] in engine.alerts:
                situations[0] = engine.alerts[alerts[0]].situation
            cis = tuple(_ci(engine, name) for name in said.cis)
        return msgspec.structs.replace(
            said, situation=situations[0], other=situations[1], alerts=alerts, cis=cis, past=past
        )

    # ---- parts ----

    def _find(self, id: str) -> Found | None:
        """By situation id or ticket number."""
        with self._runner.looking() as engine:
            return reasons.find_situation(engine, self._past, id)


class _Stored:
    """The past as the store has it; implements ``reasons.Past``."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def ended(self, situation: str) -> Ended | None:
        stored = self._store.situation(situation)
        return None if stored is None or stored.body is None else msgspec.json.decode(stored.body, type=Ended)

    def holding(self, matches: Callable[[Alert], bool]) -> Ended | None:
        """None: it may be long, and alerts have no index in it."""

    def numbered(self, ticket: str) -> str | None:
        return self._store.situation_of_ticket(ticket)

    def trail(self, situation: str) -> list[AuditRow]:
        return self._store.audit(situation)

    def judgements(self, situation: str) -> list[Judgement]:
        return self._store.judgements(situation=situation, limit=reasons.MAX_JUDGEMENTS)


def _with_points(source: SourceView, points: PostedPoints) -> SourceView:
    """It posts points of metrics, of which the engine does not hear."""
    heard = [each for each in (source.last_seen, points.last_at) if each is not None]
    return msgspec.structs.replace(source, last_seen=max(heard), batches=source.batches + points.batches)


def _with_polled(source: SourceView | None, polled: SourceView) -> SourceView:
    """Visits to a source, beside what the engine knows of it where it brought events too, or posts besides."""
    if source is None:
        return polled
    heard = [each for each in (source.last_seen, polled.last_seen) if each is not None]
    return msgspec.structs.replace(
        source,
        title=polled.title,
        last_seen=max(heard, default=None),
        batches=max(source.batches, polled.batches),
        events=max(source.events, polled.events),
        rejected=max(source.rejected, polled.rejected),
        last_error=polled.last_error or source.last_error,
    )


def _with_listening(source: SourceView | None, listening: ListeningView) -> SourceView:
    """What the engine knows of a source, where it has heard of it, beside what its listener does."""
    source = source or SourceView(
        name=listening.name, collector=listening.collector, title=listening.title, path="", rejected=0, **_NOT_HEARD
    )
    heard = [each for each in (source.last_seen, listening.last_heard) if each is not None]
    return msgspec.structs.replace(
        source,
        last_seen=max(heard, default=None),
        rejected=source.rejected + listening.counts.get(Outcome.REJECTED.value, 0),
        last_error=listening.problem or source.last_error,
        listening=listening,
    )


def _as_configured(source: SourceView | None, collector: Collector, instance: CollectorInstance) -> SourceView:
    """A source that the settings name is shown although nobody has heard of it."""
    source = source or SourceView(
        name=instance.name,
        collector=collector.kind,
        title=collector.title,
        path=_path(instance.name, collector),
        rejected=0,
        **_NOT_HEARD,
    )
    return msgspec.structs.replace(source, configured=True)


def _path(name: str, collector: Collector | None) -> str:
    """Where the source posts; empty if it does not."""
    if collector is None or collector.receive is None:
        return ""
    return ("" if name == collector.kind else f"/s/{name}") + collector.receive.path


def _whole(known: Iterable[str], start: str) -> str:
    """The one fingerprint that begins with ``start``."""
    found = dict.fromkeys(fingerprint for fingerprint in known if fingerprint.startswith(start))
    if start in found or len(found) == 1:
        return start if start in found else next(iter(found))
    if found:
        raise Rejected(f"{len(found)} alerts begin with {start!r}", hint="give more of the fingerprint")
    raise Rejected(f"there is no alert {start!r}", hint="its incident's page shows the fingerprint")


def _ci(engine: Engine, name: str) -> str:
    """The CI that goes by this name, in the topology or only in alerts."""
    found = engine.topology.named(name)
    if len(found) > 1:
        raise Rejected(f"{len(found)} CIs go by the name {name!r}: {', '.join(found[:5])}", hint="give the id of one")
    if not found and all(alert.ci != name for alert in engine.alerts.values()):
        raise Rejected(f"there is no CI {name!r}", hint="neither the topology nor an alert names it")
    return found[0] if found else name
