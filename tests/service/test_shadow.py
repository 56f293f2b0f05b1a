"""A candidate beside the live rules: the same records, what would have been different, and no ticket."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import msgspec
import pytest

from correlation.settings import CorrelationSettings
from foreshock.core.contracts import NewRecord, Record
from foreshock.core.errors import Rejected
from foreshock.core.model import JudgementKind
from foreshock.service.applying import Changed
from foreshock.service.clock import utc_now
from foreshock.service.plan.compare import Kind, Plan
from foreshock.service.proposal import proposed_by
from foreshock.service.replay import Version
from foreshock.service.ruleset import Ruleset, version_of
from foreshock.service.settings import collector_kinds, rule_kinds
from foreshock.service.shadow import Report, Shadow, Task
from foreshock.service.shadow_work import REPORT, Reached, Work, compare_apart
from foreshock.service.shadowing import LiveShadows, State
from foreshock.store import migrations
from foreshock.store.journal import Journal
from foreshock.testing.records import Story
from foreshock.testing.servers import eventually

RELATIONS = ("shop depends_on api", "api depends_on db1")


def task(story: Story, **settings: Any) -> Task:
    proposed = proposed_by(Version(settings=CorrelationSettings.model_validate(settings)))
    return Task(
        proposed=proposed,
        version=version_of(proposed),
        against="",
        started_at=story.now + timedelta(seconds=1),
        until=story.now + timedelta(days=1),
        actor="anna",
        reason="to see",
    )


def state(story: Story) -> list[tuple[str, str, bytes]]:
    return [(kind, key, body) for kind, key, body in story.engine.checkpoint() if body is not None]


def compared(
    begun: Task,
    items: Sequence[tuple[str, str, bytes]],
    records: Sequence[Record],
    story: Story,
    chunk: int = 1000,
    now: datetime | None = None,
) -> Plan:
    with ExitStack() as files:
        one, other = (files.enter_context(TemporaryFile()) for _ in range(2))
        shadow = Shadow(begun, items, collector_kinds(), rule_kinds(), (one, other))
        for at in range(0, len(records), chunk):
            shadow.read(records[at : at + chunk])
        return shadow.finish(now or story.now)


def outage(story: Story) -> Story:
    for ci in ("db1", "api", "shop"):
        story.after(10).fire(ci, severity="warning")
    return story.after(120).tick()


def test_a_candidate_that_says_the_same_makes_no_difference():
    story = outage(Story(*RELATIONS))
    begun, items, seen = task(story), state(story), len(story.records)
    outage(story).fire("web9", name="Slow").after(90).tick()

    found = compared(begun, items, story.records[seen:], story)

    assert (found.differences, found.same, found.before.tickets) == ((), 1, 1)


def test_what_would_be_different_is_told_and_what_was_open_before_is_not():
    story = Story(*RELATIONS)
    story.fire("db1", name="Old").fire("api", name="Old").after(60).tick()
    begun, items, seen = task(story, group={"threshold": 0.99}), state(story), len(story.records)
    outage(story.after(3600))

    found = compared(begun, items, story.records[seen:], story)

    assert [each.kind for each in found.differences] == [Kind.SPLIT]
    assert (found.before.tickets, found.after.tickets) == (1, 3)
    assert {incident.title for incident in found.differences[0].after} == {"Down on db1", "Down on api", "Down on shop"}


def test_where_alerts_are_that_joined_what_had_begun_before_is_said():
    story = Story(*RELATIONS)
    story.fire("db1", severity="warning").after(60).tick()
    begun, items, seen = task(story, group={"threshold": 0.99}), state(story), len(story.records)
    story.after(60).fire("api", severity="warning").after(120).tick()

    (found,) = compared(begun, items, story.records[seen:], story).differences

    assert (found.kind, found.reason) == (
        Kind.APPEARED,
        "without the change its alerts are in S-1, which began before",
    )


def test_tickets_and_what_people_said_of_live_situations_are_left_out():
    story = Story(*RELATIONS)
    begun, items, seen = task(story), state(story), len(story.records)
    outage(story)
    story.person("closed").after(60).tick()
    story.judge(JudgementKind.SPLIT, situation="S-1", alerts=("shop",)).after(60).tick()

    found = compared(begun, items, story.records[seen:], story)

    assert (found.differences, found.same) == ((), 1)


def test_other_settings_that_come_into_force_do_so_on_the_live_side_only():
    story = Story(*RELATIONS)
    begun, items, seen = task(story), state(story), len(story.records)
    story.after(10).settings({"group": {"threshold": 0.99}})
    outage(story)

    found = compared(begun, items, story.records[seen:], story)

    assert [each.kind for each in found.differences] == [Kind.MERGED]


@pytest.mark.parametrize("chunk", [1, 3])
def test_it_comes_to_the_same_however_it_was_interrupted(chunk: int):
    story = outage(Story(*RELATIONS))
    begun, items, seen = task(story, group={"threshold": 0.8}), state(story), len(story.records)
    outage(story).silence("q", 'alertname="Slow"', for_s=600)
    story.after(5).fire("web1", "web2", name="Slow").after(900).tick()
    records = story.records[seen:]

    whole = compared(begun, items, records, story)

    assert compared(begun, items, records, story, chunk) == whole


def test_a_comparison_leaves_both_sides_as_they_were(tmp_path: Path):
    story = Story(*RELATIONS)
    begun, items = task(story, group={"threshold": 0.99}), state(story)
    seen = len(story.records)
    for _ in range(2):
        outage(story.after(7200))
    half, rest = story.records[seen : seen + 5], story.records[seen + 5 :]
    with ExitStack() as files:
        stories = [files.enter_context(TemporaryFile(buffering=0)) for _ in range(2)]
        shadow = Shadow(begun, items, collector_kinds(), rule_kinds(), (stories[0], stories[1]))
        shadow.read(half)
        before = [file.seek(0, 2) for file in stories]
        compare_apart(shadow, Reached(half[-1].at, half[-1].number, 0, 0), tmp_path, (stories[0], stories[1]))
        assert [file.seek(0, 2) for file in stories] == before
        shadow.read(rest)
        found = shadow.finish(story.now)

    first = msgspec.json.decode((tmp_path / REPORT).read_bytes(), type=Report)
    assert first.plan == compared(begun, items, half, story, now=half[-1].at)
    assert found == compared(begun, items, [*half, *rest], story)


# ---- the process ----------------------------------------------------------------------------------------------------


class Store:
    """A live Foreshock's store, written as it would be."""

    def __init__(self, folder: Path) -> None:
        self.url = f"sqlite:///{folder / 'foreshock.db'}"
        self.folder = folder / "shadow"
        self.folder.mkdir()
        self.journal = Journal(self.url)
        migrations.upgrade_journal(self.journal)

    def write(self, records: Sequence[Record]) -> None:
        names = ("kind", "body", "collector", "source", "actor")
        news = [NewRecord(**{name: getattr(each, name) for name in names}) for each in records]
        self.journal.append([(each.number, each.at, new) for each, new in zip(records, news, strict=True)])

    def report(self) -> Report | None:
        path = self.folder / REPORT
        return msgspec.json.decode(path.read_bytes(), type=Report) if path.exists() else None


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    found = Store(tmp_path)
    yield found
    found.journal.close()


@contextmanager
def process(store: Store, begun: Task) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "foreshock.service.shadow_work"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdin is not None
        work = Work(store_url=store.url, folder=str(store.folder), task=begun)
        child.stdin.write(msgspec.json.encode(work) + b"\n")
        child.stdin.flush()
        try:
            yield child
        finally:
            child.kill()


def test_the_process_follows_the_inbox_and_ends_with_who_started_it(store: Store):
    story = outage(Story(*RELATIONS, start=utc_now() - timedelta(minutes=10)))
    begun = msgspec.structs.replace(task(story, group={"threshold": 0.99}), started_at=story.start)
    store.write(story.records[:3])
    with process(store, begun) as child:
        eventually(lambda: (found := store.report()) and found.position == 3, within_s=60, what="a report")
        store.write(story.records[3:])
        last = story.records[-1].number
        eventually(lambda: (found := store.report()) and found.position == last, within_s=180, what="the next one")
        assert child.stdin is not None
        child.stdin.close()
        assert child.wait(30) == 0

    found = store.report()
    assert found is not None
    assert found.verdict.startswith("1 split")
    assert (found.behind, found.left_out) == (0, 0)


def test_its_end_is_the_time_it_was_given(store: Store):
    story = outage(Story(*RELATIONS, start=utc_now() - timedelta(minutes=10)))
    store.write(story.records)
    begun = msgspec.structs.replace(task(story), until=utc_now() - timedelta(minutes=1))
    with process(store, begun) as child:
        assert child.wait(60) == 0
    found = store.report()
    assert found is not None
    assert found.position == story.records[-1].number


def test_records_that_are_gone_end_it_with_what_to_do(store: Store):
    story = outage(Story(*RELATIONS))
    store.write([record for record in story.records if record.number != 3])
    with process(store, task(story)) as child:
        _, said = child.communicate(timeout=60)
    assert child.returncode == 1
    assert b"record 3 is no longer in the inbox; start it again from now" in said
    assert b"Traceback" not in said


# ---- the service's side ---------------------------------------------------------------------------------------------


class Live:
    """Stands for the live rules and the inbox."""

    def __init__(self, story: Story) -> None:
        self.runs = proposed_by(Version())
        self.story = story
        self.applied: list[str] = []

    def get(self, version: str) -> Ruleset:
        return self.runs

    def examine(self, proposed: Ruleset, *, version: str, against: str) -> None:
        if against != version_of(self.runs):
            raise Rejected("another one runs")

    def apply(self, proposed: Ruleset, *, version: str, against: str, reason: str, actor: str) -> Changed:
        self.examine(proposed, version=version, against=against)
        self.runs = proposed
        self.applied.append(version)
        return Changed(version=version, previous=against, changes=(), reflected=True)

    @property
    def last(self) -> int:
        return len(self.story.records)

    def append_now(self, record: NewRecord) -> int:
        self.story._add(record.kind, record.body, actor=record.actor, source=record.source)
        return self.last

    @property
    def audit(self) -> list[tuple[str, str]]:
        return [(row.actor, row.action) for row in self.story.told.audit if row.kind == "shadow"]


@pytest.fixture
def live() -> Live:
    return Live(Story(*RELATIONS, start=utc_now()))


@pytest.fixture
def shadows(live: Live, store: Store) -> Iterator[LiveShadows]:
    made = again(live, store)
    yield made
    made.close()


def again(live: Live, store: Store) -> LiveShadows:
    return LiveShadows(
        rules=live,  # type: ignore[arg-type]
        inbox=live,  # type: ignore[arg-type]
        store_url=store.url,
        folder=store.folder,
        longest=lambda: timedelta(days=14),
        clock=utc_now,
    )


def start(shadows: LiveShadows, live: Live, *, length: timedelta = timedelta(hours=1), **settings: Any) -> str:
    proposed = proposed_by(Version(settings=CorrelationSettings.model_validate(settings)))
    shadows.start(
        proposed,
        version=version_of(proposed),
        against=version_of(live.runs),
        length=length,
        reason="to see",
        actor="anna",
    )
    return version_of(proposed)


def reported(shadows: LiveShadows) -> Callable[[], bool]:
    return lambda: (found := shadows.status()) is not None and found.report is not None


def test_a_run_is_told_with_its_changes_and_goes_on_after_a_restart(shadows: LiveShadows, live: Live, store: Store):
    store.write(live.story.records)
    version = start(shadows, live, group={"threshold": 0.5})
    eventually(reported(shadows), within_s=60, what="a report")
    shadows.close()
    (store.folder / REPORT).unlink()

    restarted = again(live, store)
    restarted.resume()
    try:
        eventually(reported(restarted), within_s=60, what="a report after the restart")
        found = restarted.status()
        assert found is not None
        assert (found.version, found.state, found.changes) == (version, State.RUNNING, ("group.threshold: 0.4 → 0.5",))
    finally:
        restarted.close()


def test_a_run_that_is_killed_is_told_of_and_does_nothing_else(shadows: LiveShadows, live: Live, store: Store):
    start(shadows, live, group={"threshold": 0.5})
    assert shadows._process is not None
    os.kill(shadows._process.pid, signal.SIGKILL)
    shadows._process.wait()

    shadows.look()

    found = shadows.status()
    assert found is not None
    assert (found.state, found.error) == (State.FAILED, "it ended with code -9")
    assert live.audit == [("anna", "started"), ("foreshock", "failed")]
    start(shadows, live, group={"threshold": 0.6})  # and the next one may begin


def test_only_one_runs_at_a_time_and_for_no_longer_than_it_could_be_read_again(shadows: LiveShadows, live: Live):
    with pytest.raises(Rejected, match=r"it is to run for 15d; say 1m to 14d, which is `retention.age`"):
        start(shadows, live, length=timedelta(days=15), group={"threshold": 0.5})
    with pytest.raises(Rejected, match="is what runs"):
        start(shadows, live)
    start(shadows, live, group={"threshold": 0.5})
    with pytest.raises(Rejected, match=r"runs as a shadow already, started by anna .*; stop it first"):
        start(shadows, live, group={"threshold": 0.6})


def test_a_stopped_run_keeps_what_it_found_and_can_still_be_applied(shadows: LiveShadows, live: Live):
    version = start(shadows, live, group={"threshold": 0.5})
    assert shadows.stop(actor="mira").state is State.STOPPED
    with pytest.raises(Rejected, match="no shadow runs"):
        shadows.stop(actor="mira")

    assert shadows.apply(reason="good", actor="anna").version == version
    assert live.audit == [("anna", "started"), ("mira", "stopped")]


def test_applied_while_it_runs_it_ends(shadows: LiveShadows, live: Live):
    version = start(shadows, live, group={"threshold": 0.5})

    shadows.apply(reason="good", actor="anna")

    found = shadows.status()
    assert found is not None
    assert (live.applied, found.state) == ([version], State.STOPPED)


def test_without_a_run_there_is_nothing_to_apply(shadows: LiveShadows):
    with pytest.raises(Rejected, match="there is no shadow run"):
        shadows.apply(reason="good", actor="anna")
    assert shadows.status() is None
