"""The CMDB store: what sources say, the graph of all times, and what a reading may not do."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock.core.cmdb import CmdbPage, Identifier, IdType, Item, Tie
from foreshock.core.errors import Fenced, Held, Unavailable
from foreshock.core.model import CI, Relationship
from foreshock.core.reconcile import Rules
from foreshock.core.topology import TopologyDelta
from foreshock.store import cmdb_migrations
from foreshock.store.cmdb import CmdbStore, Lease, Version
from foreshock.store.cmdb_applying import Applied, Guard, Refused, apply, cleaned
from foreshock.store.cmdb_tables import metadata

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTES = timedelta(minutes=5)


def items(*names: str, **attributes: object) -> list[Item]:
    return [Item(id=f"id-{name}", name=name, **attributes) for name in names]  # type: ignore[arg-type]


def ties(*pairs: str) -> list[Tie]:
    """``a>b``: a depends on b."""
    return [Tie(source=f"id-{a}", type="depends_on", target=f"id-{b}") for a, b in (pair.split(">") for pair in pairs)]


def page(*names: str, tied: Sequence[str] = (), **more: object) -> CmdbPage:
    return CmdbPage(items=items(*names), ties=ties(*tied), **more)  # type: ignore[arg-type]


class Estate:
    """A store, and readings put into it one after the other, a day apart."""

    def __init__(self, url: str) -> None:
        self.store = CmdbStore(url)
        self.now = NOON
        self.leases: dict[str, Lease] = {}

    def put(
        self, *pages: CmdbPage, source: str = "one", whole: bool = True, share: float = 1.0, accepted: int = 0
    ) -> Applied:
        if source not in self.leases:
            self.leases[source] = self.store.lease(source, "kind", "me", self.now, MINUTES, gone=True)
        self.now += timedelta(days=1)
        with self.store.write() as connection:
            return apply(
                connection,
                self.leases[source].source,
                source,
                pages,
                whole=whole,
                rules=Rules(sources=tuple(self.leases)),
                guard=Guard(share=share, accepted=accepted),
                now=self.now,
            )

    @property
    def newest(self) -> Version:
        found = self.store.newest()
        assert found is not None
        return found

    def seen(self, number: int | None = None) -> tuple[set[str], set[str]]:
        """CIs and relationships of a version."""
        found = self.store.whole(self.newest.number if number is None else number)
        return {ci.id for ci in found.cis}, {f"{one.source}>{one.target}" for one in found.relationships}


@pytest.fixture(params=["sqlite", "postgresql"])
def estate(request: pytest.FixtureRequest, tmp_path) -> Iterator[Estate]:
    url = (
        f"sqlite:///{tmp_path / 'cmdb.db'}"
        if request.param == "sqlite"
        else request.getfixturevalue("postgresql_database")
    )
    found = Estate(url)
    yield found
    found.store.close()


def test_a_conflict_that_lasts_is_told_once_however_often_it_is_found(estate):
    def two(owner: str, **attributes: object) -> CmdbPage:
        serial = (Identifier(IdType.SERIAL, "CZC1234567"),)
        shared = {"name": "web1", "kind": "server", "identifiers": serial, "owner": owner, **attributes}
        found = [Item(id=id, handle=id, **shared) for id in ("a", "b")]  # type: ignore[arg-type]
        return CmdbPage(items=[*found, *items("db1")])

    counts = []
    for number, attributes in enumerate(({}, {}, {"retired": True}, {"retired": True})):
        estate.put(two(f"owner {number}", **attributes), whole=not number)
        counts.append(len(estate.store.conflicts()))

    assert counts == [1, 1, 1, 1]


# ---- versions -------------------------------------------------------------------------------------------------------


def test_a_reading_becomes_a_version_with_its_cis_and_relationships(estate):
    estate.put(page("shop", "db", tied=["shop>db"]))

    assert estate.seen() == ({"shop", "db"}, {"shop>db"})
    assert (estate.newest.number, estate.newest.cis, estate.newest.relationships) == (1, 2, 1)


def test_the_same_reading_again_makes_no_version(estate):
    estate.put(page("shop", "db", tied=["shop>db"]))
    again = estate.put(page("db", "shop", tied=["shop>db"]))

    assert again.version is None
    assert estate.newest.number == 1


def test_what_a_whole_reading_does_not_name_is_gone_and_what_a_delta_does_not_name_stays(estate):
    estate.put(page("shop", "db", "cache", tied=["shop>db", "shop>cache"]))
    estate.put(page("mail"), whole=False)
    assert estate.seen() == ({"shop", "db", "cache", "mail"}, {"shop>db", "shop>cache"})

    estate.put(page("shop", "db", tied=["shop>db"]))
    assert estate.seen() == ({"shop", "db"}, {"shop>db"})


def test_tombstones_of_a_delta_retire_what_they_name_and_its_relationships(estate):
    estate.put(page("shop", "db", "cache", tied=["shop>db", "shop>cache"]))
    estate.put(CmdbPage(gone=["id-cache"], gone_ties=["id-shop depends_on id-db"]), whole=False)

    assert estate.seen() == ({"shop", "db"}, set())


def test_a_relationship_waits_for_its_other_end(estate):
    estate.put(page("shop", tied=["shop>db"]))
    assert estate.seen() == ({"shop"}, set())

    estate.put(page("db"), whole=False)
    assert estate.seen() == ({"shop", "db"}, {"shop>db"})


def test_what_is_out_of_use_is_no_part_of_the_topology_until_it_is_used_again(estate):
    estate.put(page("shop", "db", tied=["shop>db"]))
    estate.put(CmdbPage(items=items("db", retired=True)), whole=False)
    assert estate.seen() == ({"shop"}, set())

    estate.put(page("db"), whole=False)
    assert estate.seen() == ({"shop", "db"}, {"shop>db"})


def test_the_topology_as_of_a_moment_is_what_held_then(estate):
    estate.put(page("shop", "db", tied=["shop>db"]))
    first = estate.now
    estate.put(page("shop", "cache", tied=["shop>cache"]))

    before, between, after = (
        estate.store.as_of(moment) for moment in (NOON, first + timedelta(hours=1), estate.now + timedelta(days=9))
    )

    assert (before.version, before.cis) == ("", ())
    assert {ci.id for ci in between.cis} == {"shop", "db"}
    assert {ci.id for ci in after.cis} == {"shop", "cache"}
    assert after.version == estate.newest.name


def test_equal_content_has_equal_names_whatever_the_way_to_it(estate):
    estate.put(page("shop", "db", tied=["shop>db"]))
    name = estate.newest.name
    estate.put(page("shop", "db"))
    assert estate.newest.name != name
    estate.put(page("shop", "db", tied=["shop>db"]))

    assert (estate.newest.number, estate.newest.name) == (3, name)
    assert estate.store.version(name).number == 3


def test_the_way_from_one_version_to_another_names_what_differs_and_nothing_else(estate):
    estate.put(page("shop", "db", "cache", tied=["shop>db", "shop>cache"]))
    estate.put(CmdbPage(items=[*items("shop", "db", owner="ann"), *items("mail")], ties=ties("shop>db", "mail>db")))

    assert estate.store.between(1, 2) == TopologyDelta(
        put_cis=(
            CI(id="db", name="db", owner="ann"),
            CI(id="shop", name="shop", owner="ann"),
            CI(id="mail", name="mail"),
        ),
        gone_cis=("cache",),
        put_relationships=(Relationship(source="mail", type="depends_on", target="db"),),
        gone_relationships=(Relationship(source="shop", type="depends_on", target="cache"),),
    )
    assert estate.store.between(2, 2) == TopologyDelta()


def test_what_a_ci_was_is_kept_with_the_versions_it_held_in(estate):
    estate.put(page("db"))
    estate.put(CmdbPage(items=items("db", owner="ann")))
    estate.put(page("shop"))

    assert [(begin, end, ci.owner) for begin, end, ci in estate.store.history_of("db")] == [(1, 2, ""), (2, 3, "ann")]


def test_old_versions_are_forgotten_and_what_holds_since_then_stays(estate):
    estate.put(page("shop", "db", tied=["shop>db"]))
    estate.put(page("shop", "cache", tied=["shop>cache"]))
    estate.put(page("shop", "mail"))

    assert estate.store.forget(before=NOON + timedelta(days=2)) == 1

    assert [version.number for version in estate.store.versions()] == [3, 2]
    assert estate.seen(2) == ({"shop", "cache"}, {"shop>cache"})


# ---- several sources ------------------------------------------------------------------------------------------------


def test_what_two_sources_know_is_one_ci_until_neither_knows_it(estate):
    estate.put(page("shop", "db", tied=["shop>db"]), source="one")
    estate.put(page("db", "cache"), source="two")
    assert estate.seen()[0] == {"shop", "db", "cache"}
    assert [said.source for said in estate.store.said_of("db")] == ["one", "two"]

    estate.put(page("shop"), source="one")
    assert estate.seen()[0] == {"shop", "db", "cache"}
    estate.put(page("cache"), source="two")
    assert estate.seen()[0] == {"shop", "cache"}


def test_who_says_a_relationship_is_known(estate):
    estate.put(page("shop", "db", tied=["shop>db"]), source="one")
    estate.put(page("shop", "db", tied=["shop>db"]), source="two")

    assert [said.source for said in estate.store.said_between("shop", "depends_on", "db")] == ["one", "two"]
    assert estate.store.relationships_of("db") == [Relationship(source="shop", type="depends_on", target="db")]


# ---- safety ---------------------------------------------------------------------------------------------------------


def test_a_reading_that_would_retire_too_much_changes_nothing_and_says_what(estate):
    names = [f"host-{number}" for number in range(10)]
    estate.put(page(*names))

    with pytest.raises(Refused, match=r"would retire 2 of its 10 CIs.*host-8, host-9") as refused:
        estate.put(page(*names[:8]), share=0.1)

    assert "--accept-retire 2" in refused.value.hint
    assert refused.value.counts.retiring == 2
    assert estate.seen()[0] == set(names)
    assert estate.put(page(*names[:9]), share=0.1).counts.gone_cis == 1


def test_a_person_may_let_exactly_so_many_go(estate):
    names = [f"host-{number}" for number in range(10)]
    estate.put(page(*names))

    with pytest.raises(Refused):
        estate.put(page(*names[:5]), share=0.1, accepted=4)
    assert estate.put(page(*names[:5]), share=0.1, accepted=5).counts.gone_cis == 5


def test_a_reading_that_says_nothing_at_all_is_refused_whatever_is_allowed(estate):
    estate.put(page("shop", "db"))

    with pytest.raises(Refused, match="nothing any more, where it knew 2 CIs"):
        estate.put(page(), share=1.0)
    assert estate.put(page(), accepted=2).counts.gone_cis == 2


def test_what_another_source_knows_too_does_not_count_as_retired(estate):
    estate.put(page("shop", "db"), source="one")
    estate.put(page("shop", "db"), source="two")

    assert estate.put(page("shop"), source="one", share=0.0).version is None


def test_relationships_that_vanish_while_their_cis_stay_are_refused(estate):
    names = [f"host-{number}" for number in range(40)]
    estate.put(page("db", *names, tied=[f"{name}>db" for name in names]))

    with pytest.raises(Refused, match="drop 40 of its 40 relationships"):
        estate.put(page("db", *names), share=0.1)


def test_a_thing_that_comes_back_has_the_id_it_had(estate):
    estate.put(page("db", "shop"))
    estate.put(CmdbPage(items=[Item(id="id-db", name="db-renamed"), *items("shop")]))
    assert estate.seen()[0] == {"db", "shop"}
    assert estate.store.ci("db").name == "db-renamed"


def test_an_object_that_no_store_can_hold_is_a_flaw_and_costs_no_other():
    hostile = [
        Item(id="a", name="\ud800"),
        Item(id="b", name="x" * 2000),
        Item(id="", name="c"),
        Item(id="d", name=" "),
    ]
    found = cleaned(
        CmdbPage(items=[*hostile, Item(id="e", name="nul\0l")], ties=[Tie(source="\ud800", type="uses", target="e")])
    )

    assert [item.name for item in found.items] == ["nul�l"]
    assert found.ties == []
    assert [flaw.error for flaw in found.flaws] == [
        "it is no Unicode text",
        "its name has 2000 characters, and 1000 are the most",
        "it has no id",
        "it has no name",
        "it is no Unicode text",
    ]


# ---- leases ---------------------------------------------------------------------------------------------------------


def test_a_source_is_read_by_one_at_a_time_and_the_other_is_told_who_it_is(estate):
    lease = estate.store.lease("one", "kind", "ann", NOON, MINUTES, gone=False)

    with pytest.raises(Held, match="is being read by ann"):
        estate.store.lease("one", "kind", "bob", NOON + timedelta(minutes=4), MINUTES, gone=False)
    estate.store.give_back(lease)
    assert estate.store.lease("one", "kind", "bob", NOON, MINUTES, gone=False).holder == "bob"


def test_a_holder_that_is_late_writes_nothing(estate):
    late = estate.store.lease("one", "kind", "ann", NOON, MINUTES, gone=False)
    estate.store.lease("one", "kind", "bob", NOON + timedelta(minutes=6), MINUTES, gone=False)

    with pytest.raises(Fenced):
        estate.store.prolong(late, NOON + timedelta(minutes=7), MINUTES)
    with pytest.raises(Fenced):
        estate.store.begin(late, full=True, asked="", mark="", now=NOON)


def test_staged_pages_are_there_for_the_next_process(estate):
    lease = estate.store.lease("one", "kind", "ann", NOON, MINUTES, gone=False)
    reading = estate.store.begin(lease, full=True, asked="x", mark="", now=NOON)
    reading = estate.store.stage(lease, reading, page("a", next="2"), reading.counts, now=NOON, until=NOON + MINUTES)

    found = estate.store.source("one").going_on

    assert (found.number, found.cursor, found.pages) == (reading.number, "2", 1)
    with estate.store.write() as connection:
        assert [one.items[0].name for one in estate.store.staged(connection, reading.number)] == ["a"]


# ---- schema ---------------------------------------------------------------------------------------------------------


def test_the_migrations_make_the_tables_that_the_program_knows(estate):
    from alembic import command
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    engine = estate.store.migration_engine
    with engine.begin() as connection:
        metadata.drop_all(connection)
        connection.exec_driver_sql(f"DELETE FROM {cmdb_migrations.VERSION_TABLE}")
        config = cmdb_migrations.config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")

    assert cmdb_migrations.current(engine) == cmdb_migrations.HEAD
    with engine.connect() as connection:
        ours = {
            "compare_type": True,
            "include_name": lambda name, kind, parent: kind != "table" or name in metadata.tables,
        }
        assert compare_metadata(MigrationContext.configure(connection, opts=ours), metadata) == []


def test_who_only_reads_a_database_without_the_tables_is_told_what_makes_them(postgresql_database):
    with pytest.raises(Unavailable, match=r"at schema nothing.*foreshock cmdb sync"):
        CmdbStore(postgresql_database, writing=False)
    CmdbStore(postgresql_database).close()

    reader = CmdbStore(postgresql_database, writing=False)

    assert reader.newest() is None
    reader.close()


# ---- a change is as good as the whole ------------------------------------------------------------------------------

_NAMES = "abcdef"
_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["one", "two"]),
        st.booleans(),
        st.lists(st.sampled_from(_NAMES), max_size=4),
        st.lists(st.tuples(st.sampled_from(_NAMES), st.sampled_from(_NAMES)), max_size=4),
        st.lists(st.sampled_from(_NAMES), max_size=2),
    ),
    min_size=1,
    max_size=8,
)


@given(steps=_STEPS)
def test_after_any_readings_the_topology_is_what_the_sources_say(tmp_path_factory, steps):
    estate = Estate(f"sqlite:///{tmp_path_factory.mktemp('cmdb') / 'cmdb.db'}")
    says: dict[str, tuple[set[str], set[tuple[str, str]]]] = {"one": (set(), set()), "two": (set(), set())}
    versions = []
    for source, whole, said, tied, gone in steps:
        known, pairs = says[source]
        if whole:
            known.clear()
            pairs.clear()
        known.update(said)
        pairs.update(tied)
        if not whole:
            known.difference_update(gone)
        estate.put(
            CmdbPage(
                items=items(*said),
                ties=ties(*(f"{a}>{b}" for a, b in tied)),
                gone=[] if whole else [f"id-{name}" for name in gone],
            ),
            source=source,
            whole=whole,
            accepted=100,
        )
        there = {name for known, _ in says.values() for name in known}
        edges = {f"{a}>{b}" for known, pairs in says.values() for a, b in pairs if a != b and {a, b} <= known}
        if estate.store.newest() is not None:
            versions.append((estate.newest.number, there, edges))
            assert estate.seen() == (there, edges)
    for number, there, edges in versions:
        assert estate.seen(number) == (there, edges)
    estate.store.close()
