"""Alerts that not all of their labels identify: how they fire and end, which CI they are about, and what becomes of
them when the identity rules change while they are open."""

from typing import Any

import pytest

from correlation.variants import MAX_VARIANTS
from foreshock.core import identity
from foreshock.core.model import Alert, SituationState
from foreshock.service.ourselves import suspension
from foreshock.testing.records import (
    Story,
    census,
    check_bounds,
    check_identity,
    check_resolutions,
    check_same,
    check_structure,
    check_tickets,
    new_engine,
    seconds,
)


def by_rules(*rules: dict[str, Any]) -> dict[str, Any]:
    return {"fold": {"identity": list(rules)}}


WITHOUT_REPLICA = by_rules({"without": ["replica"]})
WITHOUT_HOST = by_rules({"without": ["host"]})
ALL_LABELS = by_rules()


def one(story: Story) -> Alert:
    (alert,) = story.engine.alerts.values()
    return alert


def replica(name: str) -> dict[str, str]:
    return {"replica": name}


def is_sound(story: Story) -> None:
    check_identity(story.engine)
    check_structure(story.engine)
    check_bounds(story.engine, story.in_force)
    check_tickets(story.told.orders, story.touched)
    check_resolutions(story.engine)
    for number in range(len(story.records)):
        check_same(story.records, restarts=[number])


# ---- several label sets, one alert ----------------------------------------------------------------------------------


def test_label_sets_that_differ_only_in_what_does_not_identify_are_one_alert():
    story = Story(settings=WITHOUT_REPLICA).fire("web", labels=replica("a")).after(5).fire("web", labels=replica("b"))

    assert (one(story).firing, one(story).starts_at) == (True, story.time(0))
    assert story.groups() == [["web"]]
    assert (story.engine.counts["new"], story.engine.counts["repeat"]) == (1, 1)
    is_sound(story)


def test_it_fires_while_any_of_them_does():
    story = Story(settings=WITHOUT_REPLICA).fire("web", labels=replica("a")).after(60).fire("web", labels=replica("b"))

    story.after(10).resolve("web", labels=replica("a"))
    assert (one(story).firing, story.situation().cleared_at) == (True, None)

    story.after(10).resolve("web", labels=replica("b"))
    assert (one(story).firing, one(story).ends_at, one(story).expired) == (False, story.time(80), False)
    is_sound(story.after(200).tick())


def test_a_re_send_of_any_of_them_is_found_by_its_bytes_and_keeps_it_alive():
    story = Story(settings=WITHOUT_REPLICA)
    for minute in range(10):
        story.at(60 * minute).fire("web", labels=replica("a"), started_s=0, holds_s=240)
        if minute < 3:
            story.fire("web", labels=replica("b"), started_s=0, holds_s=240)

    assert story.engine.counts["repeat"] == 12
    assert {alert.count for alert in story.engine.members(story.situation())} == {13}
    story.at(540 + 239).tick()
    assert one(story).firing
    story.after(1).tick()
    assert (one(story).firing, one(story).expired, one(story).ends_at) == (False, True, story.time(780))
    is_sound(story)


def test_a_silence_must_cover_each_label_set_that_fires():
    story = Story(settings=WITHOUT_REPLICA).silence("q", 'replica="a"', for_s=9000)
    story.fire("web", labels=replica("a")).after(40).tick()
    assert story.verbs() == []

    story.fire("web", labels=replica("b")).after(40).tick()
    assert story.verbs() == ["open"]
    is_sound(story)


def test_what_foreshock_says_of_itself_is_no_business_of_identity_rules():
    story = Story(settings=by_rules({"by": ["alertname"]})).after(1)
    for rule in ("one@1", "two@1"):
        story.engine.report(suspension(rule), "it is suspended")
    story.settings(ALL_LABELS).settings(by_rules({"by": ["alertname"]}))

    assert len(story.engine.alerts) == 2
    check_identity(story.engine)


def test_the_worst_of_those_that_fire_says_how_bad_it_is():
    story = Story(settings=by_rules({"without": ["severity"]})).fire("web", severity="warning")
    story.after(5).fire("web", severity="critical")

    assert one(story).severity.word == "critical"
    assert story.engine.counts["changed"] == 1


def test_a_rule_is_for_the_source_the_collector_and_the_labels_it_names():
    rules = by_rules(
        {"source": "eu", "match": ['alertname="Down"'], "without": ["replica"]}, {"collector": "events", "by": ["host"]}
    )
    story = Story(settings=rules)
    for name in ("a", "b"):
        story.fire("web", labels=replica(name), source="eu")  # one
        story.fire("web", labels=replica(name), source="us")  # two
        story.fire("web", name="Slow", labels=replica(name), source="eu")  # two
        story.body(b'{"labels":{"host":"web","replica":"%s"}}' % name.encode(), collector="events")  # one

    assert len(story.engine.alerts) == 1 + 2 + 2 + 1
    is_sound(story)


def test_where_no_label_is_left_that_identifies_all_do():
    story = Story(settings=by_rules({"by": ["nobody_has_this"]})).fire("web", "db")

    assert len(story.engine.alerts) == 2


def test_label_sets_that_come_and_go_are_kept_in_bounds_and_all_counted():
    story = Story(settings=by_rules({"without": ["value"]}))
    for number in range(100):
        story.after(1).fire("web", labels={"value": str(number)}, holds_s=3600)

    assert len(one(story).variants or ()) == MAX_VARIANTS
    assert one(story).count == 100
    assert one(story).firing
    check_identity(story.engine)


def test_a_number_in_the_labels_disturbs_once():
    story = Story(settings=by_rules({"without": ["value"]}))
    for number in range(30):
        story.after(60).fire("web", labels={"value": str(number)}, holds_s=240)
        if number:
            story.resolve("web", labels={"value": str(number - 1)})

    assert story.verbs().count("open") == 1
    assert (one(story).occurrences, one(story).flips) == (1, ())
    is_sound(story)


# ---- which CI -------------------------------------------------------------------------------------------------------


def test_two_machines_under_one_key_are_told_once_with_the_remedy_and_the_binding_stays():
    story = Story("shop depends_on db1", "shop depends_on db2", settings=WITHOUT_HOST)
    for minute in range(12):
        story.at(60 * minute)
        for host in ("db2", "db1") if minute % 2 else ("db1", "db2"):
            story.fire(host, started_s=0).fire(host, name="Slow", started_s=0)

    assert story.alert("db1").ci == "db1"
    said = [row for row in story.told.audit if row.action == "clash"]
    assert [row.subject for row in said] == ["alertmanager"]
    assert "is one alert for db1 and db2: entry 1 of correlation.fold.identity leaves out host; let" in said[0].detail
    assert story.engine.counts["clashes"] == 2
    assert story.engine.sources["alertmanager"].clashes == 2
    is_sound(story)


def test_one_that_takes_the_place_of_another_is_no_clash():
    story = Story(settings=by_rules({"without": ["pod"]}))
    for name in ("web-1", "web-2", "web-3"):
        story.post({"labels": {"alertname": "Crash", "deployment": "web", "pod": name}}).after(400).tick()

    assert story.engine.counts["clashes"] == 0
    assert one(story).ci == "web-1"


def test_what_identifies_binds_before_what_does_not():
    story = Story("web runs_on esx", settings=by_rules({"without": ["pod"]}))
    story.post(*({"labels": {"alertname": "Crash", "app": "web", "pod": name}} for name in ("p1", "p2")))
    for _ in range(10):
        story.after(60).post(*({"labels": {"alertname": "Crash", "app": "web", "pod": name}} for name in ("p1", "p2")))

    assert (one(story).ci, one(story).bound_by) == ("web", "label app")
    assert story.engine.counts["clashes"] == 0


# ---- other rules while alerts are open ------------------------------------------------------------------------------


def two_replicas() -> Story:
    """Two alerts in one situation, which has its ticket."""
    story = Story().fire("web", labels=replica("a")).at(20).fire("web", labels=replica("b")).at(25)
    return story.fire("web", labels=replica("b"), started_s=20).at(60).tick()


def test_alerts_that_are_one_from_now_on_are_folded_together_and_the_ticket_hears_nothing():
    story = two_replicas()
    before, verbs = census(story.engine), story.verbs()

    story.settings(WITHOUT_REPLICA)

    assert census(story.engine) == before
    assert (whole := story.engine.members(story.situation())[0]).count == 3
    assert (len(story.engine.alerts), whole.starts_at, whole.firing) == (1, story.time(0), True)
    assert list(story.situation().members) == [whole.fingerprint]
    assert story.verbs() == verbs
    is_sound(story)


def test_what_was_one_comes_apart_as_if_it_had_never_been():
    story, plain = two_replicas().settings(WITHOUT_REPLICA).settings(ALL_LABELS), two_replicas()

    assert story.engine.alerts == plain.engine.alerts
    assert set(story.situation().members) == set(plain.situation().members)
    assert story.verbs() == plain.verbs()
    is_sound(story)


ONE_BY_NAME = by_rules({"source": "eu", "by": ["alertname"]})
EU: dict[str, Any] = {"source": "eu", "labels": {"pod": ""}}
WEBHOOK: dict[str, Any] = {"collector": "alertmanager_webhook", "labels": {"pod": ""}}


@pytest.mark.parametrize("senders", [(EU, WEBHOOK), (WEBHOOK, EU)], ids=["expires-first", "lasts-first"])
@pytest.mark.parametrize("before", [(), (ONE_BY_NAME, ALL_LABELS)], ids=["one-alert", "two-that-became-one"])
def test_what_holds_until_one_of_two_sources_resolves_it_is_ended_by_that_one_under_other_rules_too(
    senders: tuple[dict[str, Any], ...], before: tuple[dict[str, Any], ...]
):
    story = Story(settings=before[0] if before else None)
    for sender in senders:
        story.fire("web", **sender).after(5)
    for settings in (*before[1:], ONE_BY_NAME):
        story.settings(settings).after(5)

    story.resolve("web", **WEBHOOK).after(5)

    assert [alert.firing for alert in story.engine.alerts.values()] == [False]
    is_sound(story)


def test_a_re_send_after_the_change_is_a_repeat():
    story = two_replicas().settings(WITHOUT_REPLICA).at(70)
    for name, started_s in (("a", 0), ("b", 20)):
        story.fire("web", labels=replica(name), started_s=started_s)
    story.settings(ALL_LABELS).at(80)
    for name, started_s in (("a", 0), ("b", 20)):
        story.fire("web", labels=replica(name), started_s=started_s)

    assert (story.engine.counts["new"], story.engine.counts["repeat"]) == (2, 5)
    assert story.engine.counts["late"] == 0


def test_one_that_had_ended_and_one_that_fires_fire():
    story = Story().fire("web", labels=replica("a")).at(10).resolve("web", labels=replica("a"))
    story.at(20).fire("web", labels=replica("b")).settings(WITHOUT_REPLICA)

    assert (one(story).firing, one(story).starts_at) == (True, story.time(20))
    is_sound(story.at(30).resolve("web", labels=replica("b")).at(3000).tick())


def two_situations() -> Story:
    """Alerts on two machines that have nothing to do with each other, each with its ticket."""
    return Story().fire("db1", "db2").at(60).tick()


def test_a_situation_without_an_alert_of_its_own_is_merged_and_its_ticket_resolved_with_a_reference():
    story = two_situations().settings(WITHOUT_HOST)

    assert story.situation("S-2").state is SituationState.MERGED
    assert story.situation("S-2").merged_into == "S-1"
    assert (story.verbs("S-1")[0], story.verbs("S-2")) == ("open", ["open", "resolve"])
    assert len(story.situation("S-1").members) == 1
    is_sound(story)


def test_a_situation_with_an_alert_of_its_own_goes_on_with_that():
    story = two_situations().fire("db2", name="Slow", labels={"rack": "4"}, started_s=0)
    story.after(1).settings(by_rules({"match": ["alertname=Down"], "without": ["host"]}))

    assert story.situation("S-2").state is SituationState.OPEN
    assert [len(story.situation(name).members) for name in ("S-1", "S-2")] == [1, 1]
    is_sound(story)


def test_what_comes_apart_into_more_than_a_situation_holds_finds_another_place():
    story = Story(settings={**WITHOUT_REPLICA, "group": {"max_alerts": 2}})
    for name in "abcd":
        story.fire("web", labels=replica(name))

    story.after(1).settings({"group": {"max_alerts": 2}})

    assert [len(situation.members) for situation in story.engine.situations.values()] == [2, 2]
    assert sum(alert.firing for alert in story.engine.alerts.values()) == 4
    is_sound(story)


def test_a_checkpoint_after_the_change_holds_no_alert_under_its_old_fingerprint():
    story = two_replicas()
    held = {key for kind, key, _ in story.engine.checkpoint() if kind == "alert"}
    story.engine.saved()

    story.settings(WITHOUT_REPLICA)

    changes = {key: body for kind, key, body in story.engine.checkpoint() if kind == "alert"}
    assert {key for key, body in changes.items() if body is None} == held
    assert [key for key, body in changes.items() if body is not None] == list(story.engine.alerts)


def test_the_change_is_in_the_audit_with_what_it_did():
    story = two_replicas().settings(WITHOUT_REPLICA)

    (row,) = [row for row in story.told.audit if row.action == "re-keyed"]
    assert row.detail == "2 alerts are 1 now, of 2 label sets; 2 have another fingerprint, 0 came apart"


def test_fingerprints_of_an_older_version_are_renewed_at_the_start(monkeypatch: pytest.MonkeyPatch):
    story = two_replicas()
    state = [(kind, key, body) for kind, key, body in story.engine.checkpoint() if body is not None]
    old = set(story.engine.alerts)
    monkeypatch.setattr(identity, "FINGERPRINT_VERSION", identity.FINGERPRINT_VERSION + 1)

    engine = new_engine()
    engine.restore(state)

    check_identity(engine)
    check_structure(engine)
    assert old.isdisjoint(engine.alerts)
    assert engine.situations["S-1"].members.keys() == engine.alerts.keys()


def test_a_wrong_clash_is_forgotten_with_the_rules_that_led_to_it():
    story = Story(settings=WITHOUT_HOST).fire("db1", "db2").at(400).tick()
    assert story.engine.sources["alertmanager"].clashes == 1

    story.settings(ALL_LABELS)

    assert (story.engine.sources["alertmanager"].clashes, story.engine.sources["alertmanager"].clash) == (0, "")
    assert story.alert("db1").starts_at == story.start + seconds(0)
