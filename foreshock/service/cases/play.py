"""Plays a case: its steps as records, through the engine that runs live, on a virtual clock."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from msgspec import Struct

from correlation import problem
from correlation.rule import RuleInstance, RuleKind, in_words
from foreshock.core.contracts import Collector, Record, RecordKind, TicketChange
from foreshock.core.matchers import parse_matcher
from foreshock.core.model import (
    CI,
    JudgementKind,
    MaintenanceWindow,
    Relationship,
    Silence,
    SilenceMatcher,
    Situation,
    SituationState,
    Span,
)
from foreshock.core.quantities import format_duration
from foreshock.core.topology import TopologyDelta
from foreshock.service import escalation, sla, weighing
from foreshock.service.cases.model import Case, CaseFile, KnownCi, Setting, Step
from foreshock.service.engine import Effects, Engine
from foreshock.service.records import OperatorRecord, SettingsRecord, Statement, TopologyRecord

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
_SOURCE = "case"
_MOMENT = timedelta(microseconds=1)
_NOTHING = KnownCi()


class Unheard(Struct, frozen=True, kw_only=True):
    """A step that came to nothing: what was done, and why nothing came of it."""

    at: timedelta
    done: str
    why: str


class Observed(Struct, frozen=True, kw_only=True):
    """One situation as it is. why: by alert, why it is there, and what else it was related to. to_be_told: how it
    stands with what was promised, and who is told next, in words."""

    id: str
    alerts: tuple[str, ...]
    cause: str
    cause_why: str
    priority: int
    state: str
    held: str
    held_why: str
    assignment: str
    tickets: tuple[str, ...]
    why: Mapping[str, str]
    to_be_told: tuple[str, ...]


class Write(Struct, frozen=True, kw_only=True):
    """One write of a ticket. alerts: those of its situation then."""

    at: timedelta
    verb: str
    sink: str
    situation: str
    alerts: frozenset[str]
    priority: int
    group: str
    title: str


class Told(Struct, frozen=True, kw_only=True):
    """One notice. alerts: those of its situation then."""

    at: timedelta
    kind: str
    level: int
    alerts: frozenset[str]
    to: tuple[str, ...]


class Returning(Struct, frozen=True, kw_only=True):
    """A pattern of incidents, which is a Problem or not (yet), for a reason."""

    about: str
    incidents: int
    is_problem: bool
    reason: str


class Seen(Struct, frozen=True, kw_only=True):
    """What there is at one moment: situations, and all writes and notices so far."""

    situations: list[Observed]
    writes: tuple[Write, ...]
    told: tuple[Told, ...]
    returning: tuple[Returning, ...]


class Played(Struct, frozen=True, kw_only=True):
    """What came of a case. seen: what there is at each of its checks, in order of time."""

    seen: list[Seen]
    unheard: list[Unheard]


def play(
    file: CaseFile,
    case: Case,
    rules: Sequence[RuleInstance] | None,
    collectors: Mapping[str, Collector],
    kinds: Mapping[str, RuleKind],
) -> Played:
    """rules: those in force; the shipped ones if None."""
    stage = _Stage(Engine(collectors, kinds))
    stage.begin(file, case, rules)
    # What happens at the very moment of a check is seen by it.
    waiting = sorted(_moments(case.steps), key=lambda moment: moment[0])
    seen = []
    for check in sorted(case.expect, key=lambda check: check.at):
        while waiting and waiting[0][0] <= check.at:
            at, step, verb = waiting.pop(0)
            stage.do(at, step, verb)
        stage.tick(check.at)
        seen.append(stage.seen())
    return Played(seen=seen, unheard=stage.unheard)


def _moments(steps: Sequence[Step]) -> Iterator[tuple[timedelta, Step, str]]:
    """Every single moment of the steps, with what is done then."""
    for step in steps:
        every = step.every or timedelta(0)
        for index in range(step.times):
            at = step.at + index * every
            if step.is_missing(at):
                continue
            if step.flap:
                yield at, step, "fire"
                yield at + every / 2, step, "resolve"
            else:
                yield at, step, step.action


class _Stage:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._number = 0
        self._sinks: tuple[str, ...] = ()
        self._writes: list[Write] = []
        self._told: list[Told] = []
        self._set: dict[str, list[str]] = {"silence": [], "maintenance": []}
        self.unheard: list[Unheard] = []

    def begin(self, file: CaseFile, case: Case, rules: Sequence[RuleInstance] | None) -> None:
        settings = _merged(file.settings, case.settings)
        self._sinks = file.sinks_of(case)
        chosen = SettingsRecord(
            correlation=settings,
            sinks=self._sinks,
            rules=None if rules is None else tuple(rules),
        )
        self._add(timedelta(0), RecordKind.SETTINGS, chosen)
        topology = _topology(file, case)
        if topology.cis:
            self._add(timedelta(0), RecordKind.TOPOLOGY, topology)

    def do(self, at: timedelta, step: Step, verb: str) -> None:
        if verb in ("fire", "resolve"):
            alerts = step.flap or (step.fire if verb == "fire" else step.resolve)
            self._post(at, "events", [_event(alert, step, at, resolved=verb == "resolve") for alert in alerts])
        elif verb == "change":
            change = {"id": f"change-{self._number}", "title": step.title, "at": _moment(at), "cis": step.change}
            self._post(at, "changes", [change])
        elif verb == "silence":
            self._add(at, RecordKind.OPERATOR, OperatorRecord(set_silence=self._silence(at, step)))
        elif verb == "maintenance":
            self._add(at, RecordKind.OPERATOR, OperatorRecord(set_window=self._window(at, step)))
        elif verb == "end":
            self._end(at, step)
        else:
            try:
                if verb in ("relate", "unrelate", "retire"):
                    self._change_topology(at, step)
                else:
                    self._person(at, step, verb)
            except _NotThere as error:
                self.unheard.append(Unheard(at=at, done=_done(step), why=str(error)))

    def _change_topology(self, at: timedelta, step: Step) -> None:
        known, put, gone = self._engine.topology, _ties(step.relate), _ties(step.unrelate)
        there = set(known.relationships)
        for line, tie in zip(step.unrelate, gone, strict=True):
            if tie not in there:
                raise _NotThere(f"the topology has no {line} then")
        for name in step.retire:
            if name not in known.cis:
                raise _NotThere(f"the topology has no CI {name} then")
        lost = (tie for tie in known.relationships if {tie.source, tie.target} & set(step.retire))
        delta = TopologyDelta(
            put_cis=tuple(CI(id=name) for name in _ends(put) if name not in known.cis),
            gone_cis=step.retire,
            put_relationships=put,
            gone_relationships=(*gone, *lost),
        )
        changed = TopologyRecord(version=f"case, {self._number}", base=known.version, delta=delta)
        self._add(at, RecordKind.TOPOLOGY, changed)

    def tick(self, at: timedelta) -> None:
        self._add(at, RecordKind.TICK, None)

    def seen(self) -> Seen:
        """Situations in order of opening, without those that were merged."""
        engine = self._engine
        return Seen(
            situations=[
                _observed(engine, one, self._first_sink_heard(one.id))
                for one in engine.situations.values()
                if one.state is not SituationState.MERGED
            ],
            writes=tuple(self._writes),
            told=tuple(self._told),
            returning=tuple(_returning(engine)),
        )

    def _first_sink_heard(self, situation: str) -> tuple[str, ...]:
        found = (one for one in self._writes if one.situation == situation and one.sink == self._sinks[0])
        return tuple(f"{one.verb} {format_duration(one.at)}" for one in found)

    def _post(self, at: timedelta, collector: str, items: list[dict[str, Any]]) -> None:
        self._add(at, RecordKind.EVENTS, items, collector=collector)

    def _silence(self, at: timedelta, step: Step) -> Silence:
        matchers = (
            SilenceMatcher(name=one.name, value=one.value, is_regex=one.is_regex, is_equal=one.is_equal)
            for one in map(parse_matcher, step.silence)
        )
        id = f"silence-{self._number}"
        self._set["silence"].append(id)
        return Silence(
            id=id,
            matchers=tuple(matchers),
            starts_at=START + at,
            ends_at=START + at + step.for_,
            created_by=step.by,
            comment=step.title,
            updated_at=START + at,
        )

    def _window(self, at: timedelta, step: Step) -> MaintenanceWindow:
        id = f"maintenance-{self._number}"
        self._set["maintenance"].append(id)
        return MaintenanceWindow(
            id=id,
            title=step.title,
            owner=step.by,
            comment="",
            spans=(Span(starts_at=START + at, ends_at=START + at + step.for_),),
            cis=step.maintenance,
            updated_at=START + at,
        )

    def _end(self, at: timedelta, step: Step) -> None:
        for id in self._set.pop(step.end):
            over = OperatorRecord(expire_silence=id) if step.end == "silence" else OperatorRecord(end_window=id)
            self._add(at, RecordKind.OPERATOR, over)
        self._set[step.end] = []

    def _person(self, at: timedelta, step: Step, verb: str) -> None:
        """Somebody says something of a situation, or does something to its ticket. Raises _NotThere."""
        if verb == "ticket":
            self._ticket(at, step)
            return
        for said in self._said(step, verb):
            effects = self._add(at, RecordKind.OPERATOR, OperatorRecord(judge=said), actor=step.by)
            self.unheard += (
                Unheard(at=at, done=_done(step), why=judgement.outcome)
                for _, judgement in effects.judgements
                if not judgement.applied and judgement.outcome
            )

    def _said(self, step: Step, verb: str) -> Iterator[Statement]:
        kind = JudgementKind(verb)
        if kind is JudgementKind.MERGE:
            for other in step.merge[1:]:
                one = self._holding(step.merge[0])
                if (two := self._holding(other)) != one:
                    yield Statement(kind=kind, situation=one, other=two, comment=step.title)
        elif kind in (JudgementKind.SPLIT, JudgementKind.MOVE):
            named = step.split or step.move
            source, target = self._holding(named[0]), self._holding(step.to) if step.to else ""
            alerts = tuple(map(self._fingerprint, named))
            yield Statement(kind=kind, situation=source, other=target, alerts=alerts, comment=step.title)
        elif kind is JudgementKind.CAUSE:
            yield Statement(kind=kind, situation=self._holding(step.of), cis=(step.cause,), comment=step.title)
        elif " on " in step.not_related[0]:
            yield Statement(kind=kind, alerts=tuple(map(self._fingerprint, step.not_related)), comment=step.title)
        else:
            yield Statement(kind=kind, cis=step.not_related, comment=step.title)

    def _ticket(self, at: timedelta, step: Step) -> None:
        situation = self._holding(step.of)
        of_ours = step.ticket in ("confirmed", "rejected")
        change = TicketChange(
            sink=step.sink or self._sinks[0], situation=situation, sequence=self._number + 1, state=step.ticket,
            actor="" if of_ours else step.by, origin="write" if of_ours else "read", code=step.code,
            number=f"T-{situation}" if step.ticket == "confirmed" else "",
        )  # fmt: skip
        self._add(at, RecordKind.TICKET, change)

    def _holding(self, alert: str) -> str:
        """The id of the newest situation that holds it. Raises _NotThere."""
        for one in reversed(self._engine.situations.values()):
            if one.state is not SituationState.MERGED and alert in _alerts(self._engine, one):
                return one.id
        raise _NotThere(f"no situation holds {alert} then")

    def _fingerprint(self, alert: str) -> str:
        called = " on ".join(part.strip() for part in alert.split(" on ", 1))
        for known in reversed(self._engine.alerts.values()):
            if _called(known.read_labels()) == called:
                return known.fingerprint
        raise _NotThere(f"there is no alert {alert} then")

    def _add(self, at: timedelta, kind: RecordKind, body: Any, *, collector: str = "", actor: str = "") -> Effects:
        """What was due before is a step of its own each time, so that what it is about is still known."""
        while (due := self._engine.next_due()) is not None and max(due, self._engine.now + _MOMENT) < START + at:
            self._step(max(due, self._engine.now + _MOMENT) - START, RecordKind.TICK, None)
        return self._step(at, kind, body, collector=collector, actor=actor)

    def _step(self, at: timedelta, kind: RecordKind, body: Any, *, collector: str = "", actor: str = "") -> Effects:
        self._number += 1
        record = Record(
            number=self._number,
            at=START + at,
            kind=kind,
            collector=collector,
            source=collector and _SOURCE,
            body=b"" if body is None else msgspec.json.encode(body),
            actor=actor,
        )
        effects = self._engine.step([(record, None)])
        self._hear(effects)
        return effects

    def _hear(self, effects: Effects) -> None:
        for order in effects.orders:
            self._writes.append(
                Write(
                    at=order.at - START,
                    verb=order.verb.value,
                    sink=order.sink,
                    situation=order.situation,
                    alerts=self._held_by(order.situation),
                    priority=order.fields["priority"],
                    group=order.fields["assignment_group"],
                    title=order.fields["title"],
                )
            )
        for notice in effects.notices:
            alerts = self._held_by(notice.situation)
            at, kind = notice.at - START, notice.kind.value
            self._told.append(Told(at=at, kind=kind, level=notice.level, alerts=alerts, to=notice.audience))

    def _held_by(self, situation: str) -> frozenset[str]:
        return frozenset(_alerts(self._engine, self._engine.situations[situation]))


class _NotThere(Exception):
    """What a step is about does not exist at its moment."""


def _done(step: Step) -> str:
    """A step in the words of its file."""
    named = getattr(step, step.action)
    said = f"{step.action}: {named if isinstance(named, str) else '[' + ', '.join(named) + ']'}"
    more = f", of: {step.of}" if step.of else f", to: {step.to}" if step.to else ""
    return said + more


def _merged(general: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """``own`` on top, section by section."""
    merged = dict(general)
    for key, value in own.items():
        before = merged.get(key)
        merged[key] = _merged(before, value) if isinstance(before, Mapping) and isinstance(value, Mapping) else value
    return merged


def _topology(*settings: Setting) -> TopologyRecord:
    ties = tuple(tie for setting in settings for tie in _ties(setting.topology))
    told = {name: ci for setting in settings for name, ci in setting.cis.items()}
    cis = tuple(CI(id=name, **told.get(name, _NOTHING).model_dump()) for name in dict.fromkeys([*_ends(ties), *told]))
    return TopologyRecord(version="case", cis=cis, relationships=ties)


def _ties(lines: Iterable[str]) -> tuple[Relationship, ...]:
    split = (line.split() for line in lines)
    return tuple(Relationship(source=source, type=kind, target=target) for source, kind, target in split)


def _ends(ties: Iterable[Relationship]) -> list[str]:
    """CIs, each once."""
    return list(dict.fromkeys(name for tie in ties for name in (tie.source, tie.target)))


def _event(alert: str, step: Step, at: timedelta, *, resolved: bool) -> dict[str, Any]:
    name, _, ci = alert.partition(" on ")
    event: dict[str, Any] = {
        "labels": {"alertname": name, "ci": ci, **step.labels},
        "annotations": {"summary": step.summary} if step.summary else {},
        "status": "resolved" if resolved else "firing",
        "ends_at": _moment(at if resolved else at + step.holds),
        "severity": step.severity,
    }
    return event if resolved else event | {"starts_at": _moment(step.at if not step.flap else at)}


def _moment(at: timedelta) -> str:
    return (START + at).isoformat()


def _alerts(engine: Engine, situation: Situation) -> dict[str, str]:
    """Fingerprints by what a case calls the alerts."""
    return {_called(alert.read_labels()): alert.fingerprint for alert in engine.members(situation)}


def _called(labels: Mapping[str, str]) -> str:
    return f"{labels.get('alertname', 'alert')} on {labels.get('ci', '')}"


def _observed(engine: Engine, situation: Situation, tickets: tuple[str, ...]) -> Observed:
    causes = weighing.causes(engine, situation)
    doubt = weighing.doubt(engine, causes)
    alerts = _alerts(engine, situation)
    best = causes[0] if causes and not doubt else None
    return Observed(
        id=situation.id,
        alerts=tuple(sorted(alerts)),
        cause=best.ci if best is not None else "",
        cause_why=best.reason if best is not None else doubt or "no candidate",
        priority=situation.priority,
        state=situation.state.value,
        held=situation.held[0].kind.value if situation.held else "",
        held_why=situation.held_by or (situation.decided[-1].reason if situation.decided else ""),
        assignment=weighing.assigned(engine, causes, engine.members(situation)).group,
        tickets=tickets,
        why={name: _why(engine, situation, key) for name, key in alerts.items()},
        to_be_told=(*sla.in_words(engine, situation), *escalation.in_words(engine, situation)),
    )


def _returning(engine: Engine) -> Iterator[Returning]:
    for pattern in engine.patterns.by_id.values():
        found = problem.verdict(pattern, engine.now, engine.settings.problem)
        yield Returning(
            about=pattern.ci or pattern.title,
            incidents=pattern.total,
            is_problem=pattern.problem is not None,
            reason=found.reason,
        )


def _why(engine: Engine, situation: Situation, key: str) -> str:
    member = situation.members[key]
    said = "it opened the situation"
    if member.link is not None:
        words = in_words(member.link, engine.rules) or member.link.evidence
        said = f"{words} ({member.link.rule.partition('@')[0]}, {member.link.strength:.2f})"
    if member.moved is not None and member.moved.reason:
        said = f"{said}; it came over from {member.moved.source}: {member.moved.reason}"
    others = "; ".join(f"{one.strength:.2f} for {one.situation}: {one.why}" for one in member.considered)
    return f"{said}; {others}" if others else said
