"""Times to acknowledge and to resolve, promises kept and noise reduction, of a period."""

import csv
import io
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import msgspec
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from foreshock.core.contracts import SituationRow
from foreshock.service.report import By, Figures, Report, as_csv, of_period, report, times
from foreshock.service.report_api import report_api
from foreshock.testing.factories import example_views
from foreshock.testing.fakes import MemoryHistory, MemoryViews
from foreshock.testing.records import NOON, Story, new_engine

DAY = timedelta(days=1)


def minutes(number: float) -> timedelta:
    return timedelta(minutes=number)


def row(
    id: str,
    *,
    opened: datetime = NOON,
    acknowledged: float | None = None,
    resolved: float | None = None,
    ticket: bool = True,
    **fields: Any,
) -> SituationRow:
    """acknowledged, resolved: minutes after the ticket, which came with the incident."""
    state = "open" if resolved is None else "resolved"
    known: dict[str, Any] = {
        "state": state, "priority": 2, "severity": 5, "title": "", "alerts": 2, "version": 1, "events": 10,
        "team": "dba", "services": ("shop",), **fields,
    }  # fmt: skip
    return SituationRow(
        id=id,
        opened_at=opened,
        updated_at=opened,
        ticketed_at=opened if ticket else None,
        acknowledged_at=None if acknowledged is None else opened + minutes(acknowledged),
        resolved_at=None if resolved is None else opened + minutes(resolved),
        **known,
    )


def made(*rows: SituationRow, by: By | None = None, **tallied: int) -> Report:
    return report(MemoryHistory(*rows, **tallied), NOON - DAY, NOON + DAY, by)


def by_key(found: Report) -> dict[str, Figures]:
    return {figures.key: figures for figures in found.rows}


def test_times_count_from_the_ticket_to_the_first_person_and_to_the_end():
    found = made(row("S-1", acknowledged=5, resolved=60), row("S-2", acknowledged=15, resolved=30)).all

    assert (found.acknowledge.count, found.acknowledge.mean_s, found.acknowledge.median_s) == (2, 600, 600)
    assert (found.resolve.count, found.resolve.mean_s, found.resolve.p90_s) == (2, 2700, 3600)


def test_one_long_outage_moves_the_mean_and_not_the_median():
    found = made(*(row(f"S-{n}", resolved=10) for n in range(9)), row("S-9", resolved=1000)).all.resolve

    assert found.median_s == 600
    assert found.mean_s == pytest.approx(6540)
    assert found.p90_s == 600


def test_what_is_open_is_told_apart_and_has_no_time_to_resolve():
    found = made(row("S-1", acknowledged=5), row("S-2"), row("S-3", resolved=5)).all

    assert (found.incidents, found.open, found.unacknowledged) == (3, 2, 1)
    assert found.resolve.count == 1
    assert found.acknowledge.count == 1


def test_what_was_merged_into_another_is_no_incident_of_its_own_but_its_ticket_was_one():
    found = made(row("S-1", resolved=60), row("S-2", resolved=3, state="merged")).all

    assert (found.incidents, found.merged, found.tickets) == (1, 1, 2)
    assert found.resolve.count == 1


def test_an_incident_without_a_ticket_counts_as_noise_that_was_held_back():
    found = made(row("S-1", resolved=60), row("S-2", resolved=3, ticket=False), events=1000, alerts=40).all

    assert (found.incidents, found.tickets, found.resolve.count) == (2, 1, 1)
    assert (found.events, found.alerts) == (1000, 40)
    assert found.noise_reduction == pytest.approx(0.999)


def test_promises_kept_are_a_share_of_those_that_are_judged():
    kept = {"acknowledged_in_time": True, "resolved_in_time": True}
    found = made(
        row("S-1", resolved=5, **kept),
        row("S-2", resolved=5, acknowledged_in_time=True, resolved_in_time=False),
        row("S-3", acknowledged_in_time=False),
        row("S-4"),
    ).all

    assert (found.sla_acknowledge.kept, found.sla_acknowledge.broken) == (2, 1)
    assert found.sla_acknowledge.share == pytest.approx(2 / 3)
    assert found.sla_resolve.share == pytest.approx(0.5)


def test_nothing_is_no_share_and_no_time():
    found = made().all

    assert (found.noise_reduction, found.acknowledge.mean_s, found.sla_resolve.share) == (None, None, None)


def test_an_incident_of_two_services_counts_for_each_and_once_in_all():
    found = made(row("S-1", services=("shop", "mail")), row("S-2", services=()), by=By.SERVICE)

    assert {key: figures.incidents for key, figures in by_key(found).items()} == {
        "shop": 1, "mail": 1, "(no service)": 1,
    }  # fmt: skip
    assert found.all.incidents == 2


def test_teams_come_with_the_most_tickets_first_and_priorities_in_their_order():
    rows = row("S-1", team="web", priority=3), row("S-2", team="dba", priority=1), row("S-3", team="dba", priority=3)

    assert [figures.key for figures in made(*rows, by=By.TEAM).rows] == ["dba", "web"]
    assert [figures.key for figures in made(*rows, by=By.PRIORITY).rows] == ["P1", "P3"]
    assert [figures.key for figures in made(row("S-1", team=""), by=By.TEAM).rows] == ["(no group)"]


def test_a_period_ends_before_its_end():
    rows = (row("S-1", opened=NOON), row("S-2", opened=NOON + DAY))

    assert report(MemoryHistory(*rows), NOON, NOON + DAY).all.incidents == 1


@given(st.lists(st.floats(0, 1e7), min_size=1, max_size=50))
def test_figures_of_times_lie_among_the_times(seconds: Sequence[float]):
    found = times(seconds)

    assert found.mean_s is not None
    assert min(seconds) <= found.median_s <= found.p90_s <= max(seconds)
    assert min(seconds) <= found.mean_s * (1 + 1e-9)
    assert found.mean_s <= max(seconds) * (1 + 1e-9)
    assert sum(each <= found.p90_s for each in seconds) >= 0.9 * len(seconds)


def test_csv_has_a_line_for_all_and_one_for_each_row_and_hostile_names_are_text():
    found = made(row("S-1", team="=cmd|' /C calc'!A0", resolved=5), by=By.TEAM, events=10)

    whole, evil = csv.DictReader(io.StringIO(as_csv(found)))

    assert (whole["key"], whole["incidents"], whole["mttr_mean_s"], whole["sla_resolve_share"]) == (
        "all",
        "1",
        "300.0",
        "",
    )
    assert evil["key"] == "'=cmd|' /C calc'!A0"


# ---- the API --------------------------------------------------------------------------------------------------------


def client(*rows: SituationRow) -> TestClient:
    views = MemoryViews(status=msgspec.structs.replace(example_views().status(), now=NOON))
    views.report = partial(of_period, MemoryHistory(*rows), NOON)  # type: ignore[method-assign]
    app = FastAPI()
    app.include_router(report_api(views))
    return TestClient(app, base_url="http://foreshock.test")


def test_the_api_answers_for_the_last_thirty_days_unless_asked_otherwise():
    rows = row("S-1", opened=NOON - 29 * DAY), row("S-2", opened=NOON - 31 * DAY)

    assert client(*rows).get("/api/v1/report").json()["all"]["incidents"] == 1
    long = client(*rows).get("/api/v1/report", params={"from": "2026-01-01T00:00:00Z", "by": "team"}).json()
    assert (long["all"]["incidents"], long["rows"][0]["key"], long["by"]) == (2, "dba", "team")


def test_the_api_answers_csv_too():
    answer = client(row("S-1", opened=NOON - DAY)).get("/api/v1/report", params={"format": "csv"})

    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.text.splitlines()[1].startswith("all,1,")


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"from": "2026-03-03T00:00:00Z"}, 409),
        ({"from": "yesterday"}, 422),
        ({"from": "2026-03-01"}, 422),
        ({"by": "colour"}, 422),
    ],
)
def test_a_period_that_is_none_is_refused(query: dict[str, str], status: int):
    assert client().get("/api/v1/report", params=query).status_code == status


# ---- what comes in --------------------------------------------------------------------------------------------------


def tallied(story: Story) -> list[tuple[str, str, int]]:
    """Of all its records in one step."""
    effects = new_engine().step([(record, None) for record in story.records])
    return [(f"{tally.hour:%H:%M}", tally.name, tally.count) for tally in effects.tallies]


def test_what_comes_in_is_counted_by_the_hour_of_its_record():
    story = Story().fire("a", "b").fire("a").after(3599).fire("a").after(1).fire("c").resolve("c").fire("c")

    assert tallied(story) == [
        ("12:00", "events", 4), ("12:00", "alerts", 2), ("13:00", "events", 3), ("13:00", "alerts", 2),
    ]  # fmt: skip
