"""What a change of the topology is, for people."""

from foreshock.core.model import CI, Relationship
from foreshock.core.topology import TopologyDelta
from foreshock.service.cmdb.diff import Attribute, Update, diff, lines

BEFORE = {
    "db": CI(id="db", name="db", owner="ann", aliases=("db.example", "10.0.0.1")),
    "old": CI(id="old", name="old", kind="server"),
}


def test_a_change_is_told_by_what_comes_what_goes_and_which_attributes_are_others():
    tie = Relationship(source="shop", type="depends_on", target="db")
    delta = TopologyDelta(
        put_cis=(CI(id="shop"), CI(id="db", name="db", owner="bob", aliases=("10.0.0.1", "10.0.0.2"))),
        gone_cis=("old",),
        put_relationships=(tie,),
    )

    found = diff(delta, BEFORE.get)

    assert [ci.id for ci in found.create] == ["shop"]
    assert found.update == (
        Update("db", (Attribute("owner", "ann", "bob"), Attribute("aliases", "db.example", "10.0.0.2"))),
    )
    assert found.retire == (BEFORE["old"],)
    assert found.relate == (tie,)
    assert list(lines(found, 10)) == [
        "1 CI to create",
        "  + shop  (generic)",
        "1 CI to update",
        "  ~ db: owner ann -> bob; aliases db.example -> 10.0.0.2",
        "1 CI to retire",
        "  - old  (server)",
        "1 relationship to create",
        "  + shop depends_on db",
    ]


def test_what_is_put_as_it_was_is_no_change():
    assert not diff(TopologyDelta(put_cis=(BEFORE["db"],), gone_cis=("unknown",)), BEFORE.get)


def test_long_lists_are_cut_and_counted():
    delta = TopologyDelta(put_cis=tuple(CI(id=f"ci-{number}") for number in range(12)))

    assert list(lines(diff(delta, BEFORE.get), 10))[-1] == "  … and 2 more"
