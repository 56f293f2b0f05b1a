"""A change as a reason why alerts belong together: through the engine, whose traces the rule reads."""

import pytest

from foreshock.core.model import Link
from foreshock.testing.records import Story, check_same, shipped_rules

# Two shops that nothing connects but the library they were built with.
SHOPS = ("north depends_on library", "south depends_on library", "deep depends_on south", "far depends_on deep")


def link(story: Story, ci: str) -> Link:
    alert = story.alert(ci)
    found = story.situation(alert.situation).members[alert.fingerprint].link
    assert found is not None
    return found


def apart(story: Story) -> bool:
    return len(story.groups()) == 2


def without_topology(*lines: str) -> Story:
    """What the rule ``change`` says by itself."""
    return Story(*lines, rules=tuple(rule for rule in shipped_rules() if rule.name == "change"))


def test_what_begins_after_a_change_of_what_both_depend_on_is_one_problem():
    story = without_topology(*SHOPS).change("C1", "library", title="library 4.2").at(60).fire("north").at(90)
    story.fire("south")

    assert story.groups() == [["north", "south"]]
    assert link(story, "south").evidence == "both depend on library, which library 4.2 changed"
    assert link(story, "south").rule.startswith("change@1.")


def test_without_a_change_nothing_is_said():
    assert apart(without_topology(*SHOPS).fire("north").at(30).fire("south"))


def test_a_rollout_on_several_cis_relates_what_depends_on_one_with_what_depends_on_another():
    lines = ("north depends_on db1", "south depends_on db2")
    story = without_topology(*lines).change("C1", "db1", "db2", title="db 9").at(60).fire("north").at(61).fire("south")

    assert story.groups() == [["north", "south"]]
    assert link(story, "south").evidence == "db 9 changed db2, on which south depends, and db1, on which north depends,"


def test_the_changed_ci_itself_is_one_of_them():
    story = without_topology(*SHOPS).change("C1", "library").at(60).fire("library").at(70).fire("south")

    assert link(story, "south").evidence == "deploy changed library, on which south depends"


@pytest.mark.parametrize(
    ("first_s", "second_s"), [(-60, 60), (60, 1900), (1000, 1200)], ids=["before it", "long after", "both late"]
)
def test_what_is_not_due_to_the_change_stays_apart(first_s: float, second_s: float):
    story = without_topology(*SHOPS).at(100).change("C1", "library", at_s=100)

    assert apart(story.at(2100).fire("north", started_s=100 + first_s).fire("south", started_s=100 + second_s))


def test_each_step_away_from_the_change_makes_it_weaker():
    story = without_topology(*SHOPS).change("C1", "library").at(10).fire("north").at(11).fire("deep").at(12).fire("far")

    assert story.groups() == [["deep", "north"], ["far"]]


def test_a_change_of_something_else_is_no_reason():
    assert apart(without_topology(*SHOPS).change("C1", "printer").at(60).fire("north").fire("south"))


def test_topology_and_change_together_are_stronger_than_either():
    def told(*rules: str) -> Story:
        in_force = tuple(rule for rule in shipped_rules() if rule.name in rules)
        story = Story("north depends_on hub", "south depends_on hub", rules=in_force)
        return story.change("C1", "hub", at_s=-330).fire("north").at(30).fire("south")

    assert apart(told("topology"))
    assert apart(told("change"))
    assert told("topology", "change").groups() == [["north", "south"]]


def test_a_change_of_a_hub_costs_a_bounded_look():
    lines = tuple(f"host{number} depends_on switch" for number in range(300))
    story = without_topology(*lines).change("C1", "switch", at_s=-1700)  # late enough to join nothing
    for number in range(300):
        story.fire(f"host{number}", started_s=float(number % 7))

    assert len(story.groups()) == 300
    assert not story.engine.budget.suspended


@pytest.mark.parametrize("restarts", [(1,), (2,), (0, 1, 2, 3)])
def test_what_is_known_of_changes_outlives_a_restart(restarts: tuple[int, ...]):
    story = Story(*SHOPS).change("C1", "library").at(60).fire("north").at(90).fire("south")

    assert story.groups() == [["north", "south"]]
    check_same(story.records, restarts=restarts)
