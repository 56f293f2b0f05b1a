"""Stand-ins that keep everything in memory."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from msgspec.structs import replace

from foreshock.core.contracts import DeskAction, DeskNote, DeskRecord, DeskState, ForecastRow, Outcome, SituationRow
from foreshock.core.errors import Missing, Rejected
from foreshock.core.model import Judgement, Samples, Witness
from foreshock.service import ledger
from foreshock.service.ledger import Ledger, Per
from foreshock.service.records import Statement
from foreshock.service.report import By, Report, of_period
from foreshock.service.views import (
    AgainstView,
    AlertView,
    DeadLetterView,
    ExplainView,
    ForecastView,
    IncidentRow,
    IncidentView,
    PatternView,
    PayloadView,
    SourceView,
    StatusView,
    TimelineEntry,
)

_NEXT = {
    DeskAction.TAKE: DeskState.IN_PROGRESS,
    DeskAction.WAIT: DeskState.PENDING,
    DeskAction.RESOLVE: DeskState.RESOLVED,
    DeskAction.REOPEN: DeskState.IN_PROGRESS,
    DeskAction.CLOSE: DeskState.CLOSED,
}
_ALLOWED = {
    DeskAction.TAKE: {DeskState.NEW, DeskState.IN_PROGRESS, DeskState.PENDING},
    DeskAction.WAIT: {DeskState.NEW, DeskState.IN_PROGRESS},
    DeskAction.COMMENT: {DeskState.NEW, DeskState.IN_PROGRESS, DeskState.PENDING, DeskState.RESOLVED},
    DeskAction.RESOLVE: {DeskState.NEW, DeskState.IN_PROGRESS, DeskState.PENDING},
    DeskAction.REOPEN: {DeskState.RESOLVED},
    DeskAction.CLOSE: {DeskState.RESOLVED},
    DeskAction.KNOWN_ERROR: set(DeskState),
}


class MemoryHistory:
    """A ``report.History``."""

    def __init__(self, *rows: SituationRow, **tallied: int) -> None:
        self._rows, self._tallied = rows, tallied

    def opened_between(self, begin: datetime, end: datetime) -> Iterable[SituationRow]:
        return [row for row in self._rows if begin <= row.opened_at < end]

    def tallied(self, begin: datetime, end: datetime) -> Mapping[str, int]:
        return self._tallied


class MemoryLedger(MemoryHistory):
    """A ``ledger.Kept``."""

    def __init__(self, entries: Sequence[ForecastRow], *rows: SituationRow) -> None:
        super().__init__(*rows)
        self._entries = entries

    def forecasts_between(self, begin: datetime, end: datetime, *, problems_only: bool) -> Iterable[ForecastRow]:
        return [row for row in self._entries if begin <= row.heard_at < end and (row.problem or not problems_only)]

    def first_forecast(self) -> datetime | None:
        return min((row.heard_at for row in self._entries), default=None)


class MemoryViews:
    """``Views`` and ``Actions`` over what a test puts in; actions change it as the desk would.

    Each action happens one second after the one before, starting at ``status.now``.
    """

    def __init__(
        self,
        *,
        status: StatusView,
        incidents: Iterable[IncidentView] = (),
        problems: Iterable[DeskRecord] = (),
        sources: Iterable[SourceView] = (),
        dead_letters: Iterable[DeadLetterView] = (),
        patterns: Iterable[PatternView] = (),
        forecasts: Iterable[ForecastView] = (),
        forecast_entries: Iterable[ForecastRow] = (),
    ) -> None:
        self._status = status
        self._incidents = {view.row.id: view for view in incidents}
        self._problems: dict[str, tuple[DeskRecord, tuple[DeskNote, ...]]] = {
            record.number: (record, ()) for record in problems
        }
        self._sources = list(sources)
        self._patterns = list(patterns)
        self._forecasts, self._entries = list(forecasts), list(forecast_entries)
        self._dead_letters = list(dead_letters)
        self._now = status.now
        self._judgements: list[Judgement] = []

    # ---- what a test changes ----

    def put(self, view: IncidentView) -> None:
        """Add an incident, or put this one in the place of the one with its id."""
        self._incidents[view.row.id] = view

    def remove(self, name: str) -> None:
        del self._incidents[name]

    # ---- Views ----

    def status(self) -> StatusView:
        still_open = [row for row in self._rows() if row.state == "open"]
        return replace(
            self._status,
            open_incidents=len(still_open),
            active_alerts=sum(row.active for row in still_open),
            dead_letters=len(self._dead_letters),
        )

    def incidents(self, *, state: str = "open", limit: int = 200, parent: str = "") -> list[IncidentRow]:
        rows = [row for row in self._rows() if state in {"all", row.state}]
        rows = [row for row in rows if (row.parent if row.state == "open" else "") == parent]
        return sorted(rows, key=_urgent_then_newest)[:limit]

    def incident(self, id: str) -> IncidentView | None:
        if id in self._incidents:
            return self._incidents[id]
        for view in self._incidents.values():
            if any(record.number == id for record in view.records):
                return view
            if any(ticket.number == id for ticket in view.row.tickets):
                return view
        return None

    def alert(self, fingerprint: str) -> AlertView | None:
        for view in self._incidents.values():
            for alert in view.alerts:
                if alert.fingerprint == fingerprint:
                    return alert
        return None

    def explain(self, id: str) -> ExplainView:
        view = self.incident(id)
        if view is None:
            raise Missing(f"there is no incident {id!r}", hint="check the id")
        return ExplainView(
            situation=view.row.id,
            title=view.row.title,
            state=view.row.state,
            priority=view.row.priority,
            priority_reason=view.priority_reason,
            held=view.held,
            cause_doubt=view.cause_doubt,
            next_step=view.next_step,
            decisions=view.decisions,
            causes=view.causes,
            evidence=view.evidence,
            alerts=view.alerts,
            judgements=tuple(self.judgements(incident=view.row.id)),
            now=None,
        )

    def against(self, id: str, other: str) -> list[AgainstView]:
        there, alert = self.incident(other), self.alert(id)
        if there is None or alert is None:
            raise Missing(f"there is no incident {other!r}, or no alert {id!r}", hint="check the ids")
        return [
            AgainstView(
                alert=id,
                name=alert.name,
                ci=alert.ci,
                home=alert.situation,
                situation=there.row.id,
                together=alert in there.alerts,
                sentence=f"{alert.name} is where it is",
                link=alert.why,
                counted=None if alert in there.alerts else 0.12,
                obstacles=(),
                decided=(),
                now=None,
            )
        ]

    def sources(self) -> list[SourceView]:
        return list(self._sources)

    def last_payload(self, source: str) -> PayloadView | None:
        """Each source that was seen last sent an empty list."""
        for number, known in enumerate(self._sources, 1):
            if known.name == source and known.last_seen is not None:
                return PayloadView(
                    record=number, at=known.last_seen, source=source, collector=known.collector, actor="local", bytes=2,
                    payload="[]",
                )  # fmt: skip
        return None

    def report(self, begin: datetime | None, end: datetime | None, by: By | None) -> Report:
        """Of the incidents that were put in; each was seen within three minutes."""
        rows = [_figures(view) for view in self._incidents.values()]
        came = {"events": 50 * sum(row.events for row in rows), "alerts": 2 * sum(row.alerts for row in rows)}
        return of_period(MemoryHistory(*rows, **came), self._now, begin, end, by)

    def forecasts(self, *, limit: int = 200) -> list[ForecastView]:
        return sorted(self._forecasts, key=lambda each: each.likely_at)[:limit]

    def forecast_entries(
        self, *, limit: int = 100, model: str = "", ci: str = "", outcome: str = "", ended: bool = False
    ) -> list[ForecastRow]:
        found = [row for row in self._entries if row.ended_at is not None or not ended]
        wanted = {"model": model, "ci": ci, "outcome": outcome}
        found = [row for row in found if all(value in ("", getattr(row, name)) for name, value in wanted.items())]
        return sorted(found, key=lambda row: (ended and row.ended_at) or row.heard_at, reverse=True)[:limit]

    def ledger(self, begin: datetime | None, end: datetime | None, by: Per, *, problems_only: bool = True) -> Ledger:
        rows = [_figures(view) for view in self._incidents.values()]
        kept = MemoryLedger(self._entries, *rows)
        return ledger.of_period(kept, self._now, begin, end, by, problems_only=problems_only)

    def dead_letters(self, *, limit: int = 200) -> list[DeadLetterView]:
        return self._dead_letters[:limit]

    def problems(self, *, limit: int = 200) -> list[DeskRecord]:
        return [record for record, _ in self._problems.values()][:limit]

    def patterns(self, *, watched: bool = False, limit: int = 200) -> list[PatternView]:
        return [each for each in self._patterns if each.problem or watched][:limit]

    def pattern(self, name: str) -> PatternView | None:
        return next((each for each in self._patterns if name in (each.id, each.problem)), None)

    def linked(self, problem: str) -> list[DeskRecord]:
        records = [record for view in self._incidents.values() for record in view.records]
        return [record for record in records if record.problem == problem]

    def record(self, number: str) -> tuple[DeskRecord, list[DeskNote]] | None:
        if number in self._problems:
            record, notes = self._problems[number]
            return record, list(notes)
        for view in self._incidents.values():
            for record in view.records:
                if record.number == number:
                    return record, list(view.notes)
        return None

    # ---- Actions ----

    def act(self, number: str, action: DeskAction, *, actor: str, text: str = "", code: str = "") -> DeskRecord:
        found = self.record(number)
        if found is None:
            raise Rejected(f"there is no record {number}", hint="check the number")
        record = found[0]
        if record.state not in _ALLOWED[action]:
            raise Rejected(f"{number} is {record.state.value}", hint=f"{action.value} is not possible in this state")
        at = self._tick()
        record = replace(record, state=_NEXT.get(action, record.state), updated_at=at)
        if action is DeskAction.TAKE:
            record = replace(record, assignee=actor)
        elif action is DeskAction.RESOLVE:
            record = replace(record, resolution_code=code, resolution_note=text, resolved_at=at)
        elif action is DeskAction.KNOWN_ERROR:
            record = replace(record, known_error=text)
        self._store(record, at, actor, text or action.value, action.value)
        return record

    def open_problem(self, incident: str, *, actor: str, title: str = "") -> DeskRecord:
        found = self.record(incident)
        if found is None:
            raise Rejected(f"there is no incident {incident}", hint="check the number")
        record = found[0]
        if record.problem:
            return self._problems[record.problem][0]
        at = self._tick()
        problem = replace(
            record,
            number=f"PRB{len(self._problems) + 1:07d}",
            type="problem",
            title=title or record.title,
            state=DeskState.NEW,
            assignee="",
            opened_at=at,
            updated_at=at,
        )
        self._problems[problem.number] = (problem, (DeskNote(at=at, author=actor, text=f"opened from {incident}"),))
        self._store(replace(record, problem=problem.number), at, actor, f"opened {problem.number}", "problem")
        return problem

    def judge(self, said: Statement, *, actor: str) -> Judgement:
        """It is noted, and nothing moves."""
        for name in filter(None, (said.situation, said.other)):
            if self.incident(name) is None:
                raise Rejected(f"there is no incident {name!r}", hint="check the id")
        judged = Judgement(
            id=f"J-{len(self._judgements) + 1}",
            at=self._tick(),
            actor=actor,
            kind=said.kind,
            situation=said.situation,
            other=said.other,
            cis=said.cis,
            one=tuple(Witness(fingerprint=alert, name="Down", ci="", onset=self._now) for alert in said.alerts),
            comment=said.comment,
            applied=True,
            outcome="noted",
        )
        self._judgements.append(judged)
        if (view := self.incident(said.situation)) is not None:
            self.put(replace(view, judgements=(judged, *view.judgements)))
        return judged

    def judgements(self, *, incident: str = "", limit: int = 200) -> list[Judgement]:
        found = [one for one in self._judgements if incident in ("", one.situation, one.other)]
        return found[::-1][:limit]

    # ---- inside ----

    def _rows(self) -> list[IncidentRow]:
        return [view.row for view in self._incidents.values()]

    def _tick(self) -> datetime:
        self._now += timedelta(seconds=1)
        return self._now

    def _store(self, record: DeskRecord, at: datetime, actor: str, text: str, action: str) -> None:
        note = DeskNote(at=at, author=actor, text=text)
        if record.number in self._problems:
            self._problems[record.number] = (record, (*self._problems[record.number][1], note))
            return
        for name, view in self._incidents.items():
            if any(old.number == record.number for old in view.records):
                entry = TimelineEntry(at=at, lane="person", actor=actor, action=action, text=text)
                self._incidents[name] = replace(
                    view,
                    row=replace(view.row, updated_at=at),
                    records=_with(view.records, record),
                    notes=(*view.notes, note),
                    timeline=(*view.timeline, entry),
                )


def _with(records: Sequence[DeskRecord], record: DeskRecord) -> tuple[DeskRecord, ...]:
    return tuple(record if old.number == record.number else old for old in records)


def _urgent_then_newest(row: IncidentRow) -> tuple[bool, int, float]:
    return (row.state != "open", row.priority if row.state == "open" else 0, -row.opened_at.timestamp())


def _figures(view: IncidentView) -> SituationRow:
    row = view.row
    seen = any(ticket.assignee for ticket in row.tickets)
    return SituationRow(
        id=row.id,
        state=row.state,
        priority=row.priority,
        severity=5,
        title=row.title,
        opened_at=row.opened_at,
        updated_at=row.updated_at,
        resolved_at=view.resolved_at,
        alerts=row.alerts,
        version=1,
        ticketed_at=row.opened_at if row.tickets else None,
        acknowledged_at=row.opened_at + timedelta(minutes=3) if seen else None,
        team=row.assignment_group,
        services=row.services,
        events=row.events,
        acknowledged_in_time=True if seen else None,
    )


class Taken:
    """An ``Outlet`` that keeps what a listener hands over.

    Attributes:
        payloads: records in order, as (collector, payload). headers: what came beside each, in the same order.
        samples: in order. counts: by outcome. problems: said. addresses: told. tops: shown last.
        refuse: raised instead of keeping anything, while it is set.
    """

    def __init__(self) -> None:
        self.payloads: list[tuple[str, bytes]] = []
        self.headers: list[Mapping[str, str] | None] = []
        self.samples: list[Samples] = []
        self.counts: Counter[Outcome] = Counter()
        self.problems: list[str] = []
        self.addresses: list[str] = []
        self.tops: Sequence[tuple[str, str, int]] = ()
        self.refuse: Exception | None = None

    async def take(
        self, payload: bytes, *, items: int = 1, collector: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        await asyncio.sleep(0)
        if self.refuse is not None:
            raise self.refuse
        self.payloads.append((collector, payload))
        self.headers.append(headers)

    async def measure(self, samples: Sequence[Samples]) -> None:
        await asyncio.sleep(0)
        if self.refuse is not None:
            raise self.refuse
        self.samples += samples

    def count(self, what: Outcome, by: int = 1) -> None:
        self.counts[what] += by

    def say(self, problem: str) -> None:
        if problem or self.problems:
            self.problems.append(problem)

    def listens(self, address: str) -> None:
        self.addresses.append(address)

    def show(self, tops: Sequence[tuple[str, str, int]]) -> None:
        self.tops = tops
