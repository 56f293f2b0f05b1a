"""A source that should be heard and is not opens one incident about itself, which ends when it is heard again."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from foreshock.service.front import Front
from foreshock.service.settings import CollectorInstance, Settings
from foreshock.service.source_health import Promise, promises, silent
from foreshock.service.views import ListeningView, SourceView
from foreshock.service.wiring import Foreshock
from foreshock.service.worries import Labels

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
EVERY_MINUTE = Promise(name="eu", within=MINUTE)
PROMETHEUS = {
    "name": "lab", "kind": "prometheus", "url": "http://127.0.0.1:9", "queries": [{"metric": "up", "query": "up"}],
}  # fmt: skip


def view(last_seen: datetime | None = None, listening: ListeningView | None = None, error: str = "") -> SourceView:
    return SourceView(
        name="eu", collector="alertmanager", title="", path="", last_seen=last_seen, batches=0, events=0, rejected=0,
        last_error=error, listening=listening,
    )  # fmt: skip


def listening(problem: str = "", *, running: bool = True) -> ListeningView:
    return ListeningView(
        name="eu", collector="syslog", title="", address="", running=running, restarts=0, last_heard=None, counts={},
        points=0, problem=problem,
    )  # fmt: skip


def told(
    source: SourceView | None,
    now: datetime,
    *,
    promise: Promise = EVERY_MINUTE,
    firing: Collection[Labels] = (),
    trouble_since: datetime | None = None,
) -> dict[Labels, str]:
    seen = {} if source is None else {"eu": source}
    troubled = {} if trouble_since is None else {"eu": trouble_since}
    return dict(silent([promise], seen, troubled, firing, since=START, now=now))


def test_a_source_is_missed_once_nothing_has_come_for_longer_than_it_promised():
    heard = START + 10 * MINUTE

    assert told(view(heard), heard + MINUTE) == {}
    [(labels, summary)] = told(view(heard, error="401: a token is needed"), heard + 2 * MINUTE).items()

    assert dict(labels) == {
        "alertname": "ForeshockSourceSilent", "ci": "foreshock", "source": "eu", "severity": "warning",
    }  # fmt: skip
    assert summary == (
        "source 'eu' has sent nothing since 2026-03-01 12:10:00 UTC; it should be heard every 1m: "
        "401: a token is needed"
    )


def test_after_a_start_each_source_has_its_whole_time_whatever_it_did_before():
    long_ago = START - timedelta(days=2)

    assert told(view(long_ago), START + MINUTE) == {}
    assert told(None, START + MINUTE) == {}
    assert len(told(view(long_ago), START + 2 * MINUTE)) == len(told(None, START + 2 * MINUTE)) == 1


def test_a_restart_does_not_end_what_was_told_before_the_source_is_heard():
    long_ago = START - timedelta(days=2)
    firing = told(view(long_ago), START + 2 * MINUTE)

    assert told(view(long_ago), START + timedelta(seconds=1), firing=list(firing)) == firing
    assert len(told(None, START + timedelta(seconds=1), firing=list(firing))) == 1
    assert told(view(START + timedelta(seconds=1)), START + timedelta(seconds=2), firing=list(firing)) == {}


def test_a_source_that_promised_nothing_may_be_silent():
    assert told(view(), START + timedelta(days=30), promise=Promise(name="eu", within=None)) == {}


def test_a_listener_in_trouble_is_told_of_only_when_it_lasts():
    promise = Promise(name="eu", within=None)
    dead = view(listening=listening("the broker does not answer"))

    assert told(dead, START + 2 * MINUTE, promise=promise, trouble_since=START) == {}
    [(labels, summary)] = told(dead, START + 5 * MINUTE, promise=promise, trouble_since=START).items()

    assert "the broker does not answer" in summary
    again = told(dead, START + 6 * MINUTE, promise=promise, trouble_since=START + 6 * MINUTE, firing=[labels])
    assert again == {labels: summary}, "after a restart"
    assert told(view(listening=listening()), START + 6 * MINUTE, promise=promise, firing=[labels]) == {}


@pytest.mark.parametrize(
    ("settings", "within"),
    [
        pytest.param({"name": "a", "kind": "alertmanager"}, None, id="posts, and promises nothing"),
        pytest.param({"name": "a", "kind": "alertmanager", "expect_every": "2m"}, 2 * MINUTE, id="posts, and promises"),
        pytest.param(PROMETHEUS, 5 * MINUTE, id="is asked each minute"),
        pytest.param({**PROMETHEUS, "every": "1h"}, 180 * MINUTE, id="is asked each hour"),
        pytest.param({**PROMETHEUS, "expect_every": "20s"}, timedelta(seconds=20), id="is asked, and promises"),
    ],
)
def test_what_a_source_promises(settings: dict[str, object], within: timedelta | None):
    (promise,) = promises([CollectorInstance.model_validate(settings)], {"lab"})

    assert promise.within == within


# ---- in a running Foreshock -----------------------------------------------------------------------------------------


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


@contextmanager
def running(state: Path, clock: Clock) -> Iterator[tuple[Foreshock, TestClient]]:
    settings = Settings.model_validate(
        {"state": state, "disk_guard": {"min_free": "1MiB"}, "correlation": {"ticket": {"delay": "0s"}},
         "collectors": [{"name": "eu", "kind": "alertmanager", "expect_every": "1m"}]}
    )  # fmt: skip
    front = Front(settings, clock=clock)
    front.start()
    foreshock = Foreshock(front)
    foreshock.start()
    try:
        yield foreshock, TestClient(front.app, base_url="http://127.0.0.1")
    finally:
        foreshock.stop()


def open_about_ourselves(client: TestClient) -> list[str]:
    rows = client.get("/api/v1/incidents").json()
    return [row["title"] for row in rows if row["state"] == "open" and "ForeshockSourceSilent" in row["title"]]


def test_a_source_that_the_settings_name_is_listed_although_nobody_has_heard_of_it(tmp_path: Path):
    with running(tmp_path, Clock()) as (_, client):
        listed = {row["name"]: row for row in client.get("/api/v1/sources").json()}
        page = client.get("/sources").text

    assert [name for name, row in listed.items() if row["configured"]] == ["eu"]
    assert (listed["eu"]["collector"], listed["eu"]["path"]) == ("alertmanager", "/s/eu/api/v2/alerts")
    assert listed["eu"]["last_seen"] is None
    assert "<td>eu" in page or ">eu<" in page


def test_the_incident_about_a_silent_source_opens_once_outlives_a_restart_and_ends_when_it_is_heard(tmp_path: Path):
    clock = Clock()
    with running(tmp_path, clock) as (foreshock, client):
        clock.now += 2 * MINUTE
        for _ in range(3):
            foreshock.source_health.look()
        assert len(open_about_ourselves(client)) == 1
    with running(tmp_path, clock) as (foreshock, client):
        foreshock.source_health.look()
        assert len(open_about_ourselves(client)) == 1

        alert = {"labels": {"alertname": "Watchdog", "host": "a"}, "endsAt": "2099-01-01T00:00:00Z"}
        assert client.post("/s/eu/api/v2/alerts", json=[alert]).status_code == 200
        clock.now += timedelta(seconds=30)
        client.get("/api/v1/status")
        foreshock.source_health.look()
        clock.now += 30 * MINUTE
        assert client.post("/s/eu/api/v2/alerts", json=[alert]).status_code == 200
        foreshock.source_health.look()

        assert open_about_ourselves(client) == []
