"""A candidate beside the live rules: both read the same records from the same state on, and what comes of them is
compared, without a ticket.

Both sides are engines like the live one: what is compared is a function of the state they began with and the records.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import IO

import msgspec
from msgspec import Struct

from correlation.rule import RuleKind
from foreshock.core.contracts import Collector, Record, RecordKind
from foreshock.core.model import Moment
from foreshock.service import in_force
from foreshock.service.plan.compare import Plan, compare
from foreshock.service.plan.outcome import Outcome
from foreshock.service.plan.run import is_for, with_sinks
from foreshock.service.plan.tickets import SINK
from foreshock.service.records import SettingsRecord
from foreshock.service.replay import AS_RECORDED, taken_apart
from foreshock.service.ruleset import Ruleset

SHOWN = 200
"""So many differences are kept in a report; all of them are counted."""


class Task(Struct, frozen=True, kw_only=True):
    """A candidate, and for how long it runs.

    Attributes:
        version: of ``proposed``. against: the version that ran when it began.
        started_at: what began before it is not told; until: when it ends by itself.
    """

    proposed: Ruleset
    version: str
    against: str
    started_at: Moment
    until: Moment
    actor: str
    reason: str


class Report(Struct, frozen=True, kw_only=True):
    """What came of both so far.

    Attributes:
        at: when it was made. position: the newest record that both have read. behind: so many were there and not read.
        plan: both held against each other, with the first SHOWN of its differences; left_out counts the others.
            verdict: the same in a sentence.
        memory_bytes: what the process took.
    """

    at: Moment
    position: int
    behind: int
    memory_bytes: int
    plan: Plan
    left_out: int
    verdict: str


class Shadow:
    """Live rules and candidate at work.

    Args:
        items: of the saved state that both begin with.
        stories: two empty files to write and read.
    """

    def __init__(
        self,
        task: Task,
        items: Sequence[tuple[str, str, bytes]],
        collectors: Mapping[str, Collector],
        rules: Mapping[str, RuleKind],
        stories: tuple[IO[bytes], IO[bytes]],
    ) -> None:
        numbers: dict[str, int] = {}
        self._collectors, self._stories = collectors, stories
        self._live, self._candidate = (Outcome(collectors, rules, numbers, file, task.started_at) for file in stories)
        for outcome in (self._live, self._candidate):
            outcome.engine.restore(items)
        runs = in_force.settings_record(self._live.engine)
        proposed = SettingsRecord(correlation=task.proposed.correlation, sinks=(SINK,), rules=task.proposed.rules)
        for outcome, read in ((self._live, msgspec.structs.replace(runs, sinks=(SINK,))), (self._candidate, proposed)):
            engine = outcome.engine
            body = msgspec.json.encode(read)
            outcome.read(Record(number=engine.record, at=engine.now, kind=RecordKind.SETTINGS, body=body), None)

    def read(self, records: Iterable[Record]) -> None:
        """Tickets and what people say of single situations are left out: they are about the live ones. Other settings
        and rules that come into force do so on the live side."""
        for record in records:
            if record.kind is RecordKind.SETTINGS:
                self._live.read(with_sinks(record), None)
            elif is_for(record, AS_RECORDED):
                items = taken_apart(record, self._collectors)
                self._live.read(record, items)
                self._candidate.read(record, items)

    def finish(self, now: datetime) -> Plan:
        """Both as they stand at ``now``, held against each other. The end: nothing can be read after it."""
        for outcome in (self._live, self._candidate):
            outcome.finish(max(now - outcome.engine.now, timedelta(0)))
        return compare(self._live, self._candidate)
