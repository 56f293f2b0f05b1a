"""Tickets as ITSM tools export them."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from foreshock.core.errors import ConfigError
from foreshock.service.recorded import TicketColumns
from foreshock.service.tickets import Ticket
from foreshock.service.truth import read_truth

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def read(folder: Path, name: str, content: Any, **columns: Any) -> tuple[Ticket, ...]:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return read_truth(path, TicketColumns(**columns)).tickets


def incidents(tickets: tuple[Ticket, ...]) -> dict[str, str]:
    return {ticket.number: ticket.incident for ticket in tickets}


def test_servicenow_as_its_table_api_answers(tmp_path: Path):
    """With sysparm_display_value=all: https://www.servicenow.com/docs, Table API, read 2026-11-22."""
    both = {"display_value": "2026-01-01 13:00:00", "value": "2026-01-01 12:00:00"}
    first = {"number": {"display_value": "INC1", "value": "INC1"}, "sys_id": "aaa", "opened_at": both,
             "cmdb_ci": {"display_value": "db1", "value": "9f", "link": "https://x/9f"}, "correlation_id": "key-1",
             "resolved_at": "", "parent_incident": "", "short_description": "db1 is down"}  # fmt: skip
    second = {**first, "number": "INC2", "sys_id": "bbb", "parent_incident": {"link": "https://x", "value": "aaa"}}
    found = read(tmp_path, "incident.json", {"result": [second, first]})

    assert incidents(found) == {"INC1": "INC1", "INC2": "INC1"}
    assert {(one.opened_at, one.cis, one.key, one.text) for one in found} == {(NOON, ("db1",), "key-1", "db1 is down")}


def test_jira_as_its_search_answers(tmp_path: Path):
    fields = {"summary": "shop is down", "created": "2026-01-01T13:00:00.000+0100", "resolutiondate": None,
              "resolution": {"name": "False alarm"}, "parent": {"id": "7", "key": "OPS-1"}}  # fmt: skip
    issues = [{"id": "8", "key": "OPS-2", "fields": fields},
              {"id": "7", "key": "OPS-1", "fields": {**fields, "resolution": None, "parent": None}}]  # fmt: skip
    found = read(tmp_path, "search.json", {"issues": issues, "total": 2})

    assert incidents(found) == {"OPS-1": "OPS-1", "OPS-2": ""}
    assert {(one.opened_at, one.text) for one in found} == {(NOON, "shop is down")}


def test_jira_as_a_table_with_its_own_times(tmp_path: Path):
    rows = ("OPS-2,8,x,01/Jan/26 1:00 PM,,7", "OPS-1,7,x,01/Jan/26 1:00 PM,,")
    text = "\n".join(("Issue key,Issue id,Summary,Created,Resolved,Parent", *rows))
    found = read(tmp_path, "jira.csv", text, time_format="%d/%b/%y %I:%M %p", zone="Europe/Berlin")

    assert incidents(found) == {"OPS-1": "OPS-1", "OPS-2": "OPS-1"}
    assert {one.opened_at for one in found} == {NOON}


def test_freshservice_with_the_assets_of_a_ticket(tmp_path: Path):
    one = {"id": 5, "subject": "slow", "created_at": "2026-01-01T12:00:00Z", "problem": {"display_id": 3},
           "stats": {"resolved_at": "2026-01-01T12:30:00Z"}, "assets": [{"name": "db1"}, {"name": "api"}]}  # fmt: skip
    (found,) = read(tmp_path, "tickets.json", {"tickets": [one]})

    assert (found.number, found.cis, found.resolved_at) == ("5", ("db1", "api"), NOON.replace(minute=30))


def test_zendesk_one_ticket_a_line(tmp_path: Path):
    lines = [{"id": number, "external_id": f"k{number}", "subject": "slow", "created_at": "2026-01-01T12:00:00Z",
              "problem_id": 9} for number in (1, 2)]  # fmt: skip
    found = read(tmp_path, "export.json", "\n".join(map(json.dumps, lines)))

    assert incidents(found) == {"1": "1", "2": "1"}
    assert [one.key for one in found] == ["k1", "k2"]


def test_under_one_problem_record_only_what_was_open_together_is_one_problem(tmp_path: Path):
    text = (
        "number,opened_at,resolved_at,ci,problem_id\n"
        "a,2026-01-01T10:00Z,2026-01-01T11:00Z,x,PRB1\nb,2026-01-01T10:30Z,2026-01-01T12:00Z,y,PRB1\n"
        "c,2026-02-01T10:00Z,2026-02-01T11:00Z,x,PRB1\n"
    )

    assert incidents(read(tmp_path, "t.csv", text)) == {"a": "a", "b": "a", "c": "c"}


def test_columns_of_other_names_are_said(tmp_path: Path):
    text = "nr,begin,machine,outcome\n1,2026-01-01T12:00Z,db1,nothing\n"
    names = {"number": "nr", "opened": "begin", "ci": "machine", "close": "outcome", "noise": ("Nothing",)}
    (found,) = read(tmp_path, "own.csv", text, **names)

    assert (found.number, found.incident, found.cis) == ("1", "", ("db1",))


@pytest.mark.parametrize(
    ("name", "text", "columns", "said"),
    [
        ("t.csv", "number,opened_at,ci\na,tomorrow,x\n", {}, r"t.csv:2: opened_at: 'tomorrow' is no time"),
        ("t.csv", "number,opened_at,ci\na,1.1.26,x\n", {"time_format": "%Y"}, "'1.1.26' is not written as '%Y'"),
        ("t.csv", "number,opened_at,ci\na,1,x\n", {"ci": "host"}, "host: there is no such column"),
        ("t.json", '[{"number": 1, "opened_at": 1}]', {"ci": "host"}, "t.json: host: there is no such field"),
        ("t.json", '[{"a": 1}]', {}, "t.json: there is no number, opened and ci, key or text"),
        ("t.json", '{"number": 1}\nno JSON\n', {}, "t.json:2: is not JSON"),
    ],
)
def test_what_cannot_be_read_is_said_with_its_place(
    tmp_path: Path, name: str, text: str, columns: dict[str, str], said: str
):
    with pytest.raises(ConfigError, match=said):
        read(tmp_path, name, text, **columns)


def test_a_zone_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="'Europe/Atlantis' is no time zone"):
        TicketColumns(zone="Europe/Atlantis")
