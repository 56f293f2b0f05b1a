"""The state that recorded input led to, to be asked as a running engine is."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime

import msgspec

from correlation.rule import RuleKind
from foreshock.core.contracts import AuditRow, Collector, Record, RecordKind, Verb
from foreshock.core.errors import ForeshockError
from foreshock.core.model import Alert, Ended, Judgement
from foreshock.service.engine import Effects, Engine
from foreshock.service.reasons import MAX_JUDGEMENTS, called
from foreshock.service.recorded import Input
from foreshock.service.replay import AS_RECORDED, Version, prepared


class Replayed:
    """An engine after recorded input; implements ``reasons.Past`` for what it was ``asked`` for, and only that, so that
    a long history needs no more memory than a short one."""

    def __init__(self, engine: Engine, asked: Sequence[str]) -> None:
        self.engine = engine
        self._asked = asked
        self._ended: dict[str, Ended] = {}
        self._writes: dict[str, dict[str, AuditRow]] = {}
        self._judgements: list[Judgement] = []

    def read(self, record: Record) -> None:
        self._hear(self.engine.step([(record, None)]))

    def _hear(self, effects: Effects) -> None:
        for row in effects.audit:
            if row.kind == "ticket" and row.action in set(Verb):
                self._writes.setdefault(row.subject, {})[row.detail.partition(": ")[0]] = row
        for id, body in effects.ended.items():
            ended = msgspec.json.decode(body, type=Ended)
            if self._is_asked_for(ended):
                self._ended.pop(id, None)
                self._ended[id] = ended
        self._judgements += (judgement for _, judgement in effects.judgements)

    def _is_asked_for(self, ended: Ended) -> bool:
        names = {ended.situation.id, *(ticket.number for ticket in ended.situation.tickets.values())}
        return any(name in names or any(map(called(self.engine, name), ended.alerts)) for name in self._asked)

    # ---- Past ----

    def ended(self, situation: str) -> Ended | None:
        return self._ended.get(situation)

    def holding(self, matches: Callable[[Alert], bool]) -> Ended | None:
        return next((ended for ended in reversed(self._ended.values()) if any(map(matches, ended.alerts))), None)

    def numbered(self, ticket: str) -> str | None:
        known = [*self.engine.situations.values(), *(ended.situation for ended in self._ended.values())]
        return next((one.id for one in known if any(each.number == ticket for each in one.tickets.values())), None)

    def trail(self, situation: str) -> list[AuditRow]:
        """The last write to each sink."""
        return list(self._writes.get(situation, {}).values())

    def judgements(self, situation: str) -> list[Judgement]:
        said = [each for each in reversed(self._judgements) if situation in (each.situation, each.other)]
        return said[:MAX_JUDGEMENTS]


def replayed(
    inputs: Iterable[Input],
    collectors: Mapping[str, Collector],
    rules: Mapping[str, RuleKind],
    version: Version = AS_RECORDED,
    *,
    asked: Sequence[str],
    until: datetime | None = None,
) -> Replayed:
    """As it stood at ``until``; without, after the last record. asked: what will be asked for, by any of its names.

    Raises ForeshockError where the input holds nothing until then.
    """
    state = Replayed(Engine(collectors, rules), asked)
    last: Record | None = None
    begins: datetime | None = None
    for record, _ in prepared(inputs, version):
        begins = begins or record.at
        if until is not None and record.at > until:
            break
        state.read(record)
        last = record
    if last is None:
        what = f"begins at {begins:%Y-%m-%d %H:%M:%S} UTC" if begins is not None else "holds no records"
        raise ForeshockError(f"the history {what}", hint="ask for a moment within it")
    if until is not None:
        state.read(Record(number=last.number, at=until, kind=RecordKind.TICK, body=b""))
    return state
