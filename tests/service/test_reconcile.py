"""A ticket and its record that say different things: found, told once, and repaired by a rule when it lasts."""

from collections.abc import Callable, Collection

import pytest

from foreshock.core.contracts import Receipt, TicketChange, Verb
from foreshock.core.errors import Unavailable
from foreshock.core.model import Ticket, TicketState
from foreshock.service.reconcile import MAX_LOOKS, Difference, Reconciler
from foreshock.testing.records import Story

CONFIRMED = Ticket(sink="desk", state=TicketState.CONFIRMED, number="INC1")
OVER = Ticket(sink="desk", state=TicketState.CONFIRMED, number="INC1", open=False)


class Compared:
    """A reconciler with one sink, whose records can be set. told: what the inbox heard."""

    def __init__(self, waiting: Collection[str] = (), **records: Receipt) -> None:
        self.records = records
        self.told: list[TicketChange] = []
        find: dict[str, Callable[[str], Receipt | None]] = {"desk": self.records.get}
        self.reconciler = Reconciler(find, lambda sink: waiting, self.told.append)

    def look(self, *tickets: Ticket) -> list[Difference]:
        self.reconciler.run([(f"S{number}", ticket) for number, ticket in enumerate(tickets, 1)])
        return [finding.difference for finding in self.reconciler.findings.values()]


def record(state: str = "open", number: str = "INC1") -> Receipt:
    return Receipt(number=number, state=state)


@pytest.mark.parametrize(
    ("ticket", "found", "difference"),
    [
        (CONFIRMED, record(), []),
        (CONFIRMED, None, [Difference.MISSING]),
        (CONFIRMED, record("resolved"), [Difference.ENDED]),
        (CONFIRMED, record("closed"), [Difference.ENDED]),
        (CONFIRMED, record(number="INC9"), [Difference.OTHER_NUMBER]),
        (OVER, record("open"), [Difference.OPEN]),
        (OVER, record("resolved"), []),
        (OVER, None, []),
        (Ticket(sink="desk", state=TicketState.CONFIRMED, number="INC1", open=False, closed_by="ann"), record(), []),
        (Ticket(sink="desk", state=TicketState.UNKNOWN), None, []),
        (Ticket(sink="desk", state=TicketState.REJECTED, number="INC1"), None, []),
    ],
)
def test_ours_theirs_and_what_is_on_its_way_are_compared(ticket, found, difference):
    assert Compared(**({} if found is None else {"S1": found})).look(ticket) == difference


@pytest.mark.parametrize(
    ("ticket", "found", "state"),
    [(CONFIRMED, None, "deleted"), (CONFIRMED, record("closed"), "closed"), (OVER, record(), "reopened")],
)
def test_what_differs_twice_in_a_row_is_repaired_by_a_record(ticket, found, state):
    compared = Compared(**({} if found is None else {"S1": found}))

    compared.look(ticket)
    assert compared.told == []
    compared.look(ticket)

    (change,) = compared.told
    assert (change.origin, change.state, change.situation, change.number) == ("compared", state, "S1", "INC1")
    assert sum(compared.reconciler.repaired.values()) == 1


def test_what_agrees_again_is_not_repaired():
    compared = Compared(S1=record("closed"))

    compared.look(CONFIRMED)
    compared.records["S1"] = record()

    assert compared.look(CONFIRMED) == []
    compared.records["S1"] = record("closed")
    compared.look(CONFIRMED)
    assert compared.told == []


def test_two_records_are_for_a_person_to_look_at():
    compared = Compared(S1=record(number="INC9"))

    assert [compared.look(CONFIRMED) for _ in range(3)] == [[Difference.OTHER_NUMBER]] * 3
    assert compared.told == []


def test_while_an_order_is_on_its_way_there_is_nothing_to_compare():
    compared = Compared(waiting=("S1",), S1=record("closed"))

    assert compared.look(CONFIRMED) == []


def test_a_difference_ends_with_the_ticket():
    compared = Compared()
    compared.look(CONFIRMED)

    assert compared.look() == []


def test_a_sink_that_cannot_search_is_not_asked():
    assert Compared().look(Ticket(sink="hook", state=TicketState.CONFIRMED, number="S1")) == []


def test_a_sink_that_does_not_answer_keeps_no_other_from_being_compared():
    def dead(key: str) -> Receipt | None:
        raise Unavailable("nobody listens")

    told: list[TicketChange] = []
    reconciler = Reconciler({"dead": dead, "desk": lambda key: None}, lambda sink: (), told.append)
    other = Ticket(sink="dead", state=TicketState.CONFIRMED, number="1")

    for _ in range(2):
        reconciler.run([("S1", other), ("S1", CONFIRMED)])

    assert [change.sink for change in told] == ["desk"]
    assert reconciler.unasked == {"dead": "nobody listens"}


def test_a_run_has_an_end_and_the_next_one_goes_on():
    asked: list[str] = []
    reconciler = Reconciler({"desk": asked.append}, lambda sink: (), lambda change: None)
    many = [(f"S{n}", CONFIRMED) for n in range(MAX_LOOKS + 10)]

    counts = []
    for _ in range(3):
        before = len(asked)
        reconciler.run(many)
        counts.append(len(asked) - before)

    assert counts == [MAX_LOOKS, 10, MAX_LOOKS]


# ---- what the engine makes of it ------------------------------------------------------------------------------------


def opened(**settings: object) -> Story:
    story = Story("shop depends_on db", settings={"ticket": settings} if settings else None)
    story.fire("db", severity="critical").after(30).tick()
    return story.sink_says("confirmed", number="INC1")


def verbs(story: Story) -> list[Verb]:
    return [order.verb for order in story.told.orders]


def compared(story: Story, state: str, number: str = "INC1") -> Story:
    return story.person(state, actor="", origin="compared", number=number)


def test_a_record_that_is_over_there_is_as_good_as_closed_by_a_person():
    story = compared(opened(), "closed")
    story.fire("shop", severity="critical").after(120).tick()

    assert verbs(story) == [Verb.OPEN]
    assert story.situation().tickets["desk"].closed_by == "a person"


def test_a_record_that_is_gone_is_left_alone_unless_it_is_to_be_replaced():
    assert verbs(compared(opened(), "deleted").after(120).tick()) == [Verb.OPEN]
    assert verbs(compared(opened(deleted="replace"), "deleted").after(120).tick()) == [Verb.OPEN, Verb.REOPEN]


def test_a_ticket_that_is_open_there_although_it_is_over_belongs_to_people():
    story = opened().resolve("db").after(1200).tick()
    assert verbs(story)[-1] is Verb.RESOLVE

    compared(story, "reopened").after(600).tick()

    assert verbs(story).count(Verb.RESOLVE) == 1
    assert story.situation().tickets["desk"].kept_open_by == "a person"


@pytest.mark.parametrize(("state", "number"), [("reopened", "INC1"), ("closed", "INC9"), ("deleted", "INC9")])
def test_what_is_no_longer_so_is_no_news(state: str, number: str):
    story = compared(opened(), state, number).after(120).tick()

    assert story.situation().tickets["desk"].open
    assert [row.action for row in story.told.audit if row.kind == "ticket"] == ["open", "confirmed"]
