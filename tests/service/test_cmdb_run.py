"""Syncs of CMDB sources: page by page, resumable, refused where they would retire too much, never half visible."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from foreshock.core.cmdb import CmdbPage, Expired, Item, Tie
from foreshock.core.contracts import Finding
from foreshock.core.errors import ConfigError, Denied, Held, Missing, Rejected, Unavailable
from foreshock.service.cmdb.run import Outcome, Sync, Wanted, is_gone
from foreshock.service.cmdb.schedule import Schedule
from foreshock.service.cmdb.status import views, worries
from foreshock.service.settings import Settings
from foreshock.store.cmdb import CmdbStore
from foreshock.store.cmdb_applying import follows

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Killed(BaseException):
    """The process ended here."""


class Estate:
    """A CMDB that answers in pages of two, with what changed since a mark. ``before``: runs before each answer."""

    def __init__(self, *names: str) -> None:
        self.names = list(names)
        self.ties: list[tuple[str, str]] = []
        self.changes: list[tuple[str, bool]] = []
        self.asked: list[tuple[str, str]] = []
        self.before: Callable[[int], None] = lambda number: None

    def rename(self, old: str, new: str) -> None:
        self.names[self.names.index(old)] = new

    def add(self, *names: str) -> None:
        self.names += names
        self.changes += [(name, True) for name in names]

    def remove(self, name: str) -> None:
        self.names.remove(name)
        self.changes.append((name, False))

    def page(self, cursor: str, mark: str) -> CmdbPage:
        self.asked.append((cursor, mark))
        self.before(len(self.asked))
        if mark:
            since = self.changes[int(mark) :]
            return CmdbPage(
                items=[Item(id=name, name=name) for name, there in since if there],
                gone=[name for name, there in since if not there],
                mark=str(len(self.changes)),
            )
        first = int(cursor or 0)
        last = first + 2 >= len(self.names)
        return CmdbPage(
            items=[Item(id=name, name=name) for name in self.names[first : first + 2]],
            ties=[Tie(source=a, type="uses", target=b) for a, b in self.ties] if last else [],
            next="" if last else str(first + 2),
            mark=str(len(self.changes)) if last else "",
            whole=last,
            expected=len(self.names),
        )

    def check(self) -> Sequence[Finding]:
        return ()


class World:
    def __init__(self, folder: Path) -> None:
        self.now = NOON
        self.slept: list[float] = []
        self.store = CmdbStore(f"sqlite:///{folder / 'cmdb.db'}")
        self.folder = folder
        self.sources: dict[str, Estate] = {}
        self.owners: dict[str, object] = {}

    def settings(self) -> Settings:
        entries = [{"name": name, "kind": "file", "path": "unused.yaml", "max_retire": 0.1} for name in self.sources]
        return Settings.model_validate({"state": self.folder, "topology": entries, "reconcile": self.owners})

    def sync(self, name: str = "one", **wanted: object) -> Outcome:
        self.now += timedelta(minutes=5)
        every = Sync(self.store, self.settings(), clock=lambda: self.now, sleep=self.slept.append, sources=self.sources)
        return every.run(name, Wanted(**wanted))  # type: ignore[arg-type]

    def seen(self) -> set[str]:
        return {ci.id for ci in self.store.as_of(self.now).cis}


@pytest.fixture
def world(tmp_path) -> Iterator[World]:
    found = World(tmp_path)
    yield found
    found.store.close()


@pytest.fixture
def estate(world) -> Estate:
    world.sources["one"] = Estate(*(f"host-{number}" for number in range(10)))
    return world.sources["one"]


def test_what_held_at_a_moment_is_known_for_readers_of_history(world, estate):
    world.sync()
    estate.add("host-10")
    world.sync()
    schedule = Schedule(world.settings, None, *cast(Any, (None, None, None)), lambda: world.now)
    before, first, now = (schedule.as_of(NOON + timedelta(minutes=after)) for after in (0, 6, 20))
    schedule.store.close()

    assert before is None
    assert first is not None
    assert now is not None
    assert {ci.id for ci in now.cis} - {ci.id for ci in first.cis} == {"host-10"}
    assert now.version == world.store.newest().name


def test_the_first_sync_reads_everything_and_the_next_only_what_changed(world, estate):
    first = world.sync()
    estate.add("host-10")
    estate.remove("host-0")
    second = world.sync()

    assert (first.outcome, first.full, first.counts.items) == ("changed", True, 10)
    assert (second.outcome, second.full, second.counts.items) == ("changed", False, 1)
    assert world.seen() == {f"host-{number}" for number in range(1, 11)}
    assert estate.asked[-1] == ("", "0")


def test_when_nothing_changed_there_is_no_version(world, estate):
    world.sync()

    assert (world.sync().outcome, world.store.newest().number) == ("unchanged", 1)


def test_a_sync_that_was_killed_is_gone_on_with_where_it_was(world, estate):
    def kill(number: int) -> None:
        if number == 4:
            raise Killed

    estate.before = kill
    with pytest.raises(Killed):
        world.sync()
    assert world.store.newest() is None
    estate.before = lambda number: None
    world.sync()

    assert [cursor for cursor, _ in estate.asked] == ["", "2", "4", "6", "6", "8"]
    assert len(world.seen()) == 10


def test_what_was_staged_is_put_into_force_by_the_next_sync_without_asking_again(world, estate):
    def stage() -> None:
        world.now += timedelta(minutes=5)
        Sync(world.store, world.settings(), clock=lambda: world.now, sources=world.sources).stage("one")

    stage()
    estate.add("host-10")
    stage()
    pages = len(estate.asked)
    assert world.store.newest() is None

    assert world.sync().outcome == "changed"
    assert world.seen() == {f"host-{number}" for number in range(11)}
    assert len(estate.asked) == pages


def test_what_was_interrupted_long_ago_is_begun_anew(world, estate):
    def kill(number: int) -> None:
        if number == 3:
            raise Killed

    estate.before = kill
    with pytest.raises(Killed):
        world.sync()
    estate.before = lambda number: None
    world.now += timedelta(hours=2)
    world.sync()

    assert [cursor for cursor, _ in estate.asked[3:]] == ["", "2", "4", "6", "8"]


def test_a_place_that_the_system_has_forgotten_makes_the_reading_whole(world, estate):
    world.sync()
    estate.add("host-10")
    estate.remove("host-0")

    def forget(number: int) -> None:
        if estate.asked[-1][1]:
            raise Expired("the mark is too old")

    estate.before = forget

    assert (world.sync().full, world.seen()) == (True, {f"host-{number}" for number in range(1, 11)})


def test_an_outage_in_mid_page_is_waited_out_as_long_as_the_system_asks(world, estate):
    def busy(number: int) -> None:
        if number in (2, 3):
            raise Unavailable("too many requests", retry_after_s=90 if number == 2 else None)

    estate.before = busy
    world.sync()

    assert world.slept == [60, 30, 2]
    assert len(world.seen()) == 10


def test_an_outage_that_lasts_leaves_the_old_state_and_the_next_sync_goes_on(world, estate):
    world.sync()
    estate.before = lambda number: (_ for _ in ()).throw(Unavailable("down")).__next__()
    with pytest.raises(Unavailable):
        world.sync(full=True)
    assert len(world.seen()) == 10
    [view] = views(world.settings().topology, world.store.sources(), world.now)
    assert (view.outcome, view.error) == ("failed", "down")
    assert view.age_s == 300

    estate.before = lambda number: None
    world.sync()
    [view] = views(world.settings().topology, world.store.sources(), world.now)
    assert (view.outcome, view.error) == ("unchanged", "")


def test_refused_credentials_are_told_and_change_nothing(world, estate):
    world.sync()
    estate.before = lambda number: (_ for _ in ()).throw(Denied("wrong password")).__next__()

    with pytest.raises(Denied):
        world.sync()

    assert len(world.seen()) == 10
    assert world.slept == []


def test_refused_credentials_are_told_at_once_until_the_next_good_sync(world, estate):
    def view():
        [found] = views(world.settings().topology, world.store.sources(), world.now)
        return found

    world.sync()
    estate.before = lambda number: (_ for _ in ()).throw(Denied("wrong password")).__next__()
    for failures in (1, 2):
        with pytest.raises(Denied):
            world.sync()
        assert (view().failures, view().denied) == (failures, True)

    [(labels, summary)] = worries([view()]).items()
    assert dict(labels)["alertname"] == "ForeshockCmdbDenied"
    assert "refuses our credentials: wrong password; its 10 CIs stay as they were at 2026-03-01 12:05 UTC" in summary

    estate.before = lambda number: None
    world.sync()
    assert (view().failures, view().denied, worries([view()])) == (0, False, {})


def test_how_often_a_source_failed_in_a_row_is_counted_be_it_that_it_goes_on_or_begins_anew(world, estate):
    def view():
        [found] = views(world.settings().topology, world.store.sources(), world.now)
        return found

    def down(number: int) -> None:
        if estate.asked[-1][0]:
            raise Unavailable("down", retry_after_s=3600)

    estate.before = down
    for failures in (1, 2, 3):
        with pytest.raises(Unavailable):
            world.sync()
        assert (view().failures, view().pages, view().denied) == (failures, 1, False)
    assert not worries([view()])

    estate.before = lambda number: (_ for _ in ()).throw(Rejected("what is this?")).__next__()
    with pytest.raises(Rejected):
        world.sync(full=True)
    assert view().failures == 4


def test_a_source_that_cannot_even_be_built_has_failed(world, tmp_path):
    entry = {"name": "one", "kind": "netbox", "url": "http://127.0.0.1:9", "token_file": str(tmp_path / "missing")}
    settings = Settings.model_validate({"state": tmp_path, "topology": [entry]})

    with pytest.raises(ConfigError):
        Sync(world.store, settings, clock=lambda: world.now).run("one")

    [view] = views(settings.topology, world.store.sources(), world.now)
    assert (view.outcome, view.failures) == ("failed", 1)
    assert "missing" in view.error


def test_a_source_that_goes_in_circles_is_stopped_and_named(world, estate):
    answer = CmdbPage(items=[Item(id="a", name="a")], next="again")
    estate.page = lambda cursor, mark: answer  # type: ignore[method-assign]

    with pytest.raises(Rejected, match="'one' goes in circles"):
        world.sync()


def test_a_reading_that_would_retire_too_much_is_an_outcome_and_opens_an_alert_until_it_is_good_again(world, estate):
    world.sync()
    gone = [estate.names.pop() for _ in range(3)]

    refused = world.sync(full=True)
    assert (refused.outcome, refused.counts.retiring) == ("refused", 3)
    assert len(world.seen()) == 10
    told = worries(views(world.settings().topology, world.store.sources(), world.now))
    assert [dict(labels)["alertname"] for labels in told] == ["ForeshockCmdbRefused"]
    assert "--accept-retire 3" in next(iter(told.values()))

    estate.names += gone
    world.sync(full=True)
    assert not worries(views(world.settings().topology, world.store.sources(), world.now))


def test_a_person_lets_so_many_go_once(world, estate):
    world.sync()
    del estate.names[7:]

    assert world.sync(full=True, accept_retire=2).outcome == "refused"
    assert world.sync(full=True, accept_retire=3).outcome == "changed"
    del estate.names[5:]
    assert world.sync(full=True).outcome == "refused"


def test_a_dry_run_says_what_would_change_and_changes_nothing(world, estate):
    world.sync()
    estate.add("host-10")

    would = world.sync(dry_run=True)

    assert [ci.id for ci in would.delta.put_cis] == ["host-10"]
    assert len(world.seen()) == 10
    assert world.sync().outcome == "changed"


def test_a_source_that_is_no_longer_in_the_settings_keeps_its_cis_until_a_person_lets_them_go(world, estate):
    world.sync()
    world.sources.clear()

    refused = world.sync("one")
    assert refused.outcome == "refused"
    assert "no longer in the settings" in refused.error
    assert len(world.seen()) == 10

    assert world.sync("one", accept_retire=10).outcome == "changed"
    assert world.seen() == set()
    with pytest.raises(Missing, match="no CMDB source is called 'one'"):
        world.sync("one")


def test_a_source_that_has_another_name_now_retires_nothing(world, estate):
    world.sync()
    world.sources = {"two": estate}
    world.sync("two")

    assert world.sync("one").outcome == "unchanged"
    assert len(world.seen()) == 10


def test_two_syncs_of_one_source_at_once_are_one_and_the_other_is_told(world, estate):
    refused = []

    def meanwhile(number: int) -> None:
        world.now -= timedelta(minutes=5)
        with pytest.raises(Held) as held:
            world.sync()
        refused.append(str(held.value))
        estate.before = lambda number: None

    estate.before = meanwhile
    world.sync()

    assert "is being read by process" in refused[0]


def test_of_a_process_that_is_no_more_the_lease_is_taken_over_at_once():
    import os
    import socket

    assert not is_gone(f"process {os.getpid()} on {socket.gethostname()}")
    assert is_gone(f"process {2**22 + 1} on {socket.gethostname()}")
    assert not is_gone(f"process {2**22 + 1} on elsewhere.example")
    assert not is_gone("")


def test_a_source_that_was_not_read_for_long_is_told_of(world, estate):
    world.sync()
    world.now += timedelta(days=3, minutes=1)

    told = worries(views(world.settings().topology, world.store.sources(), world.now))

    [(labels, summary)] = told.items()
    assert dict(labels)["alertname"] == "ForeshockCmdbStale"
    assert "was last read at 2026-03-01 12:05 UTC" in summary


def test_other_rules_count_for_everything_with_the_next_reading_of_any_source(world, estate):
    world.sources["two"] = Estate("host-0")
    world.sync("one")
    world.sync("two")
    assert follows(world.store, world.settings().identification)
    world.owners = {"precedence": {"owner": ["two"]}}

    assert not follows(world.store, world.settings().identification)
    world.sync("one")
    assert follows(world.store, world.settings().identification)
