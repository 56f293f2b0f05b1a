"""One event into its alert."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from correlation.fold import Outcome, date_of, expiry_of, first, fold, in_utc, onset_of, resolve, settle
from correlation.settings import FoldSettings
from foreshock.core.model import Alert, Event
from foreshock.core.severity import Severity
from foreshock.testing.records import NOON, seconds

LABELS = {"alertname": "Down", "host": "db1", "severity": "warning"}
SETTINGS = FoldSettings()


def event(**fields: Any) -> Event:
    """Times are seconds after noon."""
    for name in ("starts_at", "ends_at"):
        if isinstance(fields.get(name), int | float):
            fields[name] = NOON + seconds(fields[name])
    return Event(labels=Raw(b'{"alertname":"Down","host":"db1","severity":"warning"}'), **fields)


def alert_of(given: Event, at_s: float = 0, expire_after: timedelta | None = None) -> Alert:
    return first("f", "alertmanager", LABELS, given, NOON + seconds(at_s), expire_after)


def sent(alert: Alert, at_s: float, **fields: Any) -> Outcome:
    return fold(alert, event(**fields), NOON + seconds(at_s), SETTINGS, None)


def resolved_alert(*, started_s: float = 0, ended_s: float = 60) -> Alert:
    alert = alert_of(event(starts_at=started_s), started_s)
    assert sent(alert, ended_s, ends_at=ended_s) is Outcome.RESOLVED
    return alert


def test_the_first_event_begins_an_alert():
    alert = alert_of(event(starts_at=-30, ends_at=240), 5)

    assert (alert.firing, alert.count, alert.occurrences) == (True, 1, 1)
    assert (alert.starts_at, alert.first_seen) == (NOON - seconds(30), NOON + seconds(5))
    assert (alert.expires_at, alert.ends_at) == (NOON + seconds(240), None)


def test_a_first_event_that_is_a_resolve_begins_an_alert_that_is_over():
    alert = alert_of(event(ends_at=0), 5)

    assert (alert.firing, alert.ends_at, alert.expires_at) == (False, NOON, None)


@pytest.mark.parametrize(
    ("severity", "level"),
    [("", Severity.WARNING), ("critical", Severity.CRITICAL), ("nonsense", Severity.UNKNOWN)],
)
def test_the_event_s_word_for_severity_wins_over_the_label(severity: str, level: Severity):
    assert alert_of(event(severity=severity)).severity is level


@pytest.mark.parametrize(
    ("fields", "outcome"),
    [
        pytest.param({"starts_at": 0}, Outcome.REPEAT, id="the same again"),
        pytest.param({"starts_at": -60}, Outcome.REPEAT, id="an earlier onset from another way"),
        pytest.param({"starts_at": 90}, Outcome.REPEAT, id="a later onset while it fires"),
        pytest.param({"severity": "critical"}, Outcome.CHANGED, id="worse"),
        pytest.param({"annotations": Raw(b'{"summary":"new"}')}, Outcome.CHANGED, id="explained anew"),
        pytest.param({"ends_at": 100}, Outcome.RESOLVED, id="over"),
        pytest.param({"ends_at": 50}, Outcome.RESOLVED, id="over for a while"),
        pytest.param({"ends_at": 500}, Outcome.REPEAT, id="holds until later"),
        pytest.param({"ends_at": -1}, Outcome.LATE, id="a resolve from before it began"),
        pytest.param({"ends_at": datetime(1, 1, 1, tzinfo=UTC)}, Outcome.REPEAT, id="the year 1 is no time"),
    ],
)
def test_what_an_event_is_to_a_firing_alert(fields: dict[str, Any], outcome: Outcome):
    alert = alert_of(event(starts_at=0))

    assert sent(alert, 100, **fields) is outcome
    assert alert.count == 2
    assert alert.firing is (outcome is not Outcome.RESOLVED)


@pytest.mark.parametrize(
    ("fields", "outcome"),
    [
        pytest.param({"ends_at": 60}, Outcome.REPEAT, id="the resolve again"),
        pytest.param({"ends_at": 59}, Outcome.LATE, id="another resolve"),
        pytest.param({"starts_at": 0}, Outcome.LATE, id="a firing that was overtaken"),
        pytest.param({"starts_at": 59}, Outcome.LATE, id="a firing from before the end"),
        pytest.param({"starts_at": 60}, Outcome.FIRED_AGAIN, id="a firing from the very end"),
        pytest.param({"starts_at": 90}, Outcome.FIRED_AGAIN, id="a firing from after the end"),
        pytest.param({}, Outcome.FIRED_AGAIN, id="a firing without a date"),
    ],
)
def test_what_an_event_is_to_an_alert_that_is_over(fields: dict[str, Any], outcome: Outcome):
    alert = resolved_alert()

    assert sent(alert, 100, **fields) is outcome
    assert alert.firing is (outcome is Outcome.FIRED_AGAIN)
    assert alert.occurrences == (2 if alert.firing else 1)


def test_an_alert_that_only_ran_out_goes_on_with_the_same_onset():
    alert = alert_of(event(starts_at=0, ends_at=240))
    resolve(alert, NOON + seconds(240), NOON + seconds(240), SETTINGS)
    alert.expired = True

    assert sent(alert, 600, starts_at=0, ends_at=840) is Outcome.FIRED_AGAIN
    assert (alert.starts_at, alert.expired, alert.ends_at) == (NOON, False, None)


@pytest.mark.parametrize(("ended_s", "outcome"), [(250, Outcome.LATE), (-5, Outcome.FIRED_AGAIN)])
def test_once_the_source_itself_said_that_it_is_over_an_old_firing_is_late(ended_s: float, outcome: Outcome):
    alert = alert_of(event(starts_at=0, ends_at=240))
    resolve(alert, NOON + seconds(240), NOON + seconds(240), SETTINGS)
    alert.expired = True
    sent(alert, 300, ends_at=ended_s)

    assert sent(alert, 310, starts_at=0, ends_at=900) is outcome


def test_the_earlier_of_two_onsets_counts():
    alert = alert_of(event(starts_at=0))

    sent(alert, 10, starts_at=-60)
    sent(alert, 20, starts_at=15)

    assert alert.starts_at == NOON - seconds(60)


@pytest.mark.parametrize(
    ("starts_at", "expected"),
    [
        (NOON - seconds(5), NOON - seconds(5)),
        (NOON + seconds(5), NOON),
        (datetime.fromisoformat("2026-03-02T13:59:00+02:00"), NOON - seconds(60)),
    ],
)
def test_an_onset_is_never_in_the_future_and_always_in_utc(starts_at: datetime, expected: datetime):
    found = onset_of(date_of(event(starts_at=starts_at)), NOON)

    assert found == expected
    assert found is not None
    assert found.tzinfo is UTC


@pytest.mark.parametrize("starts_at", [None, datetime(1, 1, 1, tzinfo=UTC)])
def test_the_year_1_and_nothing_at_all_are_no_onset(starts_at: datetime | None):
    assert date_of(event(starts_at=starts_at)) is None
    assert alert_of(event(starts_at=starts_at), 7).starts_at == NOON + seconds(7)


@pytest.mark.parametrize(
    ("ends_at", "expire_after", "expected"),
    [
        (None, None, None),
        (None, timedelta(minutes=5), NOON + timedelta(minutes=5)),
        (NOON + seconds(9), timedelta(minutes=5), NOON + seconds(9)),
        (datetime(1, 1, 1, tzinfo=UTC), timedelta(minutes=5), NOON + timedelta(minutes=5)),
    ],
)
def test_when_an_alert_runs_out(ends_at: datetime | None, expire_after: timedelta | None, expected: datetime | None):
    assert expiry_of(event(ends_at=ends_at), NOON, expire_after) == expected


def test_a_moment_that_utc_cannot_write_is_the_last_one():
    assert in_utc(datetime.fromisoformat("9999-12-31T23:59:59-23:00")) == datetime.max.replace(tzinfo=UTC)


def change(alert: Alert, turn: int, every_s: float) -> None:
    """The alert, which fired at first, ends with each odd turn and fires again with each even one."""
    sent(alert, every_s * turn, **({"ends_at": every_s * turn} if turn % 2 else {"starts_at": every_s * turn}))


def test_from_the_fourth_change_in_ten_minutes_on_an_alert_flaps_and_counts_as_active():
    alert, flaps = alert_of(event(starts_at=0)), []
    for turn in range(1, 8):
        change(alert, turn, 20)
        flaps.append(alert.flaps)

    assert flaps == [0, 0, 0, 4, 5, 6, 7]
    assert len(alert.flips) == SETTINGS.flap_changes
    assert (alert.firing, alert.active) == (False, True)
    assert alert.held_until == NOON + seconds(140) + SETTINGS.flap_hold


def test_one_that_has_settled_flaps_again_only_after_as_many_changes():
    alert = alert_of(event(starts_at=0))
    for turn in range(1, 7):
        change(alert, turn, 20)

    assert settle(alert) == 6
    assert (alert.firing, alert.held_until, alert.flaps) == (True, None, 0)
    for turn in range(7, 10):
        change(alert, turn, 20)
        assert alert.held_until is None
    change(alert, 10, 20)
    assert alert.flaps == 4


def test_slow_changes_are_no_flapping():
    alert = alert_of(event(starts_at=0))
    for turn in range(1, 20):
        change(alert, turn, 300)

    assert (alert.flaps, alert.held_until) == (0, None)


# ---- late and out of order ------------------------------------------------------------------------------------------


@st.composite
def histories(draw: Any) -> list[dict[str, Any]]:
    """Occurrences of one condition, one after the other, each with both its ends and the last perhaps without: what a
    source says that dates each once. A resolve may or may not say when it began."""
    at, told = 0, []
    for _ in range(draw(st.integers(1, 4))):
        starts_at = at + draw(st.integers(1, 100))
        at = starts_at + draw(st.integers(1, 100))
        with_start = draw(st.booleans())
        told += [
            {"starts_at": starts_at, "ends_at": draw(st.sampled_from([None, 10_000]))},
            {"starts_at": starts_at if with_start else None, "ends_at": at},
        ]
    return told if draw(st.booleans()) else told[:-1]


@given(histories(), st.data())
def test_any_order_delay_and_repetition_of_what_a_source_dates_leads_to_the_same_state(
    history: list[dict[str, Any]], data: Any
):
    def told(events: list[dict[str, Any]]) -> tuple[bool, datetime, datetime | None]:
        alert: Alert | None = None
        for number, fields in enumerate(events):
            if alert is None:
                alert = alert_of(event(**fields), 1000 + number)
            else:
                sent(alert, 1000 + number, **fields)
        assert alert is not None
        return alert.firing, alert.starts_at, alert.ends_at

    again = data.draw(st.lists(st.sampled_from(history), max_size=6), label="sent again")
    shuffled = data.draw(st.permutations([*history, *again]), label="as they come")

    assert told(shuffled) == told(history)
