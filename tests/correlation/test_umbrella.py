"""What comes under one umbrella."""

from typing import Any

import pytest

from correlation.settings import UmbrellaSettings
from correlation.umbrella import Found, Umbrellas, choose, held, may_come_under
from foreshock.core.model import CI, Relationship, Situation, Ticket, TicketState, Umbrella
from foreshock.core.topology import Topology
from foreshock.testing.records import NOON, seconds

RACKS = ("r1", "r2")
TIES = [(f"h{number}", RACKS[number % 2]) for number in range(6)] + [(rack, "site") for rack in RACKS]
SITE = Topology(
    [CI(id=id, kind="generic") for id in ("site", *RACKS, *(f"h{number}" for number in range(6)))],
    [Relationship(source=low, type="runs_on", target=high) for low, high in TIES],
)
SETTINGS = UmbrellaSettings.model_validate({"situations": 3, "share": 0.3, "within": "2m", "grace": "5m"})


def situation(number: int, ci: str, at_s: float = 0.0, **fields: Any) -> Situation:
    at = NOON + seconds(at_s)
    return Situation(
        id=f"S-{number}", opened_at=at, onset=at, updated_at=at, last_joined_at=at, first_ci=ci, members={}, tickets={},
        **fields,
    )  # fmt: skip


def holding(number: int, ci: str, over: str, at_s: float = 0.0, enough: int = 2, **fields: Any) -> Situation:
    held = Umbrella(ci=over, since=NOON, total=2, enough=enough)
    return situation(number, ci, at_s, umbrella=held, **fields)


def found(*situations: Situation, settings: UmbrellaSettings = SETTINGS) -> Found | None:
    """What the last one comes together with, when it has just opened."""
    known = {each.id: each for each in situations}
    umbrellas = Umbrellas(known, SITE, settings)
    for each in situations:
        umbrellas.add(each, each.opened_at)
    last = situations[-1]
    return umbrellas.find(last, last.opened_at, {each.id: {each.first_ci} for each in situations})


def test_enough_at_once_below_one_ci_come_together():
    assert found(situation(1, "h0"), situation(2, "h1")) is None
    assert found(situation(1, "h0"), situation(2, "h1"), situation(3, "h2", 119)) == Found(
        "site", "", ("S-1", "S-2", "S-3")
    )
    assert found(situation(1, "h0"), situation(2, "h1"), situation(3, "h2", 120)) is None


def test_what_was_reopened_counts_from_then():
    again = situation(1, "h0", -5000, reopened_at=NOON)

    assert found(again, situation(2, "h1"), situation(3, "h2")) == Found("site", "", ("S-1", "S-2", "S-3"))


def test_the_nearest_ci_counts_and_before_it_one_that_has_an_alert_itself():
    in_one_rack = [situation(number, f"h{2 * number}") for number in range(2)]

    assert found(*in_one_rack, situation(2, "h4")) == Found("r1", "", ("S-0", "S-1", "S-2"))
    assert found(*in_one_rack, situation(2, "h1"), situation(3, "h3"), situation(4, "site")) == Found(
        "site", "", ("S-0", "S-1", "S-2", "S-3", "S-4")
    )


def test_where_most_come_through_one_dependent_it_is_not_what_they_have_in_common():
    wide = UmbrellaSettings.model_validate({"situations": 4, "share": 0.1, "within": "2m"})
    also = situation(9, "h0", reopened_at=NOON)

    assert (
        found(also, *(situation(number, f"h{2 * number}") for number in range(3)), situation(3, "h1"), settings=wide)
        is None
    )


def test_an_umbrella_that_stands_takes_one_more_as_long_as_they_come():
    young = [holding(1, "h0", "site"), situation(2, "h1", parent="S-1"), situation(3, "h2", parent="S-1")]

    assert found(*young, situation(4, "h3", 60)) == Found("site", "S-1", ("S-4",))
    assert found(*young, situation(4, "h3", 120)) is None
    assert found(*young, situation(4, "elsewhere", 60)) is None


def test_an_umbrella_whose_ticket_a_person_closed_takes_nothing():
    closed = {"desk": Ticket(sink="desk", open=False, closed_by="mira")}
    holder = holding(1, "h0", "site")
    holder.tickets = closed
    under = [situation(2, "h1", parent="S-1"), situation(3, "h2", parent="S-1")]

    assert found(holder, *under, situation(4, "h3", 60)) is None


def test_an_umbrella_counts_for_all_under_it_where_a_larger_one_is_needed():
    rack = [holding(1, "h0", "r1"), situation(2, "h2", parent="S-1"), situation(3, "h4", parent="S-1")]
    settings = UmbrellaSettings.model_validate({"situations": 6, "share": 0.3, "within": "2m"})
    other = [situation(4, "h1"), situation(5, "h3"), situation(6, "h5")]

    assert found(*rack, *other, settings=settings) == Found("site", "", ("S-1", "S-4", "S-5", "S-6"))


def test_what_a_person_shaped_has_a_ticket_of_its_own():
    assert may_come_under(situation(1, "h0"))
    assert not may_come_under(situation(1, "h0", shaped_by="mira"))
    assert not may_come_under(situation(1, "h0", parent="S-2"))


def test_what_is_about_the_common_ci_holds_the_umbrella_else_the_oldest():
    two, ten = situation(2, "h0"), situation(10, "h1")

    assert choose([ten, two], "site", {}) is two
    assert choose([ten, two], "site", {"S-10": {"h1", "site"}}) is ten


@pytest.mark.parametrize(
    ("ticket", "after_s", "says"),
    [
        pytest.param({}, 0, "S-1 has the ticket", id="it is open"),
        pytest.param({"state": TicketState.UNKNOWN}, 0, "S-1 has the ticket", id="nobody knows yet"),
        pytest.param({"state": TicketState.REJECTED}, 0, "", id="the sink refused it"),
        pytest.param({"state": TicketState.REJECTED, "number": "I1"}, 0, "S-1 has", id="the sink refused an update"),
        pytest.param({"open": False}, 0, "", id="it is resolved"),
        pytest.param({"open": False, "closed_by": "mira", "closed_at": NOON}, 299, "mira closed", id="just closed"),
        pytest.param({"open": False, "closed_by": "mira", "closed_at": NOON}, 300, "", id="closed a while ago"),
    ],
)
def test_what_a_parent_tells_of(ticket: Any, after_s: float, says: str):
    parent = holding(1, "h0", "site")
    parent.tickets = {"desk": Ticket(sink="desk", **ticket)}

    reason = held(parent, "desk", NOON + seconds(after_s), SETTINGS)

    assert (reason.reason if reason else "").startswith(says)
    assert bool(reason) is bool(says)
    assert held(parent, "other", NOON, SETTINGS) is None
    assert held(None, "desk", NOON, SETTINGS) is None


def test_to_count_no_more_than_it_takes_comes_to_what_counting_all_comes_to():
    ties = [Relationship(source=f"h{n}", type="runs_on", target=f"rack{n % 7}") for n in range(90)]
    ties += [Relationship(source=f"rack{n}", type="located_in", target="site") for n in range(7)]
    short, whole = (Umbrellas({}, Topology((), ties)) for _ in range(2))

    for cis in (*range(100), *reversed(range(100))):
        for ci in ("site", "rack3", "h1"):
            for situations in (5, 500):
                assert short._are_too_few(cis, ci, situations) == (cis < whole._least(ci, situations))
