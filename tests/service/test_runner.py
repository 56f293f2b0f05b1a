"""The engine's thread: what goes into one step, and that no record is left out or read twice however steps are cut."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from foreshock.core.contracts import NewRecord, Record, RecordKind
from foreshock.service import runner as runner_module
from foreshock.service.engine import Engine
from foreshock.service.inbox import WritingInbox
from foreshock.service.report import By, report
from foreshock.service.runner import Runner
from foreshock.service.settings import collector_kinds, rule_kinds
from foreshock.store import migrations
from foreshock.store.journal import Journal
from foreshock.store.store import Store
from foreshock.testing.records import NOON as NOON_OF_STORIES
from foreshock.testing.records import Story

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(f"sqlite:///{tmp_path / 'journal.db'}")
    journal.claim()
    migrations.upgrade_journal(journal)
    yield journal
    journal.close()


def batch(number: int) -> NewRecord:
    """The same alert each time, and one of its own."""
    alerts = [{"labels": {"alertname": name}, "endsAt": "2099-01-01T00:00:00Z"} for name in ("Same", f"New{number}")]
    body = msgspec.json.encode(alerts)
    return NewRecord(kind=RecordKind.EVENTS, body=body, items=2, collector="alertmanager", source="alertmanager")


def run(journal: Journal, records: int) -> Runner:
    """All that wait, read by a new engine that then ends."""
    journal.append([(number, NOON, batch(number)) for number in range(1, records + 1)])
    failed: list[Exception] = []
    runner = Runner(Engine(collector_kinds(), rule_kinds()), journal, lambda: None, failed.append)
    runner.restore()
    runner.start(WritingInbox(journal, lambda: NOON, on_append=lambda: None, on_fatal=failed.append))
    assert runner.caught_up(records)
    runner.stop()
    assert not failed
    return runner


@pytest.mark.parametrize(("step_s", "steps"), [(0.0, 12), (60.0, 1)])
def test_a_step_that_takes_too_long_ends_and_the_next_goes_on_where_it_did(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, step_s: float, steps: int
):
    monkeypatch.setattr(runner_module, "_STEP_S", step_s)

    runner = run(journal, 12)

    counts = {alert.label("alertname"): alert.count for alert in runner.engine.alerts.values()}
    assert counts == {"Same": 12, **{f"New{number}": 1 for number in range(1, 13)}}
    assert runner.steps - steps in range(5)  # and some that save the state
    assert journal.position() == (12, 12)


def go_on(journal: Journal, records: Sequence[Record]) -> None:
    """With a new engine, which finds what the one before it left."""
    journal.append(
        [
            (one.number, one.at, NewRecord(kind=one.kind, body=one.body, collector=one.collector, source=one.source))
            for one in records
        ]
    )
    failed: list[Exception] = []
    runner = Runner(Engine(collector_kinds(), rule_kinds()), journal, lambda: None, failed.append)
    runner.restore()
    runner.start(WritingInbox(journal, lambda: records[-1].at, on_append=lambda: None, on_fatal=failed.append))
    assert runner.caught_up(records[-1].number)
    runner.stop()
    assert not failed


def test_what_reports_need_is_on_disk_once_however_often_the_service_restarts(journal: Journal):
    settings = {"sla": {"targets": [{"priority": 3, "acknowledge": "10m", "resolve": "10m"}]}}
    story = Story(settings=settings).fire("db", holds_s=7200).fire("db", holds_s=7200)
    story.after(60).tick().after(300).person("taken").after(1200).tick().resolve("db").after(300).tick()
    for record in story.records:
        go_on(journal, [record])
    store = Store(journal.url)

    found = report(store, NOON_OF_STORIES, NOON_OF_STORIES + timedelta(days=1), By.TEAM)

    assert (found.all.events, found.all.alerts, found.all.tickets) == (3, 1, 1)
    assert (found.all.acknowledge.mean_s, found.all.resolve.count) == (330, 1)
    assert (found.all.sla_acknowledge.kept, found.all.sla_resolve.broken) == (1, 1)
    assert [notice.level for _, notice in store.notices(0, limit=9)] == [50, 50, 75, 100]
    assert [row.events for row in found.rows] == [3]
    store.close()
