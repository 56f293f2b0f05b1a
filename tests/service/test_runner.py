"""The engine's thread: what goes into one step, and that no record is left out or read twice however steps are cut."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from foreshock.core.contracts import NewRecord, RecordKind
from foreshock.service import runner as runner_module
from foreshock.service.engine import Engine
from foreshock.service.front import collector_kinds
from foreshock.service.inbox import WritingInbox
from foreshock.service.runner import Runner
from foreshock.service.settings import rule_kinds
from foreshock.store import migrations
from foreshock.store.journal import Journal

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
