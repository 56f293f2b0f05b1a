"""Versions of the topology, whole and by deltas: what comes of them, what is saved, and what is refused."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from foreshock.core.contracts import Record, RecordKind
from foreshock.core.model import CI, Relationship
from foreshock.core.topology import Topology, TopologyDelta
from foreshock.service import saved_topology
from foreshock.service.engine import Engine
from foreshock.service.in_force import RETIRED
from foreshock.service.records import TopologyRecord
from foreshock.service.topologies import Fold, after, folded, standing_in
from foreshock.testing.records import Story, new_engine, replay

SHOP = ("shop depends_on api", "api runs_on db1")
REFUSED = "ForeshockTopologyRefused"


def told(story: Story, action: str) -> list[str]:
    return [row.detail for row in story.told.audit if (row.kind, row.action) == ("topology", action)]


def firing(story: Story, name: str) -> bool:
    return any(alert.firing and alert.read_labels()["alertname"] == name for alert in story.engine.alerts.values())


# ---- what comes into force ------------------------------------------------------------------------------------------


def test_a_delta_that_builds_on_what_is_in_force_comes_into_force():
    story = Story(*SHOP).delta("api depends_on db2", gone=["api runs_on db1"], gone_cis=["db1"])

    assert sorted(story.engine.topology.upstream("shop")) == ["api", "db2", "shop"]
    assert "db1" not in story.engine.topology.cis
    assert told(story, "loaded")[-1] == "after v1: 1 CIs new or changed, 1 gone; 1 relationships new, 1 gone"


def test_a_first_version_may_be_a_delta_to_nothing():
    story = Story().delta("shop depends_on api")

    assert story.engine.topology.named("API") == ("api",)


def test_a_delta_to_another_version_changes_nothing_and_a_person_hears_of_it():
    story = Story(*SHOP).delta("api depends_on db2", base="of another day")

    assert (story.engine.topology.version, "db2" in story.engine.topology.cis) == ("v1", False)
    assert told(story, "refused") == ["it builds on version of another day, and v1 is in force"]
    assert firing(story, REFUSED)


def test_that_is_over_with_the_next_version_that_comes_into_force():
    story = Story(*SHOP).delta("api depends_on db2", base="of another day").after(60).topology(*SHOP)

    assert not firing(story, REFUSED)


def test_a_delta_that_comes_again_changes_nothing_however_late():
    story = Story(*SHOP).delta("api depends_on db2", version="a")
    stale = msgspec.json.decode(story.records[-1].body, type=TopologyRecord)
    story.after(5).delta("api depends_on db3", version="b").after(5)
    rows = len(story.told.audit)
    for _ in range(2):
        story.delta("nobody uses this", base=stale.base, version="a").delta("nor uses that", base="a", version="b")

    assert story.engine.topology.version == "b"
    assert sorted(story.engine.topology.needs("api")) == ["db1", "db2", "db3"]
    assert len(story.told.audit) == rows
    assert not firing(story, REFUSED)


def test_a_delta_may_lead_back_to_an_earlier_version():
    story = Story(*SHOP).delta("api depends_on db2", version="a").delta(gone=["api depends_on db2"], version="v1")

    assert (story.engine.topology.version, list(story.engine.topology.needs("api"))) == ("v1", ["db1"])


# ---- CIs that go while something is wrong with them -----------------------------------------------------------------


def test_an_alert_stays_on_a_ci_that_goes_while_its_situation_is_open():
    story = Story(*SHOP).topology("shop depends_on DB-1").fire("db-1").after(5).fire("shop").after(60).tick()
    story.delta(gone_cis=["DB-1"], gone=["shop depends_on DB-1"])

    assert (story.alert("db-1").ci, story.alert("db-1").bound_by) == ("DB-1", RETIRED)
    assert story.groups() == [["DB-1", "shop"]]


def test_another_topology_leaves_it_there_too():
    story = Story("shop depends_on DB-1").fire("db-1").after(60).delta(gone_cis=["DB-1"]).topology("shop uses api")

    assert story.alert("db-1").ci == "DB-1"
    assert story.after(30).topology("shop uses db-1").alert("db-1").ci == "db-1"


def test_it_is_bound_anew_when_it_begins_again_after_the_end():
    story = Story("shop depends_on DB-1").fire("db-1").after(60).delta(gone_cis=["DB-1"]).resolve("db-1")
    story.after(4000).tick().fire("db-1")

    assert (story.alert("db-1").ci, story.alert("db-1").bound_by) == ("db-1", "label host, not in the topology")
    assert story.groups() == [["db-1"]]


def test_a_ci_that_goes_under_another_name_takes_its_alerts_along():
    story = Story("shop depends_on db1").fire("db1").after(60)
    story.delta(cis=[CI(id="orders", aliases=("db1",))], gone_cis=["db1"])

    assert (story.alert("db1").ci, story.alert("db1").bound_by) == ("orders", "label host")


# ---- what is saved --------------------------------------------------------------------------------------------------


def pieces(engine: Engine) -> dict[str, bytes | None]:
    found = {key: body for kind, key, body in engine.checkpoint() if kind == "topology"}
    engine.saved()
    return found


def wide(number: int) -> Story:
    return Story(*(f"app{each} runs_on host{each}" for each in range(number)))


def test_what_a_small_delta_costs_is_saved_and_no_more():
    story = wide(300)
    whole = pieces(story.engine)
    part = pieces(story.delta("app1 uses host2").engine)

    assert len(whole) > 50
    assert sum(map(len, filter(None, part.values()))) < 200
    assert list(part) == ["delta-000000"]


def test_when_deltas_have_become_many_all_is_saved_anew_without_them(monkeypatch):
    monkeypatch.setattr(saved_topology, "_LEAST", 6)
    monkeypatch.setattr(saved_topology, "_SHARE", 0)
    story = wide(20)
    state = pieces(story.engine)
    for each in range(1, 20):
        state |= pieces(story.delta(f"app0 uses host{each}").engine)
        restored = new_engine()
        saved = [("topology", key, body) for key, body in state.items() if body is not None]
        restored.restore([*saved, *((kind, key, body) for kind, key, body in story.engine.checkpoint() if body)])
        assert set(restored.topology.needs("app0")) == {f"host{n}" for n in range(each + 1)}
        assert restored.topology.version == story.engine.topology.version
        assert sum(key.startswith("delta-") for _, key, _ in saved) <= 6


def test_a_shard_that_is_saved_later_than_a_delta_is_read_as_well():
    story = wide(30)
    state = pieces(story.engine)
    state |= pieces(story.delta("app0 uses host9", gone=["app0 runs_on host0"]).engine)
    story.engine.save_again(("topology", key) for key in list(state))
    later = pieces(story.engine)
    restored = new_engine()
    restored.restore([("topology", key, body) for key, body in (state | later).items() if body is not None])

    assert later.keys() == state.keys()
    assert list(restored.topology.needs("app0")) == ["host9"]


def test_a_topology_in_one_piece_as_it_was_saved_once_is_read_and_saved_in_shards():
    once = TopologyRecord(version="7", cis=(CI(id="a"), CI(id="b")), relationships=(tie("a uses b"),))
    engine = new_engine()
    engine.restore([("topology", "", msgspec.msgpack.encode(once))])
    saved = pieces(engine)
    again = new_engine()
    again.restore([("topology", key, body) for key, body in saved.items() if body is not None])

    assert (engine.topology.version, list(again.topology.needs("a"))) == ("7", ["b"])
    assert saved[""] is None


def test_a_restart_knows_the_version():
    story = Story(*SHOP).delta("api uses db2", version="that").tick()

    assert replay(story.records, restarts=[3, 4]).engine.topology.version == "that"


# ---- several records as one -----------------------------------------------------------------------------------------


def tie(text: str) -> Relationship:
    source, type, target = text.split()
    return Relationship(source=source, type=type, target=target)


NAMES = st.sampled_from("abcd")
CIS = st.builds(CI, id=NAMES, kind=st.sampled_from(["vm", "app"]))
TIES = st.builds(Relationship, source=NAMES, type=st.sampled_from(["uses", "runs_on"]), target=NAMES)
WHOLE = st.builds(TopologyRecord, version=NAMES, cis=st.lists(CIS, unique_by=lambda ci: ci.id).map(tuple),
                  relationships=st.lists(TIES, unique=True).map(tuple))  # fmt: skip
DELTA = st.builds(
    TopologyRecord,
    version=NAMES,
    base=NAMES,
    delta=st.builds(
        TopologyDelta,
        put_cis=st.lists(CIS).map(tuple),
        gone_cis=st.lists(NAMES).map(tuple),
        put_relationships=st.lists(TIES).map(tuple),
        gone_relationships=st.lists(TIES).map(tuple),
    ),
)


@given(WHOLE, st.lists(st.one_of(WHOLE, DELTA, DELTA, DELTA), max_size=6))
def test_records_put_together_come_to_what_they_come_to_one_by_one(first: TopologyRecord, rest: list[TopologyRecord]):
    topology, fold = Topology(), Fold()
    for read in (first, *rest):
        topology = after(topology, read)
        fold.read(read)
    whole = fold.whole()

    assert whole.version == topology.version
    assert {ci.id: ci for ci in whole.cis} == dict(topology.cis)
    assert set(whole.relationships) == set(topology.relationships)


def record(read: TopologyRecord, number: int) -> Record:
    return Record(number=number, at=Story().now, kind=RecordKind.TOPOLOGY, body=msgspec.json.encode(read))


def test_without_a_whole_version_there_is_nothing_to_put_together():
    part = TopologyRecord(version="2", base="1", delta=TopologyDelta(put_cis=(CI(id="a"),)))

    assert folded([record(part, 7)]) == []
    assert folded([]) == []


def test_what_stands_in_for_a_version_is_named_as_the_next_delta_wants_it():
    now = TopologyRecord(version="9", cis=(CI(id="a"),))
    part = TopologyRecord(version="4", base="3", delta=TopologyDelta())

    assert standing_in(now, part).version == "3"
    assert standing_in(now, now) == standing_in(now, None) == now
