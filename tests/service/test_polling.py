"""Visits to sources: what is kept before a place in time moves, and what happens when something goes wrong."""

import json
from datetime import timedelta

import msgspec
import pytest

from foreshock.core.contracts import Collector, NewRecord, Page, Poll, PollConfig
from foreshock.core.errors import Denied, ForeshockError, Malformed, Rejected, Unavailable
from foreshock.core.model import Event, Samples, Series
from foreshock.service.polling import Polling
from foreshock.service.settings import CollectorInstance
from foreshock.testing.records import NOON


class Kept:
    """A history in memory."""

    def __init__(self) -> None:
        self.points: list[tuple[str, float]] = []
        self.cursors: dict[str, str] = {}
        self.fails = False

    def append(self, source, samples, cursor):
        if self.fails:
            raise Unavailable("the disk is full")
        self.points += [(each.series.ci, at) for each in samples for at in each.times]
        self.cursors[source] = cursor

    def cursor(self, source):
        return self.cursors.get(source, "")


class Source:
    """Gives what a test puts into ``pages``: a list of payload items, or an error."""

    def __init__(self, *pages) -> None:
        self.pages = list(pages)
        self.asked: list[str] = []

    def fetch(self, cursor, now):
        self.asked.append(cursor)
        page = self.pages.pop(0)
        if isinstance(page, Exception):
            raise page
        if isinstance(page, Page):
            return page
        return Page(payloads=(json.dumps(page).encode(),), cursor=f"{cursor}+{len(page)}", more=bool(self.pages))


def translate(item, at):
    if "ci" in item:
        return Samples(series=Series(ci=item["ci"], metric="cpu"), times=[float(item["at"])], values=[1.0])
    if "event" in item:
        return Event(labels=msgspec.Raw(b'{"host": "a"}'))
    raise Malformed(f"what is {item}?")


class World:
    def __init__(self, *pages) -> None:
        self.now = NOON
        self.source, self.kept = Source(*pages), Kept()
        self.records: list[NewRecord] = []
        kind = Collector(
            kind="prometheus", title="test", facts="none", decode=json.loads, translate=translate, sample="",
            poll=Poll(config=PollConfig, build=lambda name, config: self.source),
        )  # fmt: skip
        instance = CollectorInstance.model_construct(name="lab", kind="prometheus", config=PollConfig())
        self.polling = Polling([instance], {"prometheus": kind}, self.kept, self.records.append, lambda: self.now)

    def poll(self):
        self.polling.poll("lab")

    @property
    def polled(self):
        return self.polling.polled["lab"]


def test_a_visit_keeps_points_and_place_page_by_page():
    world = World([{"ci": "a", "at": 1}], [{"ci": "b", "at": 2}, {"ci": "b", "at": 3}])

    world.poll()

    assert world.kept.points == [("a", 1.0), ("b", 2.0), ("b", 3.0)]
    assert world.source.asked == ["", "+1"]
    assert world.kept.cursors == {"lab": "+1+2"}
    assert (world.polled.pages, world.polled.points, world.polled.last_seen) == (2, 3, NOON)


def test_points_that_cannot_be_kept_leave_the_place_where_it_was():
    world = World([{"ci": "a", "at": 1}], [{"ci": "a", "at": 1}])
    world.kept.fails = True
    with pytest.raises(Unavailable, match="disk is full"):
        world.poll()

    world.source.pages = [[{"ci": "a", "at": 1}]]
    world.kept.fails = False
    world.poll()

    assert world.source.asked == ["", ""]
    assert world.kept.points == [("a", 1.0)]
    assert world.polled.last_error == ""


def test_a_bad_item_is_counted_and_told_and_the_others_are_kept():
    world = World([{"ci": "a", "at": 1}, {"odd": 1}, {"ci": "b", "at": 2}])

    with pytest.raises(Rejected, match=r"what is \{'odd': 1\}"):
        world.poll()

    assert world.kept.points == [("a", 1.0), ("b", 2.0)]
    assert (world.polled.rejected, world.polled.last_error) == (1, "what is {'odd': 1}?")


def test_a_payload_that_cannot_be_read_at_all_is_told():
    world = World(Page(payloads=(b"[]",), cursor="x"))

    def decode(payload):
        raise Malformed("no answer")

    kinds = {"prometheus": msgspec.structs.replace(world.polling._kinds["prometheus"], decode=decode)}
    world.polling._kinds = kinds

    with pytest.raises(Rejected, match="no answer"):
        world.poll()


def test_events_go_to_the_inbox_as_they_came():
    world = World([{"event": 1}])

    world.poll()

    [record] = world.records
    assert (record.collector, record.source, record.body) == ("prometheus", "lab", b'[{"event": 1}]')
    assert world.kept.points == []


def test_what_the_source_wants_a_person_to_know_is_told():
    world = World(Page(payloads=(), cursor="x", problems=("the query of cpu is odd",)))

    with pytest.raises(Rejected, match="the query of cpu is odd"):
        world.poll()

    assert world.kept.cursors == {"lab": "x"}


def test_refused_credentials_are_not_tried_again_at_once():
    world = World(Denied("HTTP 401"), [{"ci": "a", "at": 1}])
    for _ in range(3):
        with pytest.raises(Denied):
            world.poll()
    assert len(world.source.asked) == 1

    world.now += timedelta(minutes=15)
    world.poll()

    assert world.kept.points == [("a", 1.0)]


def test_a_source_that_asks_for_a_pause_gets_it():
    world = World(Unavailable("HTTP 429", retry_after_s=60), [{"ci": "a", "at": 1}])
    for _ in range(2):
        with pytest.raises(Unavailable):
            world.poll()
    assert len(world.source.asked) == 1

    world.now += timedelta(seconds=60)
    world.poll()

    assert world.polled.last_error == ""


def test_secrets_that_cannot_be_read_end_the_start_with_all_of_them(tmp_path):
    from collectors.prometheus import COLLECTOR

    def instance(name):
        return CollectorInstance.model_validate(
            {
                "name": name, "kind": "prometheus", "url": "http://localhost:1", "token_file": str(tmp_path / name),
                "queries": [{"metric": "up", "query": "up"}],
            }
        )  # fmt: skip

    with pytest.raises(ForeshockError) as caught:
        Polling([instance("one"), instance("two")], {"prometheus": COLLECTOR}, Kept(), print, lambda: NOON)

    assert "collectors.one.token_file" in str(caught.value)
    assert "collectors.two.token_file" in str(caught.value)
