"""Metric anomalies and the engine: what they are attached to, and what they leave alone."""

from foreshock.core.model import Moved
from foreshock.service import evidence as service_evidence
from foreshock.service import regroup
from foreshock.testing.records import Story, check_same

SHOP = ("shop depends_on api", "api runs_on db1", "mail depends_on disk")


def evidence(story: Story, situation: str = "S-1") -> list[tuple[str, ...]]:
    return [each.path for each in story.situation(situation).evidence]


def test_an_anomaly_on_what_an_alert_depends_on_is_evidence_with_its_path():
    story = Story(*SHOP).fire("shop").at(60).anomaly("db1")

    assert evidence(story) == [("shop", "api", "db1")]


def test_an_anomaly_on_the_ci_of_an_alert_is_evidence():
    assert evidence(Story(*SHOP).fire("db1").at(60).anomaly("db1")) == [("db1",)]


def test_an_anomaly_heard_before_the_alert_is_evidence_too():
    story = Story(*SHOP).anomaly("db1").at(120).fire("shop").at(130).fire("api")

    assert evidence(story) == [("api", "db1")]


def test_an_anomaly_elsewhere_downstream_or_long_over_is_none():
    story = Story(*SHOP).anomaly("api", until_s=-2000, since_s=-3000).at(120).fire("api")
    story.at(130).anomaly("disk").anomaly("shop")

    assert evidence(story) == []


def test_an_anomaly_alone_opens_nothing():
    story = Story(*SHOP).anomaly("db1", score=100).at(600).tick()

    assert story.engine.situations == {}
    assert story.told.orders == []
    assert story.engine.counts["anomalies"] == 1


def test_the_name_of_the_source_is_bound_as_that_of_an_alert_is():
    assert evidence(Story(*SHOP).fire("db1").at(60).anomaly("DB1.example.com:9100")) == [("db1",)]


def test_a_name_that_several_cis_share_is_nobody_s():
    story = Story(*SHOP).fire("db1")
    story.engine.topology._names["twin"] = ("db1", "api")

    assert evidence(story.at(60).anomaly("twin")) == []


def test_new_evidence_reaches_the_ticket_once_and_is_audited():
    story = Story(*SHOP).fire("shop").at(60).tick().at(70).anomaly("db1").at(80).anomaly("db1", score=7.9)
    story.at(200).tick()

    assert story.verbs() == ["open", "update"]
    assert "db1: latency is up, 2.5 s where 0.5 s is usual" in story.told.orders[-1].fields["description"]
    assert [row.detail for row in story.told.audit if "evidence" in row.detail] == ["1 metric as evidence"]


def test_evidence_goes_with_the_alerts_when_situations_merge_and_split():
    story = Story("web runs_on esx", "mail runs_on esx", "web stored_on nas", "mail stored_on san")
    story.fire("web").at(300).fire("mail", started_s=300).at(310).anomaly("nas").anomaly("san")
    assert (evidence(story, "S-1"), evidence(story, "S-2")) == ([("web", "nas")], [("mail", "san")])

    how = Moved(at=story.now, source="S-2", reason="one problem")
    regroup.merge(story.engine, story.situation("S-1"), story.situation("S-2"), how)
    assert sorted(evidence(story)) == [("mail", "san"), ("web", "nas")]

    part = regroup.split(story.engine, story.situation(), [story.alert("mail").fingerprint], how)
    assert (evidence(story), evidence(story, part.id)) == ([("web", "nas")], [("mail", "san")])


def test_an_anomaly_of_what_everything_stands_on_reaches_the_nearest_and_the_bound_is_counted(monkeypatch):
    monkeypatch.setattr(service_evidence, "MAX_SITUATIONS", 2)
    cis = ("web", "mail", "shop")
    story = Story(*(f"{ci} runs_on esx" for ci in cis), settings={"relate": {"window": "1s"}})
    for ci in cis:
        story.after(10).fire(ci)
    story.after(1).anomaly("esx")

    assert sum(bool(evidence(story, id)) for id in story.engine.situations) == 2
    assert story.engine.counts["anomalies_cut"] == 1


def test_a_situation_that_is_over_takes_no_more_evidence():
    story = Story(*SHOP).fire("db1").at(60).resolve("db1").at(300).tick().anomaly("db1")

    assert evidence(story) == []


def test_evidence_survives_restarts_to_the_byte():
    story = Story(*SHOP).anomaly("db1").at(60).fire("shop").at(61).anomaly("api").at(90).anomaly("db1", until_s=80)
    story.at(120).fire("api").at(4000).tick()

    for number in range(len(story.records)):
        check_same(story.records, restarts=[number])
