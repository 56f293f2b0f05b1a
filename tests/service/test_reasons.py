"""Why alerts are where they are, asked of a running engine and of a replayed one."""

from collections.abc import Callable
from typing import Any

import pytest

from foreshock.core.errors import ForeshockError, Missing, Rejected
from foreshock.core.model import Alert, Ended, Judgement, JudgementKind
from foreshock.service.reasons import why, why_not
from foreshock.service.recorded import Input
from foreshock.service.replay import Version
from foreshock.service.replayed import Replayed, replayed
from foreshock.testing.records import COLLECTORS, RULES, Story

SHOP = ("shop depends_on api", "api runs_on db1", "mail runs_on nas")


class Nothing:
    """The past of a story that the engine still remembers whole."""

    def ended(self, situation: str) -> Ended | None: ...

    def holding(self, matches: Callable[[Alert], bool]) -> Ended | None: ...

    def numbered(self, ticket: str) -> str | None: ...

    def trail(self, situation: str) -> tuple[()]:
        return ()

    def judgements(self, situation: str) -> tuple[Judgement, ...]:
        return ()


def outage() -> Story:
    """A database takes the shop along; mail fails for itself, long after."""
    return Story(*SHOP).fire("db1").at(20).fire("api").at(400).fire("mail").fire("mail", name="Slow")


def asked(story: Story, *names: str, until_s: float | None = None, version: Version = Version()) -> Replayed:  # noqa: B008
    inputs = [Input(record=record) for record in story.records]
    until = None if until_s is None else story.time(until_s)
    return replayed(inputs, COLLECTORS, RULES, version, asked=names, until=until)


def named(story: Story, name: str) -> list[str]:
    view = why(story.engine, Nothing(), name, story.engine.now)
    return [alert.name + " on " + alert.ci for alert in view.alerts]


def test_a_replayed_engine_answers_as_the_one_that_ran():
    story = outage()
    for name, other in (("S-1", "S-2"), ("Down on api", "S-2"), ("Slow on mail", "S-1")):
        again = asked(story, name, other)

        assert why_not(again.engine, again, name, other) == why_not(story.engine, Nothing(), name, other)
        there, here = why(again.engine, again, name, again.engine.now), why(story.engine, Nothing(), name, story.now)
        assert there.alerts == here.alerts
        assert (there.situation, there.causes, there.next_step) == (here.situation, here.causes, here.next_step)


def test_an_alert_is_known_by_its_fingerprint_the_beginning_of_it_and_by_its_name_on_its_ci():
    story = outage()
    fingerprint = story.alert("api").fingerprint

    assert named(story, fingerprint) == named(story, fingerprint[:6]) == named(story, "Down on api") == ["Down on api"]
    assert named(story, "S-1") == ["Down on db1", "Down on api"]


def test_a_ci_goes_by_any_of_its_names():
    story = Story("shop depends_on api", settings={})
    story.fire("api.example.org")

    assert named(story, "Down on api") == ["Down on api"] == named(story, "Down on api.example.org")


@pytest.mark.parametrize(
    ("name", "there_is"),
    [
        ("Slow on db1", "on db1 there is Down"),
        ("Down on nas", "Down is on db1, api, mail"),
        ("S-9", "open are S-1 (Down on db1), S-2 (Down on mail)"),
    ],
)
def test_what_does_not_exist_is_refused_with_what_there_is(name: str, there_is: str):
    with pytest.raises(Missing, match=f"there is no incident and no alert {name!r}") as error:
        named(outage(), name)

    assert error.value.hint == there_is


def test_a_name_that_several_alerts_have_is_refused_with_their_fingerprints():
    story = Story().fire("db1", labels={"disk": "a"}).fire("db1", labels={"disk": "b"})

    with pytest.raises(Rejected, match="2 alerts go by 'Down on db1'") as error:
        named(story, "Down on db1")

    assert all(fingerprint[:12] in str(error.value) for fingerprint in story.engine.alerts)


def test_why_not_takes_an_alert_for_the_incident_it_is_in():
    story = outage()

    (by_alert,) = why_not(story.engine, Nothing(), "Slow on mail", "Down on db1")
    (by_id,) = why_not(story.engine, Nothing(), "Slow on mail", "S-1")

    assert by_alert == by_id
    assert by_alert.sentence.startswith("Slow on mail is not in S-1: ")


def test_the_state_at_a_moment_is_asked_for_as_it_was_then():
    story = outage().at(500).resolve("db1")
    then, after = asked(story, "S-1", until_s=10), asked(story, "S-1", until_s=450)

    def seen(state: Replayed) -> list[tuple[str, str]]:
        return [(one.name, one.state) for one in why(state.engine, state, "S-1", state.engine.now).alerts]

    assert seen(then) == [("Down", "firing")]
    assert seen(after) == [("Down", "firing"), ("Down", "firing")]
    assert seen(asked(story, "S-1"))[0] == ("Down", "resolved")
    assert then.engine.now == story.time(10)


def test_what_is_over_and_gone_is_still_explained_from_history():
    story = Story(*SHOP, settings={"group": {"quiet": "1m", "reopen": "1m"}})
    story.fire("db1").at(20).fire("api").at(200).resolve("db1", "api").at(90_000).fire("mail")
    assert "S-1" not in story.engine.situations

    by_id, by_name = asked(story, "S-1"), asked(story, "Down on api")

    assert [one.ci for one in why(by_id.engine, by_id, "S-1", story.now).alerts] == ["db1", "api"]
    told = why(by_name.engine, by_name, "Down on api", story.now)
    assert (told.situation, [one.ci for one in told.alerts]) == ("S-1", ["api"])
    assert [(each.sink, each.step) for each in told.decisions] == [("desk", "resolve")]
    with pytest.raises(Missing):
        why(by_id.engine, by_id, "Down on db7", story.now)


def test_what_fires_still_is_held_against_what_is_over_and_gone():
    story = Story(settings={"group": {"quiet": "1m", "reopen": "1m"}})
    story.fire("db1").fire("mail", holds_s=200_000).at(200).resolve("db1").at(90_000).fire("api")
    assert "S-1" not in story.engine.situations
    state = asked(story, "S-1")

    for name in ("Down on mail", "Down on api"):
        (apart,) = why_not(state.engine, state, name, "S-1")
        assert (apart.situation, apart.together) == ("S-1", False)
    assert why_not(state.engine, state, "S-1", "Down on mail")[0].home == "S-1"


def test_what_people_said_is_part_of_the_answer():
    story = (
        outage()
        .judge(JudgementKind.NOT_RELATED, cis=("mail", "db1"))
        .judge(JudgementKind.CAUSE, situation="S-1", cis=("api",))
    )
    state = asked(story, "S-1")

    assert [each.kind for each in why(state.engine, state, "S-1", story.now).judgements] == [JudgementKind.CAUSE]


def test_other_settings_lead_to_another_answer():
    story = outage()
    strict: Any = story.in_force[-1].model_validate({"group": {"threshold": 0.95}})
    state = asked(story, "Down on api", "Down on db1", version=Version(settings=strict))

    (apart,) = why_not(state.engine, state, "Down on api", "Down on db1")

    assert apart.home == "S-2"
    assert "the link is weaker than 0.95" in apart.sentence


def test_a_moment_before_the_history_is_refused_with_its_beginning():
    with pytest.raises(ForeshockError, match="the history begins at 2026-"):
        asked(outage(), "S-1", until_s=-60)
