"""A new installation that begins with history: it knows it, and opens no ticket for it."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from correlation.feedback import labels
from foreshock.core.contracts import NewRecord, Record, RecordKind, Verb
from foreshock.core.errors import Rejected
from foreshock.core.model import Judgement, JudgementKind, SituationState
from foreshock.service.engine import Engine
from foreshock.service.history_import import imported, read_in
from foreshock.service.recorded import Input
from foreshock.service.records import SettingsRecord, TopologyRecord
from foreshock.store import migrations
from foreshock.store.store import Store
from foreshock.testing.records import Story, new_engine, seconds

SETTINGS = SettingsRecord(correlation={}, sinks=("desk",))
DAY_S = 86_400.0


def brought(
    story: Story,
    *,
    said: Sequence[Judgement] = (),
    now: datetime | None = None,
    topology: TopologyRecord | None = None,
) -> list[tuple[datetime, NewRecord]]:
    inputs = [Input(record=record, ids=("0",)) for record in story.records]
    now = now or story.now + timedelta(days=1)
    return list(imported(inputs, said, settings=SETTINGS, topology=topology, only_this=topology is not None, now=now))


def numbered(records: Sequence[tuple[datetime, NewRecord]]) -> list[Record]:
    return [
        Record(number=number, at=at, kind=one.kind, body=one.body, collector=one.collector, source=one.source,
               actor=one.actor)
        for number, (at, one) in enumerate(records, 1)
    ]  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(f"sqlite:///{tmp_path}/foreshock.db")
    migrations.upgrade(store.migration_engine)
    yield store
    store.close()


class Installation:
    """An engine that has read history, and then goes on live."""

    def __init__(self, records: Sequence[tuple[datetime, NewRecord]]) -> None:
        self.engine, self.tickets = new_engine(), 0
        self.records = numbered(records)
        for record in self.records:
            self._step(record)
        assert self.tickets == 0

    def starts(self, at: datetime) -> "Installation":
        return self.hears(at, RecordKind.SETTINGS, msgspec.json.encode(SETTINGS))

    def hears(self, at: datetime, kind: RecordKind, body: bytes = b"") -> "Installation":
        collector = "alertmanager" if kind is RecordKind.EVENTS else ""
        self._step(Record(number=self.engine.record + 1, at=at, kind=kind, body=body, collector=collector))
        return self

    def _step(self, record: Record) -> None:
        orders = self.engine.step([(record, None)]).orders
        self.tickets += sum(order.verb is Verb.OPEN for order in orders)
        assert self.tickets or not orders, "a write without a ticket"


steps = st.lists(
    st.tuples(
        st.sampled_from(["fire", "webhook", "resolve", "silence", "judge", "person", "settings"]),
        st.integers(0, 700),
        st.sampled_from(["db1", "api", "shop"]),
        st.sampled_from(["Down", "Full"]),
    ),
    min_size=1,
    max_size=20,
)


def told(found: list[tuple[str, int, str, str]]) -> Story:
    story = Story("shop depends_on api", "api depends_on db1")
    for number, (what, pause_s, host, name) in enumerate(found):
        story.after(pause_s)
        if what == "fire":
            story.fire(host, name=name)
        elif what == "webhook":  # nothing ends these but their source
            story.fire(host, name=name, collector="alertmanager_webhook")
        elif what == "resolve":
            story.resolve(host, name=name)
        elif what == "silence":
            story.silence(f"s{number}", f'host="{host}"', for_s=300)
        elif what == "person":
            story.person("taken")
        elif what == "settings":
            story.settings({"ticket": {"delay": "1s"}})
        elif story.engine.alerts:
            story.judge(JudgementKind.CAUSE, situation="S-1", cis=("db1",))
    return story


@given(steps, st.integers(0, 9000))
@settings(max_examples=80)
def test_no_ticket_is_opened_for_what_is_past(found: list[tuple[str, int, str, str]], later_s: int):
    """However soon after its end the installation starts, and whatever still fired then."""
    story = told(found)
    now = story.now + seconds(later_s)
    installation = Installation(brought(story, said=story.told.judgements, now=now)).starts(now)
    for pause_s in (1, 60, 600, 7200, DAY_S):
        installation.hears(now + seconds(pause_s), RecordKind.TICK)

    assert installation.tickets == 0
    assert all(one.state is not SituationState.OPEN for one in installation.engine.situations.values())


def test_what_fires_from_then_on_has_its_ticket():
    story = Story().fire("db1", collector="alertmanager_webhook").after(600).tick()
    now = story.now + timedelta(days=1)
    alert = [{"labels": {"alertname": "Down", "host": "db1", "severity": "critical"}}]
    installation = Installation(brought(story)).starts(now)
    installation.hears(now + seconds(10), RecordKind.EVENTS, msgspec.json.encode(alert))
    installation.hears(now + seconds(300), RecordKind.TICK)

    assert installation.tickets == 1


def test_what_fires_again_at_once_has_its_ticket_too():
    story = Story().fire("db1").after(600).tick()
    now = story.now + seconds(5)
    alert = [{"labels": {"alertname": "Down", "host": "db1", "severity": "critical"}}]
    installation = Installation(brought(story, now=now)).starts(now)
    installation.hears(now + seconds(10), RecordKind.EVENTS, msgspec.json.encode(alert))
    installation.hears(now + seconds(300), RecordKind.TICK)

    assert installation.tickets == 1


def test_its_situations_are_those_of_the_past(store: Store):
    story = Story("shop depends_on api", "api depends_on db1").fire("db1").after(20).fire("api").resolve("db1", "api")
    story.at(9000).fire("shop").after(600).resolve("shop").after(3600).tick()
    read_in(store.journal, new_engine(), store.journal.fill(brought(story)), lambda done: None)

    assert [row.alerts for row in store.situations(states=["resolved"], limit=9)] == [1, 2]


SAID = {
    JudgementKind.MERGE: {"situation": "S-1", "other": "S-2"},
    JudgementKind.NOT_RELATED: {"situation": "S-1", "other": "S-2"},
    JudgementKind.SPLIT: {"situation": "S-1", "alerts": ("api",)},
    JudgementKind.MOVE: {"situation": "S-1", "other": "S-2", "alerts": ("api",)},
    JudgementKind.CAUSE: {"situation": "S-1", "cis": ("db1",)},
}


@pytest.mark.parametrize("kind", SAID)
def test_what_people_said_is_brought_along_with_the_alerts_it_was_about(kind: JudgementKind):
    story = Story("api depends_on db1").fire("db1").after(20).fire("api").after(20).fire("mail").after(60).tick()
    story.judge(kind, **SAID[kind]).after(60).tick()
    (before,) = story.told.judgements
    effects = [
        new.step([(record, None)])
        for new in [new_engine()]
        for record in numbered(brought(story, said=story.told.judgements))
    ]
    (after,) = (judgement for each in effects for _, judgement in each.judgements)

    def meant(judgement: Judgement) -> list[tuple[object, ...]]:
        return [(one.says, one.alert, one.other, one.ci, one.by) for one in labels(judgement)]

    assert meant(before)
    assert meant(after) == meant(before)
    assert (after.comment, after.cis) == (before.comment, before.cis)


def test_another_topology_may_stand_for_that_of_history():
    story = Story("api depends_on db1").fire("db1").after(20).fire("api").after(600).tick()
    bare = TopologyRecord(version="bare", cis=(), relationships=())
    versions = [
        msgspec.json.decode(one.body, type=TopologyRecord).version
        for _, one in brought(story, topology=bare)
        if one.kind is RecordKind.TOPOLOGY
    ]

    assert versions == ["bare"]


def test_history_that_has_not_happened_yet_is_refused():
    story = Story().fire("db1")

    with pytest.raises(Rejected, match="goes on to 2026-03-02 12:00:00 UTC, and now it is 2026-03-02 11:00:00"):
        brought(story, now=story.start - timedelta(hours=1))


def test_history_without_records_is_refused():
    with pytest.raises(Rejected, match="holds no records"):
        list(imported([], [], settings=SETTINGS, topology=None, only_this=False, now=Story().now))


def test_a_store_holds_what_came_of_it(store: Store):
    story = Story("api depends_on db1").fire("db1").after(20).fire("api").after(600).tick()
    story.judge(JudgementKind.CAUSE, situation="S-1", cis=("db1",)).after(60).tick()
    records = store.journal.fill(brought(story, said=story.told.judgements))
    engine: Engine = new_engine()
    heard: list[int] = []
    read_in(store.journal, engine, records, heard.append)

    assert heard[-1] == records == store.journal.last_record()[0] == store.journal.position()[0]
    assert [row.id for row in store.situations(states=["resolved"], limit=9)] == ["S-1"]
    assert [one.actor for one in store.judgements(limit=9)] == ["mira"]
    with store.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM outbox").scalar() == 0


def test_a_store_with_records_is_refused_and_stays_as_it_was(store: Store):
    story = Story().fire("db1")
    records = store.journal.fill(brought(story))

    with pytest.raises(Rejected, match="this store has records already"):
        store.journal.fill(brought(story))
    assert store.journal.last_record()[0] == records


def test_history_that_cannot_be_read_to_its_end_leaves_nothing_behind(store: Store):
    def broken() -> Iterator[tuple[datetime, NewRecord]]:
        yield from brought(Story().fire("db1"))
        raise Rejected("line 7 cannot be read")

    with pytest.raises(Rejected, match="line 7"):
        store.journal.fill(broken())
    assert store.journal.last_record()[0] == 0
