"""The way of a version from the CMDB store into the engine: what differs, or all where nobody knows what was before."""

from datetime import UTC, datetime

import msgspec
import pytest

from foreshock.core.cmdb import CmdbPage, Item
from foreshock.core.contracts import NewRecord
from foreshock.service.cmdb.publish import Publisher
from foreshock.service.cmdb.run import Sync, Wanted
from foreshock.service.cmdb.schedule import Ready
from foreshock.service.records import TopologyRecord
from foreshock.service.settings import Settings
from foreshock.store.cmdb import CmdbStore

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Topology:
    version = ""


class Engine:
    """An engine that takes what it is given, or not."""

    def __init__(self) -> None:
        self.topology = Topology()
        self.refuses = False
        self.position = 0

    def looking(self):
        from contextlib import nullcontext

        return nullcontext(self)


class Inbox:
    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.records: list[TopologyRecord] = []

    def append_now(self, record: NewRecord) -> int:
        read = msgspec.json.decode(record.body, type=TopologyRecord)
        self.records.append(read)
        self.engine.position = len(self.records)
        if not (self.engine.refuses and read.delta is not None):
            self.engine.topology.version = read.version
        return len(self.records)


@pytest.fixture
def world(tmp_path):
    class World:
        store = CmdbStore(f"sqlite:///{tmp_path / 'cmdb.db'}")
        engine = Engine()
        inbox = Inbox(engine)
        settings = Settings.model_validate({"topology": [{"name": "one", "kind": "file", "path": "unused.yaml"}]})

        def say(self, *names: str) -> str:
            page = CmdbPage(items=[Item(id=name, name=name) for name in names], whole=True)
            sync = Sync(self.store, self.settings, clock=lambda: NOW, sources={"one": Ready(page)})
            return sync.run("one", Wanted(accept_retire=100)).version

        def publisher(self, published: str = "") -> Publisher:
            return Publisher(self.store, self.engine, self.inbox, published)  # type: ignore[arg-type]

    found = World()
    yield found
    found.store.close()


def test_the_first_version_goes_whole_and_the_next_as_what_differs(world):
    publisher = world.publisher()
    first = world.say("a", "b")
    assert publisher.publish()
    second = world.say("a", "c")
    assert publisher.publish()
    assert not publisher.publish()

    whole, delta = world.inbox.records
    assert (whole.version, [ci.id for ci in whole.cis], whole.delta) == (first, ["a", "b"], None)
    assert (delta.version, delta.base, delta.cis) == (second, first, ())
    assert ([ci.id for ci in delta.delta.put_cis], delta.delta.gone_cis) == (["c"], ("b",))


def test_several_versions_at_once_are_one_difference(world):
    first = world.say("a")
    world.say("a", "b")
    third = world.say("b", "c")

    world.publisher(first).publish()

    [delta] = world.inbox.records
    assert (delta.base, delta.version) == (first, third)
    assert ([ci.id for ci in delta.delta.put_cis], delta.delta.gone_cis) == (["b", "c"], ("a",))


def test_where_the_store_does_not_know_what_the_engine_has_it_gets_all(world):
    world.say("a", "b")

    world.publisher("from another store").publish()

    assert [ci.id for ci in world.inbox.records[0].cis] == ["a", "b"]


def test_an_engine_that_refuses_a_difference_gets_all(world):
    publisher = world.publisher()
    world.say("a")
    publisher.publish()
    world.engine.refuses = True
    second = world.say("a", "b")
    publisher.publish()
    assert world.inbox.records[-1].delta is not None

    assert publisher.publish()

    assert [ci.id for ci in world.inbox.records[-1].cis] == ["a", "b"]
    assert world.engine.topology.version == second
    assert not publisher.publish()


def test_a_version_that_is_in_force_is_not_sent_again_after_a_restart(world):
    name = world.say("a")

    assert not world.publisher(name).publish()
