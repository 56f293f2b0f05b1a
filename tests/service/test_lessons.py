"""What models may learn from, read out of situations."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from foreshock.core.learned import Happening, Incident
from foreshock.core.model import (
    Alert,
    Cause,
    Ended,
    Evidence,
    Member,
    Situation,
    SituationState,
    Ticket,
    encode_texts,
)
from foreshock.core.severity import Severity
from foreshock.service.lessons import label_report, lessons
from foreshock.testing.factories import make_anomaly

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def at(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


def seconds(minutes: float) -> float:
    return at(minutes).timestamp()


def alert(name: str, ci: str, begins: float, ends: float | None = None, **fields: Any) -> Alert:
    return Alert(
        fingerprint=f"{name}/{ci}",
        source="test",
        labels=encode_texts({"alertname": name, "host": ci}),
        annotations=b"{}",
        severity=Severity.MAJOR,
        starts_at=at(begins),
        first_seen=at(begins),
        last_seen=at(begins),
        ends_at=None if ends is None else at(ends),
        firing=ends is None,
        ci=ci,
        **fields,
    )


def ended(*alerts: Alert, **fields: Any) -> Ended:
    known: Mapping[str, Any] = {
        "id": "S-1",
        "opened_at": at(5),
        "onset": min((each.starts_at for each in alerts), default=at(0)),
        "updated_at": at(60),
        "last_joined_at": at(5),
        "state": SituationState.RESOLVED,
        "priority": 2,
        "ticketed_at": at(6),
        "resolved_at": at(60),
        "services": ("shop",),
        "members": {each.fingerprint: Member(joined_at=at(5)) for each in alerts},
    }
    return Ended(situation=Situation(**{**known, **fields}), alerts=alerts)


def incidents(*situations: Ended) -> list[tuple[str, float]]:
    """CI and minute of the onset."""
    found = lessons(situations, min_priority=3).incidents
    return [(each.ci, (each.onset - seconds(0)) / 60) for each in found]


def left_out(*situations: Ended) -> Mapping[str, int]:
    known = lessons(situations, min_priority=3)
    assert known.incidents == ()
    return known.left_out


def test_an_incident_begins_on_each_ci_with_the_first_sign_there_and_not_with_its_ticket():
    one = ended(alert("Slow", "db1", 3, 50), alert("Full", "db1", 1, 40), alert("Down", "web", 4, 30))

    assert incidents(one) == [("db1", 1), ("web", 4)]
    assert lessons([one], 3).incidents[0] == Incident(
        ci="db1", onset=seconds(1), until=seconds(60), situation="S-1", priority=2, services=("shop",)
    )


def test_a_metric_that_was_odd_before_the_first_alert_is_the_first_sign():
    odd = Evidence(anomaly=make_anomaly("db1", onset=at(-7), at=at(-5)), path=("db1",))
    elsewhere = Evidence(anomaly=make_anomaly("san", onset=at(-9), at=at(-5)), path=("db1", "san"))

    assert incidents(ended(alert("Full", "db1", 1, 40), evidence=(odd, elsewhere))) == [("db1", -7)]


def test_the_cause_has_the_incident_too_unless_it_is_in_doubt():
    cause = (Cause(ci="san", score=0.9, contributions=()),)

    assert incidents(ended(alert("Full", "db1", 1, 2), causes=cause)) == [("db1", 1), ("san", 1)]
    assert incidents(ended(alert("Full", "db1", 1, 2), causes=cause, cause_doubt="two are as likely")) == [("db1", 1)]
    assert incidents(ended(alert("Full", "db1", 1, 2), causes=cause, cause_said="fan")) == [("db1", 1), ("fan", 1)]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"state": SituationState.MERGED}, "merged into another"),
        ({"ticketed_at": None}, "no ticket"),
        ({"priority": 4}, "below priority 3"),
        ({"tickets": {"desk": Ticket(sink="desk", label="false_alarm")}}, "closed as false alarm"),
        ({"tickets": {"desk": Ticket(sink="desk", label="no_fault")}}, "closed as no fault"),
    ],
)
def test_what_people_were_not_asked_about_or_waved_away_is_none(fields: Mapping[str, Any], reason: str):
    assert left_out(ended(alert("Full", "db1", 1, 2), **fields)) == {reason: 1}


def test_what_was_closed_as_real_is_one():
    assert incidents(ended(alert("Full", "db1", 1, 2), tickets={"desk": Ticket(sink="desk", label="real")}))


def test_an_incident_of_no_known_ci_is_counted_as_such():
    assert left_out(ended(alert("Full", "", 1, 2))) == {"no CI": 1}


def test_what_was_no_incident_happened_all_the_same_and_once():
    quiet = ended(alert("Full", "db1", 1, 2), id="S-1", ticketed_at=None)
    again = ended(alert("Full", "db1", 1, 2), alert("Down", "web", 9), id="S-2", ticketed_at=None)

    assert lessons([quiet, again], 3).happenings == (
        Happening("db1", seconds(1), seconds(2), "Full", Severity.MAJOR),
        Happening("web", seconds(9), None, "Down", Severity.MAJOR),
    )


def test_the_report_counts_incidents_where_and_when_they_were_and_names_the_gaps():
    day = 24 * 60
    known = lessons(
        [
            ended(alert("Full", "db1", 0, 2), alert("Down", "web", 1, 2), id="S-1"),
            ended(alert("Full", "db1", 3 * day, 3 * day + 2), id="S-2"),
            ended(alert("Full", "db2", 30 * day, 30 * day + 2), id="S-3", services=()),
            ended(alert("Full", "db3", 30 * day + 9, 30 * day + 10), id="S-4", ticketed_at=None),
        ],
        min_priority=3,
    )
    report = label_report(known)

    assert (report.incidents, report.cis, report.happenings) == (3, 3, 5)
    assert report.by_ci == {"db1": 2, "web": 1, "db2": 1}
    assert report.by_service == {"shop": 2}
    assert report.by_month == {"2026-03": 2, "2026-04": 1}
    assert report.left_out == {"no ticket": 1}
    assert [(gap.since, gap.until) for gap in report.gaps] == [(at(3 * day), at(30 * day)), (at(1), at(3 * day))]


def test_the_report_of_nothing_is_empty():
    report = label_report(lessons([], 3))

    assert (report.since, report.incidents, report.gaps) == (None, 0, ())
