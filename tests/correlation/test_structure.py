"""What stands against a change of structure, in words."""

from datetime import UTC, datetime

import pytest

from correlation.settings import GroupSettings
from correlation.structure import in_order, leaving, why_not_by_itself, why_not_merge, why_not_move, why_not_split
from foreshock.core.model import Link, Member, Situation, SituationState, Ticket

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
SETTINGS = GroupSettings(max_alerts=4)


def member(because_of: str = "") -> Member:
    link = Link(alert="", other=because_of, strength=1.0, rule="topology@2", path=("a",), via="a", gap_s=0.0)
    return Member(joined_at=NOON, link=link if because_of else None)


def situation(id: str, *alerts: str, **fields: object) -> Situation:
    made = Situation(id=id, opened_at=NOON, onset=NOON, updated_at=NOON, last_joined_at=NOON)
    made.members = {alert: member() for alert in alerts}
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def closed(by: str) -> dict[str, Ticket]:
    return {"desk": Ticket(sink="desk", closed_by=by)}


@pytest.mark.parametrize(
    ("winner", "loser", "reason"),
    [
        (situation("S-1", "a"), situation("S-2", "b"), ""),
        (situation("S-1", "a"), situation("S-1", "a"), "S-1 cannot be merged with itself"),
        (situation("S-1", "a"), situation("S-2", "b", state=SituationState.RESOLVED), "S-2 is resolved"),
        (
            situation("S-1", "a", state=SituationState.MERGED, merged_into="S-3"),
            situation("S-2", "b"),
            "S-1 is merged into S-3",
        ),
        (situation("S-1", "a", "b"), situation("S-2", "c", "d", "e"), "S-1 would hold 5 alerts, 4 are allowed"),
        (
            situation("S-1", "a", tickets=closed("mira")),
            situation("S-2", "b"),
            "mira closed the ticket of S-1: nobody would hear of them there",
        ),
        (situation("S-1", "a"), situation("S-2", "b", tickets=closed("mira")), ""),
    ],
)
def test_a_merge_needs_two_open_situations_with_room_and_a_ticket_that_is_heard(
    winner: Situation, loser: Situation, reason: str
):
    assert why_not_merge(winner, loser, SETTINGS) == reason


@pytest.mark.parametrize(
    ("alerts", "reason"),
    [
        (["a"], ""),
        ([], "no alert is named"),
        (["a", "z"], "z is not in S-1"),
        (["a", "b"], "these are all the alerts of S-1"),
    ],
)
def test_a_split_leaves_something_behind(alerts: list[str], reason: str):
    assert why_not_split(situation("S-1", "a", "b"), alerts) == reason


def test_alerts_move_to_another_situation_that_is_open():
    here, there = situation("S-1", "a", "b"), situation("S-2", "c")

    assert why_not_move(here, ["a"], there, SETTINGS) == ""
    assert why_not_move(here, ["a"], here, SETTINGS) == "they are in S-1 already"
    there.state = SituationState.RESOLVED
    assert why_not_move(here, ["a"], there, SETTINGS) == "S-2 is resolved"


def test_correlation_leaves_alone_what_a_person_shaped_or_closed():
    assert why_not_by_itself(situation("S-1", "a")) == ""
    assert why_not_by_itself(situation("S-1"), situation("S-2", shaped_by="mira")) == "mira said what belongs in S-2"
    assert why_not_by_itself(situation("S-1", tickets=closed("mira"))) == "mira closed the ticket of S-1"


@pytest.mark.parametrize(
    ("stay", "go", "left"),
    [
        (["a"], ["b"], ("b", "c")),
        (["b"], ["a"], ("a", "d")),
        (["c"], ["b"], ("b",)),
        (["a"], ["d"], ("d",)),
    ],
)
def test_an_alert_that_leaves_takes_along_what_joined_because_of_it(stay: list[str], go: list[str], left: tuple[str]):
    chain = situation("S-1")
    chain.members = {"a": member(), "b": member("a"), "c": member("b"), "d": member("a")}

    assert leaving(chain, stay, go) == left


def test_of_two_that_are_one_problem_the_one_with_the_ticket_goes_on():
    plain, with_ticket, resolved = situation("S-1"), situation("S-2"), situation("S-3")
    with_ticket.tickets = {"desk": Ticket(sink="desk")}
    resolved.tickets = {"desk": Ticket(sink="desk", open=False)}

    assert in_order(plain, with_ticket) == (with_ticket, plain)
    assert in_order(with_ticket, plain) == (with_ticket, plain)
    assert in_order(plain, resolved) == (plain, resolved)
