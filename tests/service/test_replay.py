"""Recorded input through the engine on virtual time."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from correlation.settings import CorrelationSettings
from foreshock.core.model import Member, Moved, Situation, SituationState
from foreshock.service.recorded import Input, ReplayMapping, read_input
from foreshock.service.replay import Version, Ways, replay
from foreshock.service.settings import collector_kinds, rule_kinds
from foreshock.testing.records import NOON, Story

ALERT = {"labels": {"alertname": "HostDown", "ci": "web1"}, "startsAt": "2026-01-01T00:00:00Z"}
OTHER = {"labels": {"alertname": "DiskFull", "ci": "web1"}, "startsAt": "2026-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    "lines",
    [
        [ALERT, OTHER],
        [[ALERT, OTHER]],
        [{"at": "2026-01-01T00:00:05Z", "alert": ALERT}, {"at": "2026-01-01T00:00:06Z", "alert": OTHER}],
        [{"at": "2026-01-01T00:00:05Z", "alerts": [ALERT, OTHER]}],
    ],
    ids=["an alert a line", "an array a line", "an alert with its time of arrival", "an array with its time"],
)
def test_each_form_of_a_stream_is_read(tmp_path: Path, lines: list[object]) -> None:
    stream = tmp_path / "stream.jsonl"
    stream.write_text("".join(json.dumps(line) + "\n" for line in lines))
    collectors = collector_kinds()
    result = replay(read_input(stream, None, collectors), collectors, rule_kinds())
    assert (result.events, result.malformed) == (2, 0)
    assert result.groups == [("0", "S-1"), ("1", "S-1")]


def test_items_that_the_identity_rules_hold_to_be_one_alert_are_in_one_group(tmp_path: Path) -> None:
    stream = tmp_path / "stream.jsonl"
    labels = ({"alertname": "Crash", "pod": pod} for pod in ("web-1", "web-2"))
    stream.write_text("".join(json.dumps({**ALERT, "labels": each}) + "\n" for each in labels))
    collectors = collector_kinds()
    settings = CorrelationSettings.model_validate({"fold": {"identity": [{"without": ["pod"]}]}})

    result = replay(read_input(stream, None, collectors), collectors, rule_kinds(), Version(settings=settings))

    assert result.groups == [("0", "S-1"), ("1", "S-1")]


def test_a_source_of_a_history_that_writes_local_time_is_put_right_and_told(tmp_path: Path) -> None:
    """The last of its rows would come hours after what it belongs to."""
    history, collectors, told = tmp_path / "alerts.csv", collector_kinds(), []
    day = datetime(2026, 1, 1, tzinfo=UTC)
    seen = [(f"web{n}", day + timedelta(minutes=50 * n + 7 * (n % 5))) for n in range(24)]
    rows = [(at, "metrics", ci, name) for ci, at in seen for name in ("Slow", "Errors")]
    rows += [(at + timedelta(hours=8, seconds=9), "logs", ci, "Traceback") for ci, at in seen]
    history.write_text("time,source,node,name\n" + "".join(f"{at:%FT%TZ},{','.join(more)}\n" for at, *more in rows))

    def groups(alerts: dict[str, str]) -> int:
        mapping = ReplayMapping.model_validate({"alerts": {"time": "time", **alerts}})
        result = replay(read_input(history, mapping, collectors, told.append), collectors, rule_kinds())
        return len({group for _, group in result.groups})

    assert (groups({"source": "source"}), groups({})) == (24, 48)
    assert ["source 'logs' are 8 h ahead of the others" in each for each in told] == [True]


def test_what_a_merge_brings_and_the_same_step_splits_off_is_in_the_group_where_it_ends_up() -> None:
    """Settings under which two applications with one relationship between them are one and two at once."""

    def application(name: str) -> list[str]:
        ring = [f"{name}{each} depends_on {name}{(each + 1) % 8}" for each in range(8)]
        return ring + [f"{name}{each} depends_on {name}-db" for each in range(8)]

    settings = CorrelationSettings.model_validate({"group": {"merge": 0.01, "part": 0.2}})
    story = Story(*application("shop"), *application("mail"), "mail0 depends_on shop0")
    shop = ["shop-db", *(f"shop{each}" for each in range(1, 5))]
    mail = ["mail-db", *(f"mail{each}" for each in range(1, 5))]
    both = ["mail0", "mail7", "shop0"]
    story.fire(*shop).at(1).fire(*mail).at(2).fire(*both)
    inputs = [Input(record=each, ids=ids) for each, ids in zip(story.records, ([], [], shop, mail, both), strict=True)]

    result = replay(inputs, collector_kinds(), rule_kinds(), Version(settings=settings))

    groups = dict(result.groups)
    assert {groups[each] for each in (*mail, "mail0", "mail7")} == {"S-3"}
    assert {groups[each] for each in (*shop, "shop0")} == {"S-1"}


def test_what_goes_away_and_comes_back_within_one_step_is_where_it_was() -> None:
    """A wave is split off and turns out to be the same problem at the same moment."""
    moved = Member(joined_at=NOON, moved=Moved(at=NOON, source="S-1"))
    wave = Situation(id="S-2", opened_at=NOON, onset=NOON, updated_at=NOON, last_joined_at=NOON, members={"a": moved})
    wave.state, wave.merged_into = SituationState.MERGED, "S-1"
    ways = Ways()
    ways.hear({"split": 1, "moved": 0}, [wave], step=7)

    assert ways.follow("a", "S-1", 5, NOON) == "S-1"
    assert ways.follow("a", "S-2", 5, NOON) == "S-1"
