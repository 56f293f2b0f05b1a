"""What visits to the API of Zabbix bring; the real one is asked in tests/system."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from collectors.zabbix import COLLECTOR, Zabbix, ZabbixConfig, decode, translate
from foreshock.connect.config import strictly
from foreshock.connect.http import Answer
from foreshock.connect.vendors.zabbix import ZabbixApi
from foreshock.core.contracts import Page
from foreshock.core.errors import ConfigError, Denied, ForeshockError, Malformed, Rejected, Unavailable
from foreshock.core.model import Event, Samples, read_annotations, read_labels

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
NOW_S = int(NOW.timestamp())


class Server:
    """Events by number, and item history, as the API answers them."""

    def __init__(self, version: str = "6.0.14") -> None:
        self.version = version
        self.events: dict[int, dict[str, Any]] = {}
        self.items: list[dict[str, Any]] = []
        self.history: list[dict[str, str]] = []
        self.triggers: list[dict[str, Any]] = []
        self.hosts = 1
        self.calls: list[tuple[dict[str, Any], dict[str, str]]] = []
        self.instance = "zabbix 'z'"

    def begin(self, id: int, host: str = "db1", **more: Any) -> None:
        self.events[id] = {
            "eventid": str(id), "value": "1", "objectid": "17", "clock": str(NOW_S - 600 + id), "name": "Disk full",
            "severity": "4", "acknowledged": "0", "suppressed": "0", "r_eventid": "0", "opdata": "97%",
            "hosts": [{"hostid": "5", "host": host, "name": "Database"}], "tags": [{"tag": "team", "value": "dba"}],
            **more,
        }  # fmt: skip

    def end(self, id: int, by: int) -> None:
        self.events[id]["r_eventid"] = str(by)
        self.events[by] = {"eventid": str(by), "value": "0", "clock": str(NOW_S - 600 + by), "r_eventid": "0"}

    def post(self, path: str, *, json: dict[str, Any], headers: dict[str, str], safe: bool) -> Answer:
        assert (path, safe) == ("/api_jsonrpc.php", True)
        self.calls.append((json, headers))
        name, asked = json["method"].replace(".", "_"), json["params"]
        found = getattr(self, name)(asked)
        return answer(found if isinstance(found, dict) and "error" in found else {"result": found})

    def apiinfo_version(self, asked: Any) -> str:
        return self.version

    def problem_get(self, asked: Any) -> Any:
        rows = [event for event in self.events.values() if event["value"] == "1" and event["r_eventid"] == "0"]
        return sorted(({"eventid": row["eventid"]} for row in rows), key=lambda row: -int(row["eventid"]))

    def event_get(self, asked: Any) -> Any:
        rows = [self.events[id] for id in sorted(self.events)]
        if "eventids" in asked:
            rows = [row for row in rows if row["eventid"] in asked["eventids"]]
        if "value" in asked:
            rows = [row for row in rows if row["value"] == str(asked["value"])]
        rows = [row for row in rows if int(row["eventid"]) >= asked.get("eventid_from", 0)]
        rows = rows[::-1] if asked.get("sortorder") == "DESC" else rows
        return rows[: asked.get("limit")]

    def host_get(self, asked: Any) -> str:
        return str(self.hosts)

    def trigger_get(self, asked: Any) -> Any:
        return self.triggers

    def item_get(self, asked: Any) -> Any:
        return self.items

    def history_get(self, asked: Any) -> Any:
        rows = [row for row in self.history if asked["time_from"] <= int(row["clock"]) <= asked["time_till"]]
        return [row for row in rows if row["itemid"] in asked["itemids"]][: asked["limit"]]


def answer(found: Any) -> Answer:
    return Answer(status=200, headers={}, body=json.dumps({"jsonrpc": "2.0", **found}).encode(), place="zabbix 'z'")


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def config(tmp_path) -> Callable[..., ZabbixConfig]:
    return lambda **more: strictly(
        {"url": "https://zabbix.example", "token_file": str(tmp_path / "token"), **more}, ZabbixConfig
    )


def visit(server: Server, config: ZabbixConfig, cursor: str = "") -> Page:
    return Zabbix("z", config, ZabbixApi(server, "secret")).fetch(cursor, NOW)  # type: ignore[arg-type]


def read(page: Page) -> list[Any]:
    items = [item for payload in page.payloads for item in decode(payload)]
    assert not any(isinstance(item, Malformed) for item in items)
    return [translate(item, NOW) for item in items]  # type: ignore[arg-type]


def told(page: Page) -> list[tuple[str, bool]]:
    """Which event, and whether it is over."""
    events = [event for event in read(page) if isinstance(event, Event)]
    return [(read_annotations(event.annotations)["event_id"], event.ends_at is not None) for event in events]


def test_the_first_visit_brings_what_is_open_and_the_next_ones_what_changed(server, config):
    server.begin(1)
    server.begin(2, host="db2")
    server.end(1, by=3)

    first = visit(server, config())
    server.begin(4, host="db3")
    second = visit(server, config(), first.cursor)
    server.end(2, by=5)
    third = visit(server, config(), second.cursor)
    fourth = visit(server, config(), third.cursor)

    assert [told(page) for page in (first, second, third, fourth)] == [
        [("2", False)], [("4", False)], [("2", True)], [],
    ]  # fmt: skip
    (over,) = read(third)
    assert over.ends_at == datetime.fromtimestamp(NOW_S - 595, UTC)


def test_begin_and_end_are_one_alert(server, config):
    server.begin(1)
    first = visit(server, config())
    server.end(1, by=2)

    (begin,), (end,) = read(first), read(visit(server, config(), first.cursor))

    labels = {"alertname": "Disk full", "host": "db1", "trigger_id": "17", "team": "dba"}
    assert read_labels(begin.labels) == read_labels(end.labels) == labels
    assert begin.severity == "high"


def test_a_problem_that_came_and_went_between_two_visits_is_told_with_its_end(server, config):
    cursor = visit(server, config()).cursor
    server.begin(1)
    server.end(1, by=2)

    (event,) = read(visit(server, config(), cursor))

    assert event.starts_at < event.ends_at


def test_a_problem_whose_trigger_was_deleted_is_over(server, config):
    server.begin(1)
    cursor = visit(server, config()).cursor
    del server.events[1]

    assert told(visit(server, config(), cursor)) == [("1", True)]


def test_problems_are_not_over_because_no_host_can_be_seen_any_more(server, config):
    server.begin(1)
    cursor = visit(server, config()).cursor
    server.events.clear()
    server.hosts = 0

    with pytest.raises(Denied, match="shows no host any more, and 1 problems were open"):
        visit(server, config(), cursor)


def test_a_problem_that_is_acknowledged_or_graver_is_told_again_once(server, config):
    server.begin(1)
    cursor = visit(server, config()).cursor
    server.events[1] |= {"acknowledged": "1", "severity": "5"}

    again = visit(server, config(), cursor)

    (event,) = read(again)
    assert (event.severity, read_annotations(event.annotations)["acknowledged"]) == ("disaster", "Yes")
    assert told(visit(server, config(), again.cursor)) == []


@pytest.mark.parametrize(("wanted", "expected"), [(False, []), (True, [("1", False)])])
def test_what_is_in_a_maintenance_of_zabbix_waits_for_its_end(server, config, wanted, expected):
    server.begin(1, suppressed="1")

    first = visit(server, config(suppressed=wanted))
    server.events[1]["suppressed"] = "0"
    second = visit(server, config(suppressed=wanted), first.cursor)

    assert told(first) == expected
    assert told(second) == ([] if wanted else [("1", False)])


def test_more_than_one_page_of_new_problems_is_read_at_once(server, config):
    cursor = visit(server, config()).cursor
    for id in range(1, 1502):
        server.begin(id)

    first = visit(server, config(), cursor)
    second = visit(server, config(), first.cursor)

    assert (first.more, second.more) == (True, False)
    assert (len(told(first)), len(told(second))) == (1000, 501)


def test_of_several_hosts_that_of_the_first_function_counts(server, config):
    both = [{"hostid": "5", "host": "db1", "name": ""}, {"hostid": "6", "host": "db2", "name": ""}]
    server.begin(1, hosts=both)
    server.triggers = [
        {
            "expression": "{902}>0 and {901}>0",
            "functions": [{"functionid": "901", "itemid": "51"}, {"functionid": "902", "itemid": "61"}],
            "items": [{"itemid": "51", "hostid": "5"}, {"itemid": "61", "hostid": "6"}],
        }
    ]

    (event,) = read(visit(server, config()))

    assert read_labels(event.labels)["host"] == "db2"


# ---- history --------------------------------------------------------------------------------------------------------

USED = {"metric": "used", "key": "vfs.fs.size[*,pused]", "unit": "%", "worse": "up"}


def item(id: str, key: str, type_: str = "0") -> dict[str, Any]:
    return {"itemid": id, "key_": key, "value_type": type_, "hosts": [{"host": "db1"}]}


def value(id: str, at: int, number: str) -> dict[str, str]:
    return {"itemid": id, "clock": str(at), "ns": "500000000", "value": number}


def test_item_history_becomes_samples_and_each_value_is_read_once(server, config):
    server.items = [item("1", "vfs.fs.size[/,pused]"), item("2", "vfs.fs.size[/var,pused]", "3")]
    server.history = [value("1", NOW_S - 60, "41.5"), value("2", NOW_S - 60, "7")]

    first = visit(server, config(items=[USED]))
    server.history += [value("1", NOW_S - 10, "42")]
    second = visit(server, config(items=[USED]), first.cursor)

    root, var = read(first)
    assert isinstance(root, Samples)
    assert (root.series.ci, root.series.metric, root.series.dimension) == ("db1", "used", "/,pused")
    assert (root.times, root.values, var.values) == ([NOW_S - 59.5], [41.5], [7.0])
    assert read(second) == []  # it was younger than what has settled, and the place is beyond it


def test_what_does_not_fit_into_one_answer_is_read_by_the_next(server, config, monkeypatch):
    monkeypatch.setattr("collectors.zabbix._MAX_VALUES", 4)
    server.items = [item("1", "vfs.fs.size[/,pused]")]
    server.history = [value("1", NOW_S - 100 + at, str(at)) for at in range(10)]

    values, cursor = [], ""
    for _ in range(4):
        page = visit(server, config(items=[USED]), cursor)
        values += [value for samples in read(page) for value in samples.values]
        cursor = page.cursor

    assert values == [float(at) for at in range(10)]


# ---- the API --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["6.0.14", "6.2.9", "6.4.0", "7.2.1"])
def test_the_token_goes_where_the_version_wants_it(version, config):
    server = Server(version)
    visit(server, config())

    (asked, before), *others = server.calls
    assert asked["method"] == "apiinfo.version"
    assert "auth" not in asked
    assert "Authorization" not in before
    for body, headers in others:
        in_header = version >= "6.4"
        assert headers.get("Authorization") == ("Bearer secret" if in_header else None)
        assert body.get("auth") == (None if in_header else "secret")


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ("Session terminated, re-login, please.", Denied),
        ("Not authorized.", Denied),
        ("Not authorised.", Denied),
        ("API token expired.", Denied),
        ('Incorrect value for field "output"', Rejected),
    ],
)
def test_what_the_api_refuses_is_told_by_what_it_says(server, config, said: str, error: type[ForeshockError]):
    server.event_get = lambda asked: {"error": {"code": -32602, "message": "Invalid params.", "data": said}}

    with pytest.raises(error, match="refused event"):
        visit(server, config())


def test_a_page_instead_of_the_api_is_no_answer(server, config):
    server.event_get = lambda asked: "<html>"

    with pytest.raises(Unavailable, match="no list of objects"):
        visit(server, config())


def test_without_an_address_problems_are_only_posted():
    assert COLLECTOR.poll is not None
    assert COLLECTOR.poll.build("z", strictly({}, ZabbixConfig)) is None


@pytest.mark.parametrize(
    "given",
    [
        {"url": "https://zabbix.example"},
        {"token_file": "/token"},
        {"url": "zabbix", "token_file": "/token"},
        {"items": [USED]},
        {"url": "https://zabbix.example", "token_file": "/token", "items": [USED, USED]},
    ],
)
def test_settings_that_do_not_fit_together_are_refused(given: dict[str, Any]):
    with pytest.raises((ConfigError, ValueError)):
        strictly(given, ZabbixConfig)
