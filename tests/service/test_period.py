"""A part of the inbox that can be understood by itself."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from correlation.settings import CorrelationSettings
from foreshock.core.contracts import NewRecord, RecordKind
from foreshock.core.model import CI, JudgementKind
from foreshock.service import past
from foreshock.service.client import Client
from foreshock.service.history_api import history_api
from foreshock.service.inbox import WritingInbox
from foreshock.service.period import AsOf, Period, begins, period, present
from foreshock.service.plan.compare import Plan
from foreshock.service.plan.run import plan
from foreshock.service.recorded import inputs_of
from foreshock.service.records import OperatorRecord, TopologyRecord
from foreshock.service.replay import AS_RECORDED, Version, prepared
from foreshock.service.runner import Runner
from foreshock.service.settings import collector_kinds, rule_kinds
from foreshock.service.topologies import Fold
from foreshock.store import migrations
from foreshock.store.journal import Journal
from foreshock.store.store import Store
from foreshock.testing.records import NOON, Story, Told, new_engine, seconds, shipped_rules

DAY_S = 86_400.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(f"sqlite:///{tmp_path}/foreshock.db")
    migrations.upgrade(store.migration_engine)
    yield store
    store.close()


class Running:
    """A Foreshock that has read a story."""

    def __init__(self, store: Store, story: Story) -> None:
        self.store, self.story, self.runner = store, story, _read(store, story)

    def period(self, since_s: float | None, until_s: float | None = None) -> Period:
        moments = (None if offset is None else self.story.time(offset) for offset in (since_s, until_s))
        return period(self.store, present(self.runner.engine), *moments)

    def planned(self, wanted: Period, **settings: Any) -> Plan:
        records = [*wanted.head, *self.store.journal.records(wanted.after, limit=10_000, upto=wanted.upto)]
        inputs = inputs_of(enumerate(records), "inbox", collector_kinds())
        before = Version(settings=CorrelationSettings(), rules=shipped_rules())
        after = msgspec.structs.replace(before, settings=CorrelationSettings.model_validate(settings))
        return plan(inputs, collector_kinds(), rule_kinds(), before=before, after=after, since=wanted.since)


def _read(store: Store, story: Story) -> Runner:
    fields = ("kind", "body", "collector", "source", "actor")
    rows = [(one.number, one.at, NewRecord(**{name: getattr(one, name) for name in fields})) for one in story.records]
    store.journal.append(rows)
    failed: list[Exception] = []
    runner = Runner(new_engine(), store.journal, lambda: None, failed.append)
    runner.restore()
    runner.start(WritingInbox(store.journal, lambda: story.now, on_append=lambda: None, on_fatal=failed.append))
    assert runner.caught_up(len(rows))
    runner.stop()
    assert not failed
    return runner


def weeks(days: int = 10) -> Story:
    """A problem a day; since the fifth day one that nobody mends."""
    story = Story("shop depends_on api", "api depends_on db1", "mail depends_on disk")
    for day in range(days):
        story.at(day * DAY_S + 3600).fire("db1").after(20).fire("api").after(1800).resolve("db1", "api")
        if day == 5:
            story.fire("mail", name="Stuck", holds_s=None, collector="alertmanager_webhook")
    return story.after(3600).tick()


def test_what_is_told_of_a_period_is_what_is_told_of_it_in_all_of_history(store: Store):
    running = Running(store, weeks())
    part, whole = running.period(7.5 * DAY_S), running.period(None)
    whole = msgspec.structs.replace(whole, since=part.since)
    of_part, of_whole = (running.planned(one, group={"threshold": 0.9}) for one in (part, whole))

    assert part.after > 5
    assert of_part.before.tickets == of_whole.before.tickets == 2
    assert [each.kind for each in of_part.differences] == [each.kind for each in of_whole.differences]
    assert [each.reason for each in of_part.differences] == [each.reason for each in of_whole.differences]


def test_what_was_open_when_a_period_begins_is_read_from_its_beginning(store: Store):
    running = Running(store, weeks())
    part = running.period(7 * DAY_S)
    first = store.journal.records(part.after, limit=1)[0]

    assert first.at <= running.story.time(5 * DAY_S + 3600 + 1820)
    assert part.unknown == 0


def test_what_has_been_open_for_longer_than_the_period_is_long_is_counted_and_not_read(store: Store):
    running = Running(store, weeks(30))
    part = running.period(28.5 * DAY_S)

    assert store.journal.records(part.after, limit=1)[0].at >= running.story.time(26.9 * DAY_S)
    assert part.unknown == 1


def test_a_period_ends_where_it_is_to_end(store: Store):
    running = Running(store, weeks())
    part = running.period(3 * DAY_S, until_s=5 * DAY_S)

    assert part.last_at is not None
    assert part.last_at < running.story.time(5 * DAY_S)
    assert store.journal.records(part.upto, limit=1)[0].at >= running.story.time(5 * DAY_S)


def test_it_brings_along_what_was_in_force_and_not_what_was_over(store: Store):
    story = weeks(2).silence("over", 'host="db1"', for_s=60).silence("lasts", 'host="disk"', for_s=30 * DAY_S)
    story.window("works", "disk", spans_s=[(20 * DAY_S, 21 * DAY_S)]).judge(
        JudgementKind.CAUSE, situation="S-1", cis=("db1",)
    )
    for day in range(5, 12):
        story.at(day * DAY_S).fire("db1").after(60).resolve("db1")
    head = Running(store, story.after(60).tick()).period(9 * DAY_S).head
    done = [msgspec.json.decode(one.body, type=OperatorRecord) for one in head if one.kind is RecordKind.OPERATOR]

    assert [one.kind for one in head[:2]] == [RecordKind.SETTINGS, RecordKind.TOPOLOGY]
    assert [one.set_silence.id for one in done if one.set_silence] == ["lasts"]
    assert [one.set_window.id for one in done if one.set_window] == ["works"]
    assert len(done) == 2


def test_what_retention_has_forgotten_is_as_it_is_now(store: Store):
    story = weeks(2).silence("lasts", 'host="disk"', for_s=30 * DAY_S)
    story.window("works", "disk", spans_s=[(20 * DAY_S, 21 * DAY_S)]).at(4 * DAY_S).fire("db1").after(60).tick()
    running = Running(store, story)
    with store.write() as connection:
        connection.exec_driver_sql(f"DELETE FROM inbox WHERE number < {len(story.records) - 1}")
    found = running.period(None)
    done = [msgspec.json.decode(one.body, type=OperatorRecord) for one in found.head[2:]]

    assert [one.kind for one in found.head[:2]] == [RecordKind.SETTINGS, RecordKind.TOPOLOGY]
    assert [(one.set_silence or one.set_window).id for one in done if one.set_silence or one.set_window] == [
        "lasts",
        "works",
    ]
    assert all(one.at <= story.time(4 * DAY_S) for one in found.head)


def drifting() -> Story:
    """Each day a relationship comes and one goes, and the database of the day is in trouble."""
    story = Story("shop depends_on db0")
    for day in range(1, 10):
        story.at(day * DAY_S).delta(f"shop depends_on db{day}", gone=[f"shop depends_on db{day - 1}"])
        story.after(60).fire(f"db{day}", "shop").after(1800).resolve(f"db{day}", "shop")
    return story.after(60).tick()


def needs(found: Period, journal: Journal) -> list[list[str]]:
    """What the shop depends on after each record of topology of a period."""
    fold, seen = Fold(), []
    for record in (*found.head, *journal.records(found.after, limit=10_000, upto=found.upto)):
        if record.kind is RecordKind.TOPOLOGY:
            fold.read(msgspec.json.decode(record.body, type=TopologyRecord))
            seen.append(sorted(tie.target for tie in fold.whole().relationships))
    return seen


def test_a_topology_that_came_by_deltas_is_brought_along_whole(store: Store):
    found = Running(store, drifting()).period(8.5 * DAY_S)
    (head,) = (record for record in found.head if record.kind is RecordKind.TOPOLOGY)

    assert msgspec.json.decode(head.body, type=TopologyRecord).delta is None
    assert needs(found, store.journal) == [["db7"], ["db8"], ["db9"]]


def test_where_the_topology_before_is_forgotten_the_deltas_behind_it_lead_to_what_is_in_force(store: Store):
    running = Running(store, drifting())
    with store.write() as connection:
        connection.exec_driver_sql("DELETE FROM inbox WHERE number < 20")
    seen = needs(running.period(None), store.journal)

    assert seen[0] == ["db9"]
    assert seen[-1] == ["db9"]
    assert len(seen) > 3


def test_where_another_store_knows_the_topology_before_that_is_brought_along(store: Store):
    running = Running(store, drifting())
    with store.write() as connection:
        connection.exec_driver_sql("DELETE FROM inbox WHERE number < 20")
    then = TopologyRecord(version="elsewhere", cis=(CI(id="shop"), CI(id="old")), relationships=())
    found = past.ask(Asked(running, lambda moment: then), None, None)
    seen = needs(found, store.journal)

    assert seen[0] == []
    assert seen[-1] == ["db9"]


@pytest.mark.parametrize(
    ("opened_h", "begin_h"), [([], -24), ([-3], -24), ([-30, -3], -30), ([-400, -30], -72)], ids=str
)
def test_a_period_of_three_days_reads_back_a_day_or_to_the_oldest_but_no_further_than_it_is_long(
    opened_h: list[int], begin_h: int
):
    opened_at = [NOON + seconds(hours * 3600) for hours in opened_h]

    assert begins(opened_at, NOON, NOON + timedelta(days=3)) == NOON + timedelta(hours=begin_h)


class Asked(Client):
    """A Foreshock that runs here, asked over its API."""

    def __init__(self, running: Running, as_of: AsOf = lambda moment: None) -> None:
        super().__init__("http://here", None)
        app = FastAPI()
        app.include_router(history_api(running.store, running.runner, as_of))
        self._app = TestClient(app)

    def lines(self, path: str, **query: Any) -> bytes:
        answer = self._app.get(path, params=query)
        assert answer.status_code == 200
        return answer.content


def tickets_in(running: Running, since_s: float) -> dict[str, list[tuple[float, str]]]:
    """What a replay of the part from then on writes to tickets: (seconds, verb) by what the situation began with."""
    found = past.records(Asked(running), running.period(since_s))
    engine, told = new_engine(), Told()
    for record, _ in prepared(inputs_of(enumerate(found), "inbox", collector_kinds()), AS_RECORDED):
        told.hear(engine.step([(record, None)]))
    return written_in(told, running.story, since_s)


def written_in(told: Told, story: Story, since_s: float) -> dict[str, list[tuple[float, str]]]:
    written: dict[str, list[tuple[float, str]]] = {}
    for order in told.orders:
        if order.at >= story.time(since_s):
            at_s = (order.at - story.start).total_seconds()
            written.setdefault(order.fields["title"].partition(",")[0], []).append((at_s, order.verb.value))
    return written


def test_what_people_did_with_tickets_is_known_in_a_part_though_situations_have_other_numbers_there(store: Store):
    story = weeks(8)
    day = 8 * DAY_S
    story.at(day).fire("db1", name="Full").after(40).tick()
    closed = next(one.id for one in story.engine.situations.values() if "Full" in one.title)
    story.fire("disk", name="Broken").after(40).tick()
    story.person("closed", closed, code="No fault found").after(600).resolve("db1", name="Full")
    story.after(60).resolve("disk", name="Broken").after(3600).tick()
    running = Running(store, story)

    found = tickets_in(running, 7.5 * DAY_S)

    assert running.period(7.5 * DAY_S).after > 0
    assert found == written_in(story.told, story, 7.5 * DAY_S)
    assert [verb for _, verb in found["Full on db1"]] == ["open"]
    assert [verb for _, verb in found["Broken on disk"]][-1] == "resolve"


def test_what_came_back_later_does_not_hear_what_was_done_with_the_ticket_before(store: Store):
    story = weeks(8)
    story.at(8 * DAY_S).fire("db1", name="Full").after(60).resolve("db1", name="Full").after(2 * DAY_S).tick()
    late = next(one for one in reversed(story.told.orders) if "Full" in one.fields["title"]).situation
    story.fire("db1", name="Full").after(60).tick().person("closed", late)
    story.after(60).resolve("db1", name="Full").after(3600).tick()
    found = tickets_in(Running(store, story), 7.5 * DAY_S)

    assert found == written_in(story.told, story, 7.5 * DAY_S)
    assert [verb for _, verb in found["Full on db1"]].count("resolve") == 2


def test_what_cannot_be_known_by_alerts_is_left_out_of_a_part_and_is_in_all_of_history(store: Store):
    story = weeks(8).person("closed", "P-1").person("closed", "S-900")
    asked = Asked(Running(store, story))

    def changes(since_s: float | None) -> int:
        since = None if since_s is None else story.time(since_s)
        found = past.records(asked, past.ask(asked, since, None))
        return sum(one.kind is RecordKind.TICKET for one in found)

    assert (changes(7.2 * DAY_S), changes(None)) == (0, 2)
