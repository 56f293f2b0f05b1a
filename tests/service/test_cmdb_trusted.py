"""How far the topology can be trusted, for who only looks."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from foreshock.core.errors import Missing
from foreshock.service.cmdb.run import Sync
from foreshock.service.cmdb.status import status
from foreshock.service.cmdb.trusted import Trusted
from foreshock.service.settings import load_settings
from foreshock.store.cmdb import CmdbStore
from foreshock.testing.quiet import StoryRunner
from foreshock.testing.records import Story

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
FILE = "version: 1\ncis: [{id: web1, kind: server}, {id: db1, kind: database}]\nrelationships: []\n"


class Looking:
    """A Foreshock with one file of CIs, read once."""

    def __init__(self, folder: Path) -> None:
        self.file, self.now = folder / "topology.yaml", NOON
        self.file.write_text(FILE)
        self.settings = load_settings(None, {}, {"state": str(folder), "topology": str(self.file)})
        self.store = CmdbStore(f"sqlite:///{folder / 'cmdb.db'}")
        self.story = Story("shop depends_on db1")
        runner: Any = StoryRunner(self.story)
        self.trusted = Trusted(
            lambda: self.settings, None, runner, lambda: self.store,
            lambda: status(self.store, self.settings.topology, self.now), lambda: self.now,
        )  # fmt: skip
        self.sync()

    def sync(self) -> None:
        Sync(self.store, self.settings, clock=lambda: self.now).run("file")


@pytest.fixture
def looking(tmp_path: Path) -> Looking:
    return Looking(tmp_path)


def test_before_anybody_looked_it_is_said_so(looking: Looking):
    with pytest.raises(Missing, match="nobody has looked"):
        looking.trusted.health()


def test_without_a_source_there_is_nothing_to_show(tmp_path: Path, looking: Looking):
    looking.settings = load_settings(None, {}, {"state": str(tmp_path / "other")})

    looking.trusted.look()

    assert looking.trusted.shown().status is None


def test_a_new_version_is_looked_through_and_the_same_one_again_after_a_day(looking: Looking):
    looking.trusted.look()
    assert [one.doubt for one in looking.trusted.health().found] == ["orphans", "orphans"]

    looking.now += timedelta(hours=1)
    looking.trusted.look()
    assert looking.trusted.health().at == NOON

    looking.file.write_text(FILE.replace("web1", "web2"))
    looking.sync()
    looking.trusted.look()
    assert looking.trusted.health().at == NOON + timedelta(hours=1)

    looking.now += timedelta(hours=25)
    looking.trusted.look()
    assert looking.trusted.health().at == looking.now


def test_alerts_that_fire_now_and_are_bound_to_no_ci_are_told_first(looking: Looking):
    looking.trusted.look()
    looking.story.fire("stranger").fire("db1")

    found = looking.trusted.health().found

    assert found[0].doubt == "unbound alerts"
    assert "stranger" in found[0].seen
    assert len([one for one in found if one.doubt == "unbound alerts"]) == 1
