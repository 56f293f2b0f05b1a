"""What is doubtful about a topology, and what to do about it."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from foreshock.core.contracts import Snapshot
from foreshock.core.model import CI, Relationship
from foreshock.core.reconcile import Conflict, ConflictKind
from foreshock.core.topology import Topology
from foreshock.service.cmdb.health import MOST, Doubt, Doubtful, Graph, Health, health, unbound, unknown, unlikely
from foreshock.service.suggest.recall import Episode, Who
from foreshock.store.cmdb import SourceState
from foreshock.store.cmdb_trust import Loose, Told, Unmapped

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def tie(text: str) -> Relationship:
    source, type_, target = text.split()
    return Relationship(source=source, type=type_, target=target)


def state(name: str, *, ago: timedelta | None = timedelta(hours=1), flaws: int = 0) -> SourceState:
    return SourceState(
        number=1, name=name, kind="netbox", asked="", mark="", succeeded_at=None if ago is None else NOON - ago,
        full_at=None, holder="", items=10, ties=20, flaws=flaws, last=None, going_on=None,
    )  # fmt: skip


def graph(
    *ties: str,
    cis: Iterable[CI] = (),
    sources: Sequence[SourceState] = (),
    told: Sequence[Told] = (),
    classes: Sequence[Unmapped] = (),
    relations: Sequence[Unmapped] = (),
    conflicts: Sequence[Conflict] = (),
    loose: Sequence[Loose] = (),
) -> Graph:
    relationships = tuple(tie(text) for text in ties)
    ends = dict.fromkeys(end for one in relationships for end in (one.source, one.target))
    return Graph(
        snapshot=Snapshot(
            version="v", cis=(*cis, *(CI(id=end, name=end, kind="server") for end in ends)), relationships=relationships
        ),
        sources=sources,
        intervals={"netbox": DAY},
        told=told,
        classes=classes,
        relations=relations,
        conflicts=conflicts,
        loose=loose,
        who=lambda one: ["netbox"],
    )


def found(what: Graph, doubt: Doubt) -> list[Doubtful]:
    return [one for one in looked(what).found if one.doubt is doubt]


def looked(what: Graph) -> Health:
    return health(what, None, NOON)


def test_a_sound_topology_gives_no_cause_for_doubt():
    assert not looked(graph("app runs_on host", "app connects_to peer", "peer connects_to app")).found


def test_what_needs_itself_is_told_with_who_says_so():
    (cycle,) = found(graph("vm runs_on host", "host runs_on rack", "rack hosted_on vm", "app runs_on vm"), Doubt.CYCLE)

    assert cycle.weight == 3
    assert cycle.seen == (
        "3 CIs need themselves in a circle: host runs_on rack (netbox); rack hosted_on vm (netbox); "
        "vm runs_on host (netbox)"
    )


def test_a_circle_of_opposite_words_for_one_fact_is_none():
    assert not found(graph("site contains host", "host member_of site"), Doubt.CYCLE)
    assert found(graph("site contains host", "host contains site"), Doubt.CYCLE)


def test_services_may_call_each_other():
    assert not found(graph("shop calls cart", "cart calls shop", "a connects_to b", "b connects_to a"), Doubt.CYCLE)


def test_a_deep_chain_costs_no_stack():
    assert not found(graph(*(f"n{number} runs_on n{number + 1}" for number in range(5000))), Doubt.CYCLE)


def test_cis_without_relationships_are_counted_by_kind():
    (orphans,) = found(graph("a runs_on b", cis=[CI(id="lonely", kind="server")]), Doubt.ORPHANS)

    assert orphans.seen == "1 of 3 CIs of kind server have no relationship: lonely"


def test_a_hub_is_told_from_the_size_at_which_walks_are_cut():
    assert not found(graph(*(f"n{number} runs_on hub" for number in range(512))), Doubt.HUB)
    (hub,) = found(graph(*(f"n{number} located_in hub" for number in range(513))), Doubt.HUB)
    assert hub.weight == 513
    assert "513 of them located_in" in hub.seen


def test_a_name_that_means_several_cis_is_told():
    cis = [CI(id="web1", kind="server"), CI(id="web1 (netbox:17)", name="WEB1", kind="server")]

    (ambiguous,) = found(graph(cis=cis), Doubt.AMBIGUOUS)

    assert ambiguous.seen == "'web1' means 2 CIs: web1, web1 (netbox:17)"


def test_conflicts_about_one_attribute_are_one_finding():
    conflicts = [
        Conflict(ci=f"web{number}", about="owner", detail="owner is …", objects=(("cmdb", "1"), ("netbox", "2")))
        for number in range(7)
    ]
    doubled = Conflict(ci="a", about="serial x", detail="serial x is held by …", kind=ConflictKind.DUPLICATE)

    report = looked(graph(conflicts=[*conflicts, doubled]))

    assert [(one.doubt, one.weight) for one in report.found] == [(Doubt.DUPLICATE, 0), (Doubt.CONFLICT, 7)]


def test_sources_that_are_old_removed_or_partly_unreadable_are_told():
    sources = [state("netbox", ago=4 * DAY, flaws=3), state("gone")]

    report = looked(graph(sources=sources))

    assert [one.seen for one in report.found if one.doubt is Doubt.SOURCE] == [
        "gone is no longer in the settings, and what it said still counts",
        "netbox was last read 4 days ago, although it is to be read every 1 day, 0:00:00",
    ]
    assert [one.weight for one in report.found if one.doubt is Doubt.FLAWS] == [3]


def test_relationships_are_counted_by_source_and_age():
    told = [Told(source="netbox", since=NOON - age, count=count) for age, count in ((DAY / 2, 5), (400 * DAY, 7))]

    (trust,) = looked(graph(sources=[state("netbox")], told=told)).sources

    assert trust.ages == (5, 0, 0, 0, 7)
    assert trust.oldest_at == NOON - 400 * DAY


def test_classes_and_relations_without_a_map_are_told_with_their_source():
    report = looked(
        graph(
            classes=[Unmapped(source="netbox", class_name="cmdb_ci_foo", count=312, example="7")],
            relations=[Unmapped(source="netbox", class_name="Dreams of", count=4)],
        )
    )

    assert [one.seen for one in report.found] == [
        "cmdb_ci_foo of netbox: 312 objects are kept as generic",
        "'Dreams of' of netbox: 4 relationships along which no failure is known to spread",
    ]


def test_relationships_that_are_none_are_counted():
    report = looked(graph(loose=[Loose(source="netbox", without_ci=7, to_itself=2)]))

    assert [one.seen for one in report.found] == [
        "7 relationships of netbox have an end that it does not tell of, or retired",
        "2 relationships of netbox lead from a CI to itself",
    ]


def test_of_very_many_findings_the_weightiest_are_told_and_the_others_counted():
    many = [Unmapped(source="netbox", class_name=f"class-{number}", count=number) for number in range(1, 31)]

    report = looked(graph(classes=many))

    assert len(report.found) == MOST
    assert report.found[0].weight == 30
    assert report.counts == {"unmapped class": 30}


# ---- what happened --------------------------------------------------------------------------------------------------


def fired(ci: str, *at_s: float, known: bool = True, **labels: str) -> list[Episode]:
    who = Who(ci, "Down", ci, known, labels, "prometheus", "prom")
    return [Episode(who=who, number=number, at_s=moment) for number, moment in enumerate(at_s)]


def test_what_sends_alerts_and_is_no_ci_is_ranked_by_how_many_with_the_nearest_names():
    episodes = [*fired("web-1.prod", *range(9), known=False, instance="web-1.prod"), *fired("x9", 1, known=False)]

    first, second = unbound(unknown(episodes), ["web-1.production", "web-2", "db-1"])

    assert first.seen == "'web-1.prod' (label instance of prom) sent 9 alerts and is no CI"
    assert "nearest: web-1.production" in first.remedy
    assert second.weight == 1
    assert "nearest" not in second.remedy


def test_a_name_with_its_letters_in_disorder_finds_the_right_one():
    (one,) = unbound(unknown(fired("wbe-prod1", 1, known=False)), ["web-prod1", "db-7"])

    assert "nearest: web-prod1" in one.remedy


def test_alerts_that_name_nothing_are_told_too():
    (nothing,) = unbound(unknown(fired("", 1, 2, known=False, team="a")), ["db"])

    assert "2 alerts name nothing that could be a CI" in nothing.seen


def test_a_relationship_along_which_no_failure_ever_spread_is_told():
    topology = Topology([CI(id="shop"), CI(id="db")], [tie("shop depends_on db")])
    hours = [hour * 3600.0 for hour in range(6)]

    (one,) = unlikely(
        [*fired("db", *hours), *fired("shop", *(at + 1800 for at in hours))], topology, lambda _: ["cmdb"]
    )

    assert one.seen.startswith("shop depends_on db: db failed 6 times, shop 6 times, and never within 15 minutes")
    assert "remove it in cmdb" in one.remedy


def test_one_failure_that_spread_once_is_enough_to_believe_a_relationship():
    topology = Topology([CI(id="shop"), CI(id="db")], [tie("shop depends_on db")])
    hours = [hour * 3600.0 for hour in range(6)]

    assert not list(
        unlikely([*fired("db", *hours), *fired("shop", 60.0, *(at + 1800 for at in hours))], topology, list)
    )
