"""What is real but disturbs nobody: as the engine decides it, second by second."""

from typing import Any

import pytest

from foreshock.core.model import HeldKind, JudgementKind
from foreshock.testing.records import Story, check_same

SHOP = ("shop depends_on api", "api runs_on db1")
APART: dict[str, Any] = {"group": {"threshold": 1.0}}
WARNING = "warning"


def kinds(story: Story, situation: str = "S-1") -> list[tuple[str, str]]:
    return [(held.kind.value, held.id) for held in story.situation(situation).held]


# ---- maintenance ----------------------------------------------------------------------------------------------------


def test_planned_work_holds_what_depends_on_it_until_it_ends_and_what_still_fires_is_told_at_that_moment():
    story = Story(*SHOP).window("w", "db1", spans_s=[(0, 600)]).at(10).fire("shop").at(300).tick()
    assert story.verbs() == []
    assert story.situation().held_by == "maintenance “work” of netops until 2026-03-02 12:10:00 UTC"

    story.at(900).tick()

    assert story.orders() == [(600.0, "open")]


def test_each_span_of_a_recurring_window_counts():
    story = Story().window("w", "db1", spans_s=[(0, 100), (1000, 1100)]).at(1050).fire("db1").at(2000).tick()

    assert story.orders() == [(1100.0, "open")]


def test_an_alert_outside_the_window_is_enough_to_tell():
    story = Story(*SHOP).window("w", "api", spans_s=[(0, 600)]).fire("api", "db1").at(60).tick()

    assert story.orders() == [(30.0, "open")]


def test_labels_narrow_a_window():
    story = Story().window("w", "db1", matchers=['alertname="Slow"'], spans_s=[(0, 600)])

    story.fire("db1", name="Down").at(60).tick()

    assert story.orders() == [(30.0, "open")]


def test_a_person_ends_a_window_early():
    story = Story().window("w", "db1", spans_s=[(0, 600), (1000, 2000)]).fire("db1").at(100).tick()

    story.at(200).end_window("w", only_running=True)
    assert story.orders() == [(200.0, "open")]
    assert [(row.actor, row.action) for row in story.told.audit if row.kind == "maintenance"] == [
        ("mira", "set"),
        ("mira", "ended"),
    ]

    story.at(1100).fire("web").at(1200).end_window("w").at(1300).tick()
    assert story.engine.suppression.windows["w"].is_over(story.now)


def test_a_new_topology_changes_what_is_in_scope():
    story = Story("shop depends_on web").window("w", "db1", spans_s=[(0, 6000)]).fire("shop").at(10).topology(*SHOP)

    story.at(100).tick()
    assert kinds(story) == [("maintenance", "w")]

    story.at(200).topology("shop depends_on web")
    assert story.orders() == [(200.0, "open")]


def test_an_open_ticket_is_not_escalated_during_planned_work_and_is_afterwards():
    story = Story(*SHOP, criticality={"shop": 1}).fire("shop", severity=WARNING).at(60).tick()
    story.window("w", "shop", spans_s=[(60, 600)]).at(100).fire("shop", name="Worse").at(599).tick()
    assert (story.situation().priority, story.orders()) == (1, [(30.0, "open")])

    story.at(700).tick()

    assert story.orders() == [(30.0, "open"), (600.0, "update")]


# ---- inhibition -----------------------------------------------------------------------------------------------------


def test_what_an_alert_upstream_explains_opens_no_ticket_while_that_is_active():
    story = Story(*SHOP, settings=APART).fire("db1").at(100).fire("shop").at(400).tick()
    assert story.verbs("S-2") == []
    assert story.situation("S-2").held_by == ("explained by Down on db1, which is active upstream (shop → api → db1)")

    story.at(500).resolve("db1").at(501).tick()

    assert story.orders("S-2") == [(500.0, "open")]


def test_one_alert_that_is_not_explained_is_enough_to_tell():
    story = Story(*SHOP, settings=APART).fire("db1").at(100).fire("shop").fire("shop", name="Own", started_s=-3000)

    story.at(200).tick()

    assert story.orders("S-2") == [(130.0, "open")] or story.orders("S-3") == [(130.0, "open")]


def test_the_alert_upstream_explains_also_when_it_comes_a_little_later():
    story = Story(*SHOP, settings=APART).fire("shop").at(20).fire("db1").at(100).tick()

    assert story.verbs("S-1") == []
    assert kinds(story) == [("inhibition", story.alert("db1").fingerprint)]


def test_a_silence_on_what_explains_takes_the_explanation_away():
    story = Story(*SHOP, settings=APART).fire("db1").at(100).fire("shop").at(200).tick()
    assert story.verbs("S-2") == []

    story.at(300).silence("q", 'host="db1"', for_s=1000)

    assert story.orders("S-2") == [(300.0, "open")]


def test_an_onset_that_turns_out_to_be_much_earlier_explains_nothing():
    story = Story(*SHOP, settings=APART, start=Story().start).fire("db1").at(100).fire("shop").at(200).tick()
    assert story.verbs("S-2") == []

    story.at(300).fire("db1", started_s=-4000).at(301).tick()

    assert story.orders("S-2") == [(300.0, "open")]


def test_what_a_person_split_off_is_no_longer_explained_by_what_is_upstream():
    story = Story(*SHOP).fire("db1", "shop").at(10)

    story.judge(JudgementKind.SPLIT, situation="S-1", alerts=["shop"]).at(60).tick()

    assert story.orders("S-2") == [(40.0, "open")]


def test_inhibition_by_equal_labels():
    rule = {
        "name": "cluster down",
        "source_matchers": ['alertname="ClusterDown"'],
        "target_matchers": ['alertname!="ClusterDown"'],
        "equal": ["cluster"],
    }
    story = Story(settings={**APART, "suppress": {"inhibit": [rule]}})
    story.fire("c1", name="ClusterDown", labels={"cluster": "one"}).at(5).fire("web", labels={"cluster": "one"})
    story.at(6).fire("mail", labels={"cluster": "two"}).at(100).tick()

    assert story.verbs("S-2") == []
    assert story.situation("S-2").held_by == ("inhibited by ClusterDown on c1, which is active (rule “cluster down”)")
    assert story.orders("S-3") == [(36.0, "open")]


# ---- auto-pause -----------------------------------------------------------------------------------------------------


def learned(*, ended: int = 10, took_s: float = 60, **transient: Any) -> Story:
    """The same alert came and went ``ended`` times, an hour apart."""
    story = Story(settings={"suppress": {"transient": {"half_life": "3650d", **transient}}})
    for index in range(ended):
        story.at(index * 3600.0).fire("db1", severity=WARNING).after(took_s).resolve("db1", severity=WARNING)
    return story.at(40_000)


def last(story: Story) -> str:
    return max(story.engine.situations, key=lambda id: int(id[2:]))


def test_what_mostly_recovered_by_itself_gets_that_time():
    story = learned(min_ended=9).fire("db1", severity=WARNING).at(40_200).tick()
    assert story.verbs(last(story)) == []
    held = story.situation(last(story)).held[0]
    assert held.kind is HeldKind.TRANSIENT
    assert held.reason.startswith("Down mostly recovers by itself within 5m (10 of the last 10 times")

    story.at(40_400).tick()

    assert story.orders(last(story)) == [(40_300.0, "open")]


@pytest.mark.parametrize(
    ("why", "story"),
    [
        ("too few have ended", learned(ended=8, min_ended=9)),
        ("they took longer", learned(took_s=301, min_ended=9)),
        ("it is off", learned(enabled=False)),
    ],
)
def test_what_does_not_is_told_as_always(why: str, story: Story):
    story.fire("db1", severity=WARNING).at(40_200).tick()

    assert story.orders(last(story)) == [(40_030.0, "open")], why


def test_priority_one_never_waits():
    story = learned(min_ended=9).topology("shop runs_on db1", criticality={"shop": 1})

    story.fire("db1", severity=WARNING).at(40_010).fire("db1", name="Down2", severity="critical").at(40_100).tick()

    assert story.situation(last(story)).priority == 1
    assert story.orders(last(story))[0] == (40_010.0, "open")


def test_what_a_person_took_on_did_not_recover_by_itself():
    story = Story(settings={"suppress": {"transient": {"min_ended": 1}}}).fire("db1", severity=WARNING).at(40).tick()

    story.person("taken").at(100).resolve("db1", severity=WARNING)

    (known,) = story.engine.suppression.transients.classes.values()
    assert (known.ended, known.soon) == (1.0, 0.0)


def test_what_is_learned_meanwhile_does_not_end_a_wait():
    story = learned(min_ended=9).fire("db1", severity=WARNING).at(40_100).tick()
    situation = last(story)
    for offset in range(40_110, 40_130):  # others of the class end late
        story.at(offset).fire(f"h{offset}", severity=WARNING, started_s=offset - 2000)
        story.resolve(f"h{offset}", severity=WARNING)

    check_same(story.at(40_400).tick().records, restarts=range(0, len(story.records), 3))
    assert story.orders(situation) == [(40_300.0, "open")]


# ---- thresholds -----------------------------------------------------------------------------------------------------


def few(**rule: Any) -> dict[str, Any]:
    return {"suppress": {"thresholds": [{"name": "few", "matchers": ['alertname=~"Slow.*"'], **rule}]}}


def test_a_ticket_waits_for_the_number_of_alerts():
    story = Story(settings=few(alerts=3)).fire("db1", name="Slow1").at(20).fire("db1", name="Slow2").at(100).tick()
    assert story.situation().held_by == "rule “few” waits for more: 2 of 3 alerts within 10m"

    story.at(110).fire("db1", name="Slow3").at(200).tick()

    assert story.orders()[0] == (110.0, "open")


def test_or_of_cis():
    story = Story(*SHOP, settings=few(alerts=9, cis=2)).fire("db1", name="Slow").at(35).fire("api", name="Slow")

    story.at(200).tick()

    assert story.orders()[0] == (35.0, "open")


def test_too_far_apart_they_do_not_count():
    story = Story(settings=few(alerts=2, within="10s")).fire("db1", name="Slow1").at(20).fire("db1", name="Slow2")

    assert story.at(500).tick().verbs() == []


def test_an_alert_without_a_threshold_is_enough_to_tell():
    story = Story(settings=few(alerts=3)).fire("db1", name="Slow1").at(40).fire("db1", name="Down").at(100).tick()

    assert story.orders()[0] == (40.0, "open")


# ---- reasons --------------------------------------------------------------------------------------------------------


def test_a_hold_names_all_its_reasons_with_the_alerts_they_cover():
    story = (
        Story(settings=few(alerts=3))
        .silence("q", 'alertname="Down"', for_s=900)
        .window("w", "db1", matchers=['alertname="Down"'], spans_s=[(0, 500)])
    )
    story.fire("db1", name="Down").fire("db1", name="Slow1").fire("db1", name="Slow2").at(60).tick()

    assert [(held.kind.value, held.id, held.alerts) for held in story.situation().held] == [
        ("maintenance", "w", 1),
        ("silence", "q", 1),
        ("threshold", "few", 2),
    ]
    assert [row.action for row in story.told.audit if row.subject == "S-1"][-1] == "held"


def test_a_hold_that_ends_is_told_too():
    story = Story().silence("q", 'host="db1"', for_s=100).fire("db1").at(200).tick()

    assert [row.action for row in story.told.audit if row.subject == "S-1" and row.kind == "situation"] == [
        "opened",
        "held",
        "no longer held",
    ]


def test_an_alert_that_flaps_says_so():
    story = Story(settings={"fold": {"flap_changes": 2}}).fire("db1").at(10).resolve("db1").at(20).fire("db1")
    case = story.engine.suppression.case(story.situation(), story.engine.members(story.situation()), story.now)

    (held,) = story.engine.suppression.reasons(story.alert("db1"), case)

    assert held.kind is HeldKind.FLAPPING
    assert held.until == story.alert("db1").held_until


def test_many_silences_and_many_alerts_are_compared_once(monkeypatch: pytest.MonkeyPatch):
    """500 alerts under 50 silences: what was found holds until something is asked, begins or ends."""
    looked_up = 0
    asked = type(Story().engine.suppression.asked)
    real = asked._look_up

    def count(self: Any, *rest: Any) -> Any:
        nonlocal looked_up
        looked_up += 1
        return real(self, *rest)

    monkeypatch.setattr(asked, "_look_up", count)
    story = Story()
    for index in range(50):
        story.silence(f"q{index}", 'host="db1"', f'alertname=~"A.*{index % 10}"', for_s=90_000)
    story.fire("db1", name="A0")
    for index in range(1, 100):
        story.at(index).fire("db1", name=f"A{index}")
    story.at(200).tick()
    assert (len(story.situation().members), len(story.situation().held)) == (100, 50)

    assert looked_up == 100
