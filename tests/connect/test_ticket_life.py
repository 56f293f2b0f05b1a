"""A ticket's life before a system that does what it is told, in memory, and is told to fail where a test wants it."""

import pytest

from foreshock.connect.ticket_life import MOVES, Change, Move, Records, Seen, Standing, Stuck, TicketSink
from foreshock.connect.tickets import marker
from foreshock.core.contracts import ProblemOrder, Receipt, Verb
from foreshock.core.errors import Rejected, Unavailable
from foreshock.testing.tickets import NOON, make_order


class Shelf(Records[dict]):
    """Records as dictionaries. asked: every call that a real system would have got."""

    name = "shelf 'prod'"
    key_place = "the label"
    key_hint = "let us write the label"
    state_hint = "look at the workflow"

    def __init__(self):
        self.records = []
        self.asked = []
        self.keeps_keys = self.takes_states = self.answers_bodies = self.opens_again = True

    def add(self, key="S-1", state="open", **more):
        record = {"id": str(len(self.records) + 1), "key": key, "state": state, "title": "", "notes": [], **more}
        self.records.append(record)
        return record

    def of_key(self, key):
        self.asked.append("search")
        return [record for record in self.records if record["key"] == key]

    def get(self, id):
        self.asked.append("get")
        return next((record for record in self.records if record["id"] == id), None)

    def see(self, record):
        return Seen(
            id=record["id"],
            number=f"N{record['id']}",
            url="",
            standing=Standing(record["state"]),
            state=record["state"],
            key=record["key"],
            fields={"title": record["title"]},
        )

    def own(self, record, seen):
        self.asked.append("own")
        return ("title",)

    def noted(self, record, order_id, kept):
        self.asked.append("notes")
        return any(marker(order_id) in note for note in record["notes"])

    def wanted(self, order):
        return {name: str(order.fields[name]) for name in ("title",) if name in order.fields}

    def create(self, order, wanted, before):
        self.asked.append("create")
        made = self.add(order.key if self.keeps_keys else "", before=before and before["id"], **wanted)
        if order.note:
            made["notes"].append(f"{order.note} {marker(order.id)}")
        return made if self.answers_bodies else None

    def write(self, record, change: Change):
        if change.move is Move.REOPEN and not self.opens_again:
            raise Stuck
        self.asked.append("write")
        record |= change.fields
        if change.note:
            record["notes"].append(f"{change.note} {marker(change.order.id)}")
        if self.takes_states and change.move is not Move.WRITE:
            record["state"] = "ended" if change.move is Move.END else "open"
        return record if self.answers_bodies else None

    def link(self, record, incidents):
        record["linked"] = [ticket.number for ticket in incidents]


@pytest.fixture
def shelf():
    return Shelf()


@pytest.fixture
def sink(shelf):
    return TicketSink(shelf, None, lambda: ())


def receipt_of(record):
    return Receipt(number=f"N{record['id']}", kept={"id": record["id"]})


# ---- what an order means --------------------------------------------------------------------------------------------


def test_every_verb_has_a_move_for_whatever_became_of_the_record():
    assert {verb: set(moves) for verb, moves in MOVES.items()} == {verb: set(Standing) for verb in Verb}


@pytest.mark.parametrize("verb", [Verb.OPEN, Verb.UPDATE, Verb.RESOLVE])
@pytest.mark.parametrize("state", ["ended", "final"])
def test_what_people_ended_is_left_as_it_is(sink, shelf, verb, state):
    record = shelf.add(state=state, title="theirs")

    receipt = sink.deliver(make_order(verb, title="ours", note="n"), receipt_of(record))

    assert receipt.number == "N1"
    assert (record["state"], record["title"], record["notes"]) == (state, "theirs", [])


def test_a_repeated_opening_writes_nothing(sink, shelf):
    first = sink.deliver(make_order(title="a", note="n"), None)

    assert sink.deliver(make_order(title="a", note="n"), None).number == first.number
    assert (len(shelf.records), len(shelf.records[0]["notes"])) == (1, 1)


def test_an_update_of_what_was_deleted_is_refused_and_a_recurrence_makes_a_new_one(sink, shelf):
    gone = Receipt(number="N7", kept={"id": "7"})

    with pytest.raises(Rejected, match=r"shelf 'prod' has no N7 of S-1 any more \(deleted, or hidden"):
        sink.deliver(make_order(Verb.UPDATE), gone)
    assert sink.deliver(make_order(Verb.REOPEN, title="again"), gone).number == "N1"


def test_a_recurrence_of_what_is_final_is_one_new_record_that_names_it(sink, shelf):
    old = shelf.add(state="final")
    order = make_order(Verb.REOPEN, title="again", note="n")

    numbers = {sink.deliver(order, receipt_of(old)).number for _ in range(3)}

    assert numbers == {"N2"}
    assert shelf.records[1]["before"] == "1"
    assert len(shelf.records[1]["notes"]) == 1


def test_what_no_transition_opens_again_is_followed_like_what_is_final(sink, shelf):
    old = shelf.add(state="ended")
    shelf.opens_again = False

    assert sink.deliver(make_order(Verb.REOPEN, title="again"), receipt_of(old)).number == "N2"
    assert old["state"] == "ended"


def test_a_follower_that_people_ended_meanwhile_is_opened_again_instead_of_making_a_third(sink, shelf):
    old, _ = shelf.add(state="final"), shelf.add(state="ended")

    assert sink.deliver(make_order(Verb.REOPEN, title="again"), receipt_of(old)).number == "N2"
    assert [record["state"] for record in shelf.records] == ["final", "open"]


@pytest.mark.parametrize(
    ("states", "number"),
    [
        (("open", "open"), "N1"),
        (("ended", "open", "final"), "N2"),
        (("ended", "final"), "N1"),
        (("ended", "ended"), "N2"),
        (("final", "final"), "N2"),
    ],
)
def test_of_several_records_the_open_one_is_found_then_the_newest_that_can_be_opened(sink, shelf, states, number):
    for state in states:
        shelf.add(state=state)

    assert sink.find("S-1").number == number


def test_to_find_a_record_costs_one_search_and_whose_its_fields_are_is_asked_when_it_is_written(sink, shelf):
    shelf.add(title="ours")
    found = sink.find("S-1")
    assert shelf.asked == ["search"]

    sink.deliver(make_order(Verb.UPDATE, version=2, title="ours, changed"), found)

    assert shelf.records[0]["title"] == "ours, changed"
    assert shelf.asked == ["search", "get", "own", "write"]


# ---- whose a field is -----------------------------------------------------------------------------------------------


def test_a_field_is_ours_until_a_person_changes_it(sink, shelf):
    receipt = sink.deliver(make_order(title="one"), None)
    receipt = sink.deliver(make_order(Verb.UPDATE, version=2, title="two"), receipt)
    shelf.records[0]["title"] = "ADA'S"

    sink.deliver(make_order(Verb.UPDATE, version=3, title="three"), receipt)

    assert shelf.records[0]["title"] == "ADA'S"


def test_a_write_whose_answer_was_lost_is_not_taken_for_a_persons(sink, shelf):
    before = sink.deliver(make_order(title="one"), None)
    order = make_order(Verb.UPDATE, version=2, title="two")
    sink.deliver(order, before)  # nobody heard the answer
    receipt = sink.deliver(order, before)

    sink.deliver(make_order(Verb.UPDATE, version=3, title="three"), receipt)

    assert shelf.records[0]["title"] == "three"


# ---- what is written ------------------------------------------------------------------------------------------------


def test_what_says_all_already_is_not_written_and_its_notes_not_read(sink, shelf):
    receipt = sink.deliver(make_order(title="one"), None)
    shelf.asked.clear()

    sink.deliver(make_order(Verb.UPDATE, version=2, title="one"), receipt)

    assert shelf.asked == ["get"]


def test_a_note_stands_there_once_however_often_its_order_comes(sink, shelf):
    receipt = sink.deliver(make_order(title="one"), None)
    order = make_order(Verb.UPDATE, version=2, note="it grows")

    for known in (receipt, receipt, sink.deliver(order, receipt)):
        sink.deliver(order, known)

    assert len(shelf.records[0]["notes"]) == 1


def test_an_answer_that_shows_nothing_is_followed_by_a_look(sink, shelf):
    shelf.answers_bodies = False
    receipt = sink.deliver(make_order(title="one"), None)
    sink.deliver(make_order(Verb.UPDATE, version=2, title="two"), receipt)

    assert shelf.asked == ["search", "create", "search", "get", "write", "get"]


def test_a_record_without_our_key_is_told_with_its_number(sink, shelf):
    shelf.keeps_keys = False

    with pytest.raises(Rejected, match="created N1 without our key: the label is '' instead of 'S-1'") as raised:
        sink.deliver(make_order(title="one"), None)
    assert "close N1, which Foreshock cannot find again" in raised.value.hint


def test_a_record_that_nobody_shows_after_its_creation_is_asked_for_again_later(sink, shelf):
    shelf.keeps_keys = shelf.answers_bodies = False

    with pytest.raises(Unavailable, match="said it created a record for S-1, but shows none"):
        sink.deliver(make_order(title="one"), None)


@pytest.mark.parametrize(("verb", "state", "wanted"), [(Verb.RESOLVE, "open", "over"), (Verb.REOPEN, "ended", "open")])
def test_a_state_that_was_not_taken_is_an_error(sink, shelf, verb, state, wanted):
    record = shelf.add(state=state)
    shelf.takes_states = False

    with pytest.raises(Rejected, match=f"left N1 in state '{state}' where it was to be {wanted}") as raised:
        sink.deliver(make_order(verb), receipt_of(record))
    assert raised.value.hint == "look at the workflow"


# ---- problems -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("state", "number"), [("open", "N1"), ("ended", "N1"), ("final", "N2")])
def test_a_problem_is_annotated_whatever_people_made_of_it_and_followed_when_it_is_final(sink, shelf, state, number):
    shelf.add("P-1", state)
    order = ProblemOrder(id="P-1/1", key="P-1", at=NOON, fields={}, note="3 times", incidents=(Receipt(number="N9"),))

    receipt = sink.write_problem(order, None)

    assert receipt.number == number
    assert shelf.records[0]["state"] == state
    assert (len(shelf.records[-1]["notes"]), shelf.records[-1]["linked"]) == (1, ["N9"])
