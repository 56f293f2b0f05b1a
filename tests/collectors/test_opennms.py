"""Alarms of OpenNMS: what a visit brings, and what ends an alarm."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from collectors import opennms
from collectors.opennms import COLLECTOR, OpenNms, OpenNmsConfig
from foreshock.connect.config import strictly
from foreshock.connect.http import Answer
from foreshock.core.contracts import Ignored, Page
from foreshock.core.errors import ConfigError, Malformed, Unavailable
from foreshock.core.model import Event, read_labels
from foreshock.testing.payloads import sample

NOW = datetime(2026, 11, 22, 3, 20, tzinfo=UTC)
(ALARM,) = sample("opennms-firing.json").tree
(CLEARED,) = sample("opennms-resolved.json").tree


class Server:
    """Lists its alarms in pages, as the REST API does."""

    def __init__(self, *alarms: dict[str, Any]) -> None:
        self.alarms = list(alarms)
        self.total: int | None = None

    def get(self, path: str, *, params: dict[str, Any]) -> Answer:
        assert (path, params["orderBy"]) == ("/api/v2/alarms", "id")
        part = self.alarms[params["offset"] : params["offset"] + params["limit"]]
        total = len(self.alarms) if self.total is None else self.total
        body = json.dumps({"alarm": part, "count": len(part), "totalCount": total, "offset": params["offset"]})
        return Answer(status=200 if part else 204, headers={}, body=body.encode() if part else b"", place="opennms 'n'")


def alarms(count: int, **more: Any) -> list[dict[str, Any]]:
    return [ALARM | {"id": number, "reductionKey": f"key-{number}", **more} for number in range(count)]


def read(page: Page) -> list[Event | Ignored]:
    items = [item for payload in page.payloads for item in opennms.decode(payload)]
    assert not any(isinstance(item, Malformed) for item in items)
    return [opennms.translate(item, NOW) for item in items]  # type: ignore[arg-type]


def visit(server: Server, cursor: str = "") -> Page:
    return OpenNms("n", server).fetch(cursor, NOW)  # type: ignore[arg-type]


def test_the_first_visit_brings_what_there_is_and_the_next_one_only_what_changed():
    server = Server(*alarms(1500))

    first = visit(server)
    server.alarms[7] |= {"severity": "CRITICAL"}
    second = visit(server, first.cursor)
    third = visit(server, second.cursor)

    assert len(read(first)) == 1500
    assert [event.severity for event in read(second)] == ["critical"]  # type: ignore[union-attr]
    assert third.payloads == ()


def test_the_same_cursor_brings_the_same_again():
    server = Server(*alarms(3))

    assert visit(server).payloads == visit(server).payloads


@pytest.mark.parametrize("left", [[], [CLEARED]], ids=["deleted", "cleared"])
def test_an_alarm_that_is_cleared_or_gone_is_over(left: list[dict[str, Any]]):
    server = Server(ALARM)
    before = visit(server)
    server.alarms = left

    after = visit(server, before.cursor)

    ((fires,), (ends,)) = read(before), read(after)
    assert isinstance(fires, Event)
    assert isinstance(ends, Event)
    assert read_labels(fires.labels) == read_labels(ends.labels)
    assert ends.ends_at is not None
    assert visit(server, after.cursor).payloads == ()


def test_what_is_beyond_the_bound_is_said_and_nothing_ends_because_of_it():
    server = Server(*alarms(3))
    cursor = visit(server).cursor
    server.alarms, server.total = server.alarms[:2], 9000

    page = visit(server, cursor)

    assert page.problems == ("there are 9000 alarms, 2 are read",)
    assert read(page) == []


def test_a_list_that_stops_too_early_ends_nothing():
    server = Server(*alarms(1000))
    cursor = visit(server).cursor
    server.total = 1001

    with pytest.raises(Unavailable, match="listed 1000 of 1001 alarms"):
        visit(server, cursor)


def test_an_alarm_that_only_ends_another_is_no_alert():
    (item,) = opennms.decode(json.dumps([ALARM | {"type": 2, "severity": "NORMAL"}]).encode())

    assert isinstance(opennms.translate(item, NOW), Ignored)  # type: ignore[arg-type]


def test_alarms_are_read_as_the_api_lists_them_and_one_by_one():
    listed = opennms.decode(json.dumps({"alarm": [ALARM], "count": 1}).encode())

    assert listed == opennms.decode(json.dumps(ALARM).encode()) == opennms.decode(json.dumps([ALARM]).encode())


def test_without_an_address_alarms_are_only_posted():
    assert COLLECTOR.poll is not None
    assert COLLECTOR.poll.build("n", strictly({}, OpenNmsConfig)) is None


@pytest.mark.parametrize(
    "given", [{"url": "https://opennms.example"}, {"user": "foreshock"}, {"url": "opennms", "user": "x"}]
)
def test_half_an_account_is_refused(given: dict[str, Any]):
    with pytest.raises((ConfigError, ValueError)):
        strictly(given, OpenNmsConfig)
