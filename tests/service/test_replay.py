"""Recorded input through the engine on virtual time."""

import json
from pathlib import Path

import pytest

from foreshock.service.front import collector_kinds
from foreshock.service.replay import read_input, replay
from foreshock.service.settings import rule_kinds

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
