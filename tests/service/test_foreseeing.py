"""Models beside the running engine: taught, tried on what comes, used, asked, and taken back."""

import random
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from foreshock.core import model
from foreshock.core.errors import Rejected, Unavailable
from foreshock.service import foreseeing_work
from foreshock.service.foreseeing import Foreseer, Teacher, card
from foreshock.service.foreseeing_work import Lesson, Taught
from foreshock.testing.quiet import StoryRunner
from foreshock.testing.records import Story
from predictor.settings import ForeseeSettings

DAY_S = 86_400.0
DAYS = 30
SETTINGS = ForeseeSettings(horizons=(timedelta(days=1),), since=timedelta(days=400), budget=5, keep=3)


def outages(days: int, *, seed: int = 0, story: Story | None = None, hosts: int = 12) -> Story:
    """Disks report errors in the hours before a database goes down; web servers are slow now and then."""
    chance = random.Random(seed)
    story = story or Story(*(f"web{host} depends_on db{host}" for host in range(hosts)))
    begin = (story.now - Story().now).total_seconds()
    plan: list[tuple[float, str, str, str, str]] = []

    def alert(at: float, ci: str, name: str, severity: str, lasts: float) -> None:
        plan.extend([(at, "fire", ci, name, severity), (at + lasts, "resolve", ci, name, severity)])

    for host in range(hosts):
        for day in range(days):
            at = begin + (day + chance.random()) * DAY_S
            if chance.random() < 0.4:
                alert(at, f"web{host}", "Slow", "info", 600)
            if chance.random() < 0.2:
                for _ in range(3):
                    alert(at - chance.uniform(0.02, 0.4) * DAY_S, f"db{host}", "DiskErrors", "info", 300)
                alert(at, f"db{host}", "Down", "critical", 1800)
    for at, what, ci, name, severity in sorted(each for each in plan if each[0] > begin):
        story.at(at)
        if what == "fire":
            story.fire(ci, name=name, severity=severity)
        else:
            story.resolve(ci, name=name)
    return story.at(begin + (days + 1) * DAY_S).tick()


class Ended:
    """Stands for the store."""

    def __init__(self, story: Story) -> None:
        self._story = story

    def ended(self, since: object) -> Iterator[bytes]:
        return iter(self._story.told.ended.values())


class Here(Teacher):
    """Teaches in this process, and remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.lessons: list[Lesson] = []

    def teach(self, lesson: Lesson, situations: Iterator[bytes]) -> Taught:
        self.lessons.append(lesson)
        return foreseeing_work.teach(lesson, (msgspec.json.decode(body, type=model.Ended) for body in situations))


def foreseer(story: Story, folder: Path, teacher: Teacher | None = None, **settings: Any) -> Foreseer:
    runner: Any = StoryRunner(story)
    store: Any = Ended(story)
    return Foreseer(
        runner=runner, inbox=runner, store=store, folder=folder, settings=SETTINGS.model_copy(update=settings),
        clock=runner.clock, teacher=teacher or Here(),
    )  # fmt: skip


def said(story: Story) -> list[tuple[str, str]]:
    return [(row.action, row.actor) for row in story.told.audit if row.kind == "model"]


@pytest.fixture(scope="module")
def school(tmp_path_factory: pytest.TempPathFactory) -> tuple[Story, Path]:
    story, folder = outages(DAYS), tmp_path_factory.mktemp("school")
    foreseer(story, folder).train(actor="ann")
    return story, folder


@pytest.fixture
def taught(school: tuple[Story, Path], tmp_path: Path) -> tuple[Story, Path]:
    """A month of outages, and the state folder with the model that was taught by it."""
    folder = tmp_path / "state"
    shutil.copytree(school[1], folder)
    return outages(DAYS), folder


def test_the_first_model_is_used_and_its_card_tells_what_it_learned_from(school: tuple[Story, Path]):
    status = foreseer(*school).status()
    (row,) = status.models

    assert status.state == f"{row.version} is in use"
    assert row.role == "in use"
    lines = "\n".join(card(row))
    assert "## Within 1d" in lines
    assert "incidents on 24 CIs" in lines
    judged = row.about.judged["1d"]["model"]
    assert judged["average_precision"] > 3 * judged["average_precision_by_chance"]
    assert said(school[0]) == [("taught", "ann"), ("in use", "ann")]


def test_too_few_incidents_are_counted_and_no_model_is_made(tmp_path: Path):
    status = foreseer(outages(2), tmp_path).train(actor="ann")

    assert status.models == ()
    assert status.state.startswith("not enough incidents yet: ")
    assert "of 20 on" in status.state


def test_nothing_happened_and_nothing_is_foreseen(tmp_path: Path):
    story = Story("web depends_on db")
    one = foreseer(story, tmp_path)
    one.look()

    assert one.train(actor="ann").state.startswith("not enough incidents yet: 0 of 20")
    assert one.labels(None).incidents == 0


def test_what_is_likely_becomes_a_forecast_that_opens_a_problem_and_says_why(taught: tuple[Story, Path]):
    story, folder = taught
    one = foreseer(story, folder)
    try:
        one.look()
        for _ in range(3):
            story.after(600).fire("db3", name="DiskErrors", severity="info")
            story.after(300).resolve("db3", name="DiskErrors")
        story.after(2 * 3600).tick()
        one.look()
    finally:
        one.stop()

    forecasts = [found.forecast for found in story.engine.forecasts.expected.values()]
    forecast = max(forecasts, key=lambda each: each.probability)
    assert (forecast.ci, forecast.alarm, forecast.horizon_h) == ("db3", True, 24)
    assert forecast.model.startswith("incidents@")
    assert any("DiskErrors" in part.evidence for part in forecast.contributions)
    assert 0 < forecast.earliest_h < forecast.lead_time_h < forecast.latest_h <= 24


def test_a_new_version_is_tried_beside_the_one_in_use_and_judged_by_what_came_after_both(taught: tuple[Story, Path]):
    story, folder = taught
    here = Here()
    one = foreseer(story, folder, here)
    first = one.status().used.version
    outages(10, seed=1, story=story)
    tried = one.train(actor="foreshock").used

    assert (tried.version, bool(tried.challenger)) == (first, True)
    outages(20, seed=2, story=story)
    judged = one.train(actor="foreshock").used

    assert (here.lessons[-1].fit, here.lessons[-1].later) == (False, here.lessons[-2].now)
    assert judged.challenger == "", "twenty days tell"
    assert judged.version == tried.challenger or "not shown to be better" in judged.verdicts["1d"]


def test_a_version_that_a_person_chose_stays_until_the_latest_is_asked_for(taught: tuple[Story, Path]):
    story, folder = taught
    here = Here()
    one = foreseer(story, folder, here)
    first = one.status().used.version
    assert one.use("nothing", actor="bob").state == "nothing is foreseen: somebody switched it off"
    assert one.use("previous", actor="bob").state == f"{first} is in use, pinned"
    one.train(actor="foreshock")

    assert not here.lessons[-1].fit, "what is pinned is judged, and nothing is taught beside it"
    used = one.use("latest", actor="bob").used
    assert (used.version, used.pinned) == (first, False)
    assert said(story)[-1] == ("in use", "bob")
    with pytest.raises(Rejected, match="no version 'x'"):
        one.use("x", actor="bob")


def test_a_model_that_does_not_fit_any_more_falls_back_to_its_simple_one_and_says_so(taught: tuple[Story, Path]):
    story, folder = taught
    for day in range(40):  # all disks report errors all the time, and nothing comes of it
        story.after(DAY_S / 2).fire(*(f"db{host}" for host in range(12)), name="DiskErrors", severity="info")
        story.after(DAY_S / 2).resolve(*(f"db{host}" for host in range(12)), name="DiskErrors")
        story.fire(f"web{day % 12}", name="Slow", severity="info").resolve(f"web{day % 12}", name="Slow")
    status = foreseer(story, folder, min_incidents=100_000).train(actor="foreshock")

    assert "is in use with its simple model: " in status.state
    assert ("falls back to its simple model", "foreshock") in said(story)


def test_a_file_of_the_model_that_was_changed_is_not_used(taught: tuple[Story, Path]):
    story, folder = taught
    one = foreseer(story, folder)
    version = one.status().used.version
    (folder / "models" / version / "1d.model.npz").write_bytes(b"foreign")
    one.look()

    assert not story.engine.forecasts.heard
    with pytest.raises(Rejected, match=r"1d\.model\.npz"):
        one.use(version, actor="ann")


def test_a_child_that_fails_says_why(tmp_path: Path):
    lesson = Lesson(now=0, since=0, min_priority=3, least=20, horizons=(), cis={})

    with pytest.raises(Unavailable, match=r"ended with code 1: [\s\S]*DecodeError"):
        Teacher().teach(lesson, iter([b"nonsense"]))


def test_one_that_was_stopped_teaches_nothing(tmp_path: Path):
    one = foreseer(outages(2), tmp_path, teacher=Teacher())
    one.stop()

    with pytest.raises(Unavailable, match="stops"):
        one.train(actor="ann")
