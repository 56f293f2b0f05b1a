"""Runs the present and proposed configurations over one reading of history."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from itertools import chain, repeat
from tempfile import TemporaryFile

import msgspec
from msgspec import Struct

from correlation.rule import RuleKind
from correlation.settings import read_recorded
from foreshock.core.contracts import Collector, Record, RecordKind
from foreshock.service.plan.compare import Plan, compare
from foreshock.service.plan.outcome import Outcome
from foreshock.service.plan.tickets import SINK
from foreshock.service.recorded import Input
from foreshock.service.records import OperatorRecord, SettingsRecord
from foreshock.service.replay import Version, heads, taken_apart
from foreshock.service.scoring import Scorer
from foreshock.service.truth import Truth


def plan(
    inputs: Iterable[Input],
    collectors: Mapping[str, Collector],
    rules: Mapping[str, RuleKind],
    *,
    before: Version,
    after: Version,
    since: datetime | None = None,
    truth: Truth | None = None,
) -> Plan:
    """since: what came before is read, so that both sides know what was open, and not told. truth: both are held
    against it."""
    with outcomes(inputs, collectors, rules, (before, after), since, truth) as (one, other):
        return compare(one, other)


@contextmanager
def outcomes(
    inputs: Iterable[Input],
    collectors: Mapping[str, Collector],
    rules: Mapping[str, RuleKind],
    versions: Sequence[Version],
    since: datetime | None = None,
    truth: Truth | None = None,
) -> Iterator[list[Outcome]]:
    """What each of ``versions`` makes of one reading of history, finished; their stories can be read in the block.

    What history recorded of tickets, and what people said of single situations, is left out on all sides: it is about
    situations that another configuration may not have.
    """
    numbers: dict[str, int] = {}
    sinks = _sinks(versions)
    with ExitStack() as files:
        sides = [
            (version, Outcome(collectors, rules, numbers, files.enter_context(TemporaryFile()), since))
            for version in versions
        ]
        scorer = Scorer(truth, [outcome.engine for _, outcome in sides]) if truth is not None else None
        for first, given in zip(chain([True], repeat(False)), inputs, strict=False):
            record = given.record
            items = taken_apart(record, collectors)
            for side, (version, outcome) in enumerate(sides):
                if first:
                    for head in heads(record, version):
                        outcome.read(with_sinks(head, sinks), None)
                if is_for(record, version):
                    effects = outcome.read(record, items)
                    if scorer is not None:
                        scorer.hear(side, effects)
            if scorer is not None:
                scorer.place(given, items)
        found = [outcome for _, outcome in sides]
        for outcome, fit in zip(found, scorer.fits(since) if scorer is not None else (), strict=False):
            outcome.fit = fit
        for outcome in found:
            outcome.finish()
        yield found


class Survey(Struct, frozen=True, kw_only=True):
    """What there is to know of history before it is replayed. present: the settings and rules that were in force last,
    for all of it. topology: whether it has one. last_at: of its last record."""

    present: Version
    topology: bool
    last_at: datetime | None


def survey(inputs: Iterable[Input]) -> Survey:
    settings: Record | None = None
    last: Record | None = None
    topology = False
    for given in inputs:
        last = given.record
        settings = last if last.kind is RecordKind.SETTINGS else settings
        topology = topology or last.kind is RecordKind.TOPOLOGY
    version = Version()
    if settings is not None:
        read = msgspec.json.decode(settings.body, type=SettingsRecord)
        version = Version(settings=read_recorded(read.correlation)[0], rules=read.rules)
    return Survey(present=version, topology=topology, last_at=None if last is None else last.at)


def with_sinks(head: Record, sinks: tuple[str, ...] = (SINK,)) -> Record:
    """The same settings and rules, with the sinks that all sides have."""
    if head.kind is not RecordKind.SETTINGS:
        return head
    read = msgspec.structs.replace(msgspec.json.decode(head.body, type=SettingsRecord), sinks=sinks)
    return msgspec.structs.replace(head, body=msgspec.json.encode(read))


def _sinks(versions: Sequence[Version]) -> tuple[str, ...]:
    """One for all that hear the same, and those that have a text of their own on some side."""
    texts = (version.settings.ticket.text_by_sink for version in versions if version.settings is not None)
    return (SINK, *sorted({name for some in texts for name in some if name != SINK}))


def is_for(record: Record, version: Version) -> bool:
    """Whether a record of history is for a side with this version."""
    if record.kind is RecordKind.TOPOLOGY:
        return version.topology is None
    if record.kind is RecordKind.LEARNED:
        return version.learned is None
    if record.kind is RecordKind.OPERATOR:
        return msgspec.json.decode(record.body, type=OperatorRecord).judge is None
    return record.kind not in (RecordKind.SETTINGS, RecordKind.TICKET)
