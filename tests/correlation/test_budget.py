"""What a rule may cost."""

from correlation.budget import PATIENCE, Budget


def test_a_rule_within_its_budget_may_go_on_for_ever():
    budget = Budget()

    assert all(budget.charge({"a@1": 100}, 100) == [] for _ in range(1000))
    assert (budget.ahead, budget.suspended) == ({}, {})


def test_one_hard_moment_passes():
    budget = Budget()

    assert budget.charge({"a@1": 100 * PATIENCE}, 100) == []
    for _ in range(PATIENCE):
        budget.charge({}, 100)
    assert budget.ahead == {}


def test_a_rule_that_always_takes_twice_its_budget_is_suspended_once_and_others_go_on():
    budget = Budget()

    said = [budget.charge({"hard@1": 200, "easy@1": 50}, 100) for _ in range(2 * PATIENCE)]

    assert said.index(["hard@1"]) == PATIENCE
    assert said.count(["hard@1"]) == 1
    assert list(budget.suspended) == ["hard@1"]


def test_a_reset_lets_it_try_again():
    budget = Budget()
    budget.charge({"hard@1": 101 * PATIENCE}, 100)
    budget.charge({"hard@1": 101 * PATIENCE}, 100)

    assert budget.reset() == ["hard@1"]
    assert (budget.ahead, budget.suspended) == ({}, {})
