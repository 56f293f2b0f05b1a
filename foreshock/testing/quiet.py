"""Silences and windows over a story: what is asked there is what happens next in it."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from foreshock.core.contracts import NewRecord
from foreshock.service.engine import Engine
from foreshock.service.maintenance import Plan
from foreshock.service.quiet import LiveQuiet
from foreshock.testing.factories import HOSTILE_SCRIPT, HOSTILE_TEMPLATE, NOW, RIGHT_TO_LEFT
from foreshock.testing.records import Story


class StoryRunner:
    """Stands for the runner and the inbox."""

    def __init__(self, story: Story) -> None:
        self.story, self.lag = story, 0

    @property
    def last(self) -> int:
        return len(self.story.records)

    def caught_up(self, number: int) -> bool:
        return number <= self.last

    @contextmanager
    def looking(self) -> Iterator[Engine]:
        yield self.story.engine

    def append_now(self, record: NewRecord) -> int:
        self.story._add(record.kind, record.body, actor=record.actor, source=record.source)
        return self.last

    def clock(self) -> datetime:
        return self.story.now


def quiet_of(story: Story) -> LiveQuiet:
    runner: Any = StoryRunner(story)
    return LiveQuiet(runner, runner, runner.clock)


def example_quiet() -> LiveQuiet:
    """A shop with two silences, one of them over, and three windows, one of them of a stranger with bad manners."""
    story = Story("shop depends_on api", "api runs_on db1", criticality={"shop": 1}, start=NOW - timedelta(hours=2))
    quiet = quiet_of(story)
    over = quiet.set_silence(['job="nightly"'], length=timedelta(hours=1), comment="a test", actor="ada")
    quiet.expire_silence(over.id, actor="ada")
    story.at(60).tick()
    quiet.set_silence(
        ['alertname="HighCpu"', 'host=~"web.*"'], length=timedelta(hours=4), comment="load test, CHG0012", actor="mira"
    )
    common = {"comment": "CHG0034, see the calendar", "starts": "2026-11-22 13:00", "length": "3h"}
    patching = {**common, "title": "Patching of db1", "owner": "dba", "cis": ["db1"]}
    quiet.plan(Plan.model_validate(patching), actor="mira", id="patching")
    weekly = {**common, "title": "Backup window", "rrule": "FREQ=WEEKLY;BYDAY=SU", "time_zone": "Europe/Berlin"}
    quiet.plan(Plan.model_validate({**weekly, "starts": "2026-11-22 01:00", "services": ["shop"]}), actor="ada")
    hostile = {**common, "title": HOSTILE_SCRIPT, "owner": HOSTILE_TEMPLATE, "comment": RIGHT_TO_LEFT}
    quiet.plan(Plan.model_validate({**hostile, "starts": "2026-12-24 01:00", "cis": [HOSTILE_SCRIPT]}), actor="ada")
    story.at(3900).fire("db1", "api", "shop", holds_s=90_000)
    story.fire("web7", name="HighCpu", severity="warning", holds_s=90_000).at(7200).tick()
    return quiet
