"""How often forecasts were right: each alarm counts once, and what nobody knows yet counts for nothing."""

from datetime import datetime, timedelta

import pytest

from foreshock.core.contracts import ForecastOutcome, ForecastRow, SituationRow
from foreshock.core.errors import Rejected
from foreshock.service.ledger import COLUMNS, Ledger, Per, as_csv, of_period
from foreshock.testing.records import NOON

HOUR, WEEK = timedelta(hours=1), timedelta(weeks=1)
END = NOON + 2 * WEEK


def entry(number: int, outcome: str = "expected", *, lead_h: float = 4, **fields: object) -> ForecastRow:
    heard_at = NOON + number * HOUR
    known = {
        "id": f"F-{number}", "model": "disk@1", "ci": "db1", "about": "", "summary": "", "services": ("shop",),
        "team": "dba", "heard_at": heard_at, "until": heard_at + timedelta(days=1), "probability": 0.8,
        "horizon_h": 24.0, "lead_time_h": 6.0, "problem": f"P-{number}", "outcome": ForecastOutcome(outcome),
        "ended_at": None if outcome == "expected" else heard_at + lead_h * HOUR,
        "situation": f"S-{number}" if outcome == "confirmed" else "",
    }  # fmt: skip
    return ForecastRow(**(known | fields))  # type: ignore[arg-type]


def incident(id: str, *, state: str = "resolved", ticket: bool = True, **fields: object) -> SituationRow:
    known = {
        "id": id, "state": state, "priority": 3, "severity": 4, "title": "t", "opened_at": NOON + HOUR,
        "updated_at": NOON, "resolved_at": None, "alerts": 1, "version": 1, "body": None,
        "ticketed_at": NOON + HOUR if ticket else None, "team": "dba", "services": ("shop",),
    }  # fmt: skip
    return SituationRow(**(known | fields))  # type: ignore[arg-type]


class Kept:
    def __init__(self, entries: list[ForecastRow], incidents: tuple[SituationRow, ...] = ()) -> None:
        self.entries, self.incidents = entries, incidents

    def forecasts_between(self, begin: datetime, end: datetime, *, problems_only: bool) -> list[ForecastRow]:
        return [row for row in self.entries if begin <= row.heard_at < end and (row.problem or not problems_only)]

    def first_forecast(self) -> datetime | None:
        return min((row.heard_at for row in self.entries), default=None)

    def opened_between(self, begin: datetime, end: datetime) -> list[SituationRow]:
        return [row for row in self.incidents if begin <= row.opened_at < end]


def of(entries: list[ForecastRow], *incidents: SituationRow, by: Per = Per.MODEL, **asked: bool) -> Ledger:
    return of_period(Kept(entries, incidents), END, NOON, END, by, **asked)


def test_hits_and_false_alarms_are_what_is_decided():
    outcomes = ("confirmed", "reached", "expired", "withdrawn", "expected", "unknown")
    found = of([entry(number, outcome) for number, outcome in enumerate(outcomes)]).all

    assert (found.announced, found.waiting, found.unknown) == (6, 1, 1)
    assert (found.precision.count, found.precision.of, found.precision.share) == (2, 4, 0.5)
    assert (found.lead.count, found.lead.median_s) == (2, 4 * 3600)
    assert (found.false_alarms.count, found.false_alarms.rate) == (2, pytest.approx(1.0, rel=0.01))


def test_eight_in_ten_lead_times_lie_between_the_percentiles_and_each_is_in_one_class():
    leads = [0.25, 0.5, 2, 4, 5, 6, 7, 30, 60, 200]
    entries = [entry(number, "confirmed", lead_h=hours) for number, hours in enumerate(leads)]
    found = of([*entries, entry(50, "expired")])

    assert (found.all.lead.p10_s, found.all.lead.median_s, found.all.lead.p90_s) == (900, 5.5 * 3600, 60 * 3600)
    assert [(each.over_s // 60, each.count) for each in found.leads] == [
        (0, 1), (15, 1), (60, 1), (180, 3), (360, 1), (720, 0), (1440, 1), (2880, 1), (5760, 0), (10_080, 1),
    ]  # fmt: skip
    assert found.leads[-1].up_to_s is None


def test_what_came_is_told_beside_what_was_said():
    said = [(0.72, "confirmed"), (0.78, "expired"), (0.9, "reached"), (1.0, "withdrawn"), (0.99, "expected")]
    found = of([entry(number, outcome, probability=sure) for number, (sure, outcome) in enumerate(said)])

    assert [(each.low, each.high, each.came.count, each.came.of) for each in found.said] == [
        (0.7, 0.8, 1, 2),
        (0.9, 0.95, 1, 1),
        (0.95, 1.0, 0, 1),
    ]
    assert found.said[0].mean == pytest.approx(0.75)


def test_the_figures_are_a_table_too_and_no_name_is_a_formula():
    lines = as_csv(of([entry(1, "confirmed"), entry(2, "expired", services=("=cmd()",))], by=Per.SERVICE)).split("\r\n")
    table = [dict(zip(COLUMNS, line.split(","), strict=True)) for line in lines[1:-1]]

    assert tuple(lines[0].split(",")) == COLUMNS
    assert [row["key"] for row in table] == ["all", "'=cmd()", "shop"]
    assert (table[0]["hits"], table[0]["decided"], table[0]["precision"]) == ("1", "2", "0.5")
    assert (table[0]["lead_median_s"], table[1]["lead_median_s"]) == ("14400.0", "")


def test_incidents_with_a_ticket_are_those_that_could_have_been_foreseen():
    found = of(
        [entry(0), entry(1, "confirmed")],
        incident("S-1"),
        incident("S-2"),
        incident("S-3", ticket=False),
        incident("S-4", state="merged"),
    ).all

    assert (found.recall.count, found.recall.of) == (1, 2)


def test_what_two_models_said_of_one_problem_is_one_alarm_and_right_if_one_was():
    entries = [
        entry(1, "withdrawn", problem="P-1"),
        entry(2, "confirmed", problem="P-1", model="net@2"),
        entry(3, "expired"),
    ]
    found = of(entries, incident("S-2"))

    assert (found.all.announced, found.all.precision.count, found.all.precision.of) == (2, 1, 2)
    assert found.all.lead.median_s == 5 * 3600, "from the first word on"
    assert [(row.key, row.announced, row.precision.count) for row in found.rows] == [("disk@1", 2, 0), ("net@2", 1, 1)]
    assert [row.recall.count for row in found.rows] == [0, 1]


def test_what_opened_no_problem_counts_only_where_that_is_asked():
    entries = [entry(1, "confirmed"), entry(2, "expired", problem="", reason="maintenance")]

    assert of(entries).all.announced == 1
    assert of(entries, problems_only=False).all.announced == 2


def test_each_service_and_team_has_its_own_figures():
    entries = [entry(1, "confirmed"), entry(2, "expired", services=("shop", "mail"), team=""), entry(3, "expired")]
    found = of(entries, incident("S-1"), incident("S-9", services=("mail",)), by=Per.SERVICE)

    assert [(row.key, row.announced, row.recall.count, row.recall.of) for row in found.rows] == [
        ("shop", 3, 1, 1),
        ("mail", 1, 0, 1),
    ]
    by_team = of(entries, by=Per.TEAM)
    assert [row.key for row in by_team.rows] == ["dba", "(no group)"]
    assert by_team.all.false_alarms.over == pytest.approx(2 * sum(r.false_alarms.over for r in by_team.rows) / 2)


def test_the_time_before_the_first_forecast_is_no_time_without_false_alarms():
    kept = Kept([entry(1, "expired", heard_at=END - WEEK)], (incident("S-1"),))
    found = of_period(kept, END, NOON, END, Per.MODEL)

    assert found.begin == END - WEEK
    assert (found.all.false_alarms.over, found.all.recall.of) == (1.0, 0)


def test_less_than_a_day_says_nothing_of_a_week():
    kept = Kept([entry(1, "expired", heard_at=END - HOUR)])
    found = of_period(kept, END, NOON, END, Per.MODEL).all.false_alarms

    assert (found.count, found.rate) == (1, None)


def test_more_than_can_be_read_while_others_wait_is_refused_with_the_remedy(monkeypatch):
    monkeypatch.setattr("foreshock.service.ledger.MAX_ENTRIES", 2)

    assert of([entry(1), entry(2), entry(3, problem="")]).all.announced == 2
    with pytest.raises(Rejected, match="more than 2 forecasts"):
        of([entry(1), entry(2), entry(3)])


def test_without_any_forecast_there_are_no_figures_and_no_error():
    found = of([], incident("S-1")).all

    assert (found.announced, found.precision.share, found.lead.count) == (0, None, 0)
    assert (found.false_alarms.rate, found.recall.share) == (None, None), "nobody was there to be right or wrong"


def test_a_period_that_is_none_is_refused():
    with pytest.raises(Rejected, match="is no period"):
        of_period(Kept([]), END, END, NOON, Per.MODEL)
