"""A new wave of alerts in a place that had calmed down: a situation of its own, whatever happens around it."""

from collections.abc import Callable

import pytest

from foreshock.core.model import JudgementKind, SituationState
from foreshock.testing.records import (
    UNTIL_FORGOTTEN_S,
    Story,
    check_bounds,
    check_forgotten,
    check_same,
    check_structure,
    check_tickets,
)

SHOP = ("shop depends_on api", "api runs_on db1")


def first_wave() -> Story:
    return Story(*SHOP).burst("db1", "First").after(5).burst("db1", "Between", 6, every_s=25).after(30)


def two_waves() -> Story:
    return first_wave().burst("db1", "Second").after(10)


def back_again(story: Story) -> Story:
    return story.resolve("db1", name="First0").after(20).fire("db1", name="First0").after(1)


def home(story: Story, name: str) -> str:
    return story.alert("db1", name).situation


def is_sound(story: Story) -> None:
    check_structure(story.engine)
    check_bounds(story.engine, story.in_force)
    check_tickets(story.told.orders, story.touched)
    for number in range(0, len(story.records), 3):
        check_same(story.records, restarts=[number])
    check_same(story.records, restarts=range(len(story.records)))


def test_the_second_wave_has_a_situation_of_its_own_and_each_names_the_other():
    story = two_waves()

    first, second = story.situation(home(story, "First0")), story.situation(home(story, "Second0"))
    assert (first.superseded_by, second.split_from) == (second.id, first.id)
    assert {home(story, f"Second{number}") for number in range(24)} == {second.id}
    is_sound(story)


def test_what_fires_again_after_a_new_wave_goes_there():
    story = back_again(two_waves())

    assert home(story, "First0") == home(story, "Second0")
    assert home(story, "First1") == "S-1"
    is_sound(story)


def test_what_fires_again_after_its_situation_has_ended_does_not_reopen_what_a_wave_has_followed():
    story = two_waves()
    for name, number in (("First", 24), ("Between", 6)):
        for each in range(number):
            story.resolve("db1", name=f"{name}{each}")
    story.after(200).tick()
    assert story.situation("S-1").state is SituationState.RESOLVED

    story.fire("db1", name="First3").after(5)

    assert story.situation("S-1").state is SituationState.RESOLVED
    assert story.alert("db1", "First3").active
    assert home(story, "First3") != "S-1"
    is_sound(story)


def test_waves_that_a_person_merges_are_one_situation_that_nothing_has_followed():
    story = two_waves().judge(JudgementKind.MERGE, situation="S-1", other="S-2").after(5)

    assert story.situation("S-1").superseded_by == ""
    back_again(story)
    assert home(story, "First0") == "S-1"
    is_sound(story)


@pytest.mark.parametrize(
    "change",
    [
        lambda story: story.topology(*SHOP, "web depends_on db1"),
        lambda story: story.topology("shop depends_on api"),
        lambda story: story.settings({"relate": {"tempo": 4.0, "restart": 0.6}}),
        lambda story: story.settings({"group": {"wave": {"alerts": 5}, "max_alerts": 40}}),
        lambda story: story.settings({"fold": {"identity": [{"without": ["severity"]}]}}),
    ],
    ids=["more-topology", "its-ci-is-gone", "other-nearness", "other-bounds", "other-identity"],
)
@pytest.mark.parametrize("when", ["between", "after"])
def test_other_settings_and_topology_in_between_leave_it_exact_after_any_restart(
    change: Callable[[Story], Story], when: str
):
    story = first_wave()
    if when == "between":
        change(story)
    story.after(1).burst("db1", "Second").after(5)
    if when == "after":
        change(story)
    back_again(story).fire("api").after(60).tick()

    is_sound(story)


def test_of_two_waves_nothing_is_left_in_the_end():
    check_forgotten(back_again(two_waves()).after(UNTIL_FORGOTTEN_S).tick().engine)
