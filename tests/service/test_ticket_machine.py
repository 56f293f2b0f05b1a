"""Whatever goes wrong between the outbox and the tool: one record per situation, none missing, orders in order."""

import tempfile
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule
from msgspec import structs
from sqlalchemy import select

from foreshock.core.contracts import Order, Step, Verb
from foreshock.core.model import TicketState
from foreshock.service import delivery
from foreshock.service.delivery import Lane, next_step
from foreshock.service.delivery import Step as Next
from foreshock.store.outbox import Outbox, Pending
from foreshock.store.store import Store
from foreshock.store.tables import metadata, outbox
from foreshock.testing.tickets import Fault, FaultyTool, Killed, SteppedClock, make_order

# Rejections and a sink's own mistakes end an order for good; their tests are in test_delivery.py.
PASSING = [fault for fault in Fault if fault not in (Fault.REJECTED, Fault.SURPRISE)]


def memory_folder():
    """Where a sync costs nothing, if there is such a place."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


class Tickets(RuleBasedStateMachine):
    situations = Bundle("situations")
    outbox_of = Outbox

    @initialize(index_delay_s=st.sampled_from([0, 45]), jitter=st.floats(0, 1))
    def begin(self, index_delay_s, jitter):
        self.folder = tempfile.TemporaryDirectory(dir=memory_folder())
        self.store = Store(f"sqlite:///{self.folder.name}/foreshock.db")
        metadata.create_all(self.store.migration_engine)
        self.outbox = self.outbox_of(self.store)
        self.clock = SteppedClock()
        self.tool = FaultyTool(self.clock, index_delay=timedelta(seconds=index_delay_s))
        self.jitter = jitter
        self.orders = {}
        self.told = []
        self.inbox_faults = []
        self.restart()

    @rule()
    def restart(self):
        """A new process on the same store."""
        self.lane = Lane(
            "tool",
            self.tool,
            self.outbox,
            self.report,
            now=self.clock,
            index_delay=self.tool.index_delay,
            poll=timedelta(minutes=1),
            look=timedelta(minutes=1),
            jitter=lambda: self.jitter,
        )

    def report(self, change):
        fault = self.inbox_faults.pop(0) if self.inbox_faults else None
        if fault == "full":
            raise OSError("no space left on the device")
        self.told.append(change)
        if fault == "killed after the sync":
            raise Killed

    def order(self, verb, situation):
        known = self.orders.setdefault(situation, [])
        version = len(known) + 1
        order = make_order(
            verb, sink="tool", situation=situation, version=version, note=f"note {version}.", title=f"title {version}"
        )
        known.append(order)
        position = self.store.journal.position()[0]
        self.store.journal.commit(Step(read_from=position, position=position + 1, orders=[order]))

    @rule(target=situations)
    def open(self):
        situation = f"S-{len(self.orders) + 1}"
        self.order(Verb.OPEN, situation)
        return situation

    @rule(situation=situations, verb=st.sampled_from([Verb.UPDATE, Verb.UPDATE, Verb.RESOLVE, Verb.REOPEN]))
    def go_on(self, situation, verb):
        self.order(verb, situation)

    @rule(situation=situations)
    def a_person_acts(self, situation):
        self.tool.person(situation, "commented")

    @rule(faults=st.lists(st.sampled_from([*PASSING, None]), min_size=1, max_size=6))
    def the_tool_misbehaves(self, faults):
        self.tool.faults += faults

    @rule(faults=st.lists(st.sampled_from(["full", "killed after the sync"]), min_size=1, max_size=2))
    def the_inbox_misbehaves(self, faults):
        self.inbox_faults += faults

    @rule(seconds=st.sampled_from([0, 1, 20, 61, 301]))
    def time_passes(self, seconds):
        until = self.clock.at + timedelta(seconds=seconds)
        for _ in range(500):
            try:
                look_again = self.lane.work()
            except Killed:
                self.restart()
                continue
            except OSError:
                continue
            if look_again > until:
                break
            self.clock.at = max(self.clock.at, look_again)
        else:
            raise AssertionError("the lane spins")
        self.clock.at = max(self.clock.at, until)

    @invariant()
    def never_two_records_for_one_situation(self):
        for situation in getattr(self, "orders", {}):
            assert len(self.tool.of(situation)) <= 1

    @invariant()
    def orders_arrive_in_order(self):
        for record in self.tool.records.values() if hasattr(self, "tool") else ():
            versions = [int(order.rsplit("/", 1)[1].split("-")[0]) for order in record.orders]
            assert versions == sorted(versions)

    def teardown(self):
        if not hasattr(self, "store"):
            return
        try:
            self.tool.faults.clear()
            self.inbox_faults.clear()
            self.time_passes(4000)
            self.all_is_well()
        finally:
            self.store.close()
            self.folder.cleanup()

    def all_is_well(self):
        assert self.outbox.backlog("tool").pending == 0
        assert self.outbox.untold("tool") == []
        for situation, orders in self.orders.items():
            (record,) = self.tool.of(situation)
            assert record.fields["title"] == orders[-1].fields.get("title")
            assert record.open == (orders[-1].verb is not Verb.RESOLVE)
            notes = "\n".join(record.notes)
            # A create whose answer was lost carried its note; an update may be heard twice, never not at all.
            assert [order.note for order in orders if order.note not in notes] == []
            ticket = self.outbox.ticket(situation, "tool")
            assert (ticket.state, ticket.number) == (TicketState.CONFIRMED, record.number)
            heard = [change for change in self.told if change.situation == situation and change.origin == "write"]
            assert heard[-1].number == record.number
            sequences = [change.sequence for change in heard]
            assert sequences == sorted(sequences)
            assert set(sequences) == self.carried_out(situation)
        read = [change.sequence for change in self.told if change.origin == "read"]
        assert sorted(set(read)) == [change.sequence for change in self.tool.people]
        assert read == sorted(read)

    def carried_out(self, situation):
        with self.store.read() as connection:
            query = select(outbox.c.sequence).where(outbox.c.situation == situation, outbox.c.state == "done")
            return set(connection.execute(query).scalars())


class TestTickets(Tickets.TestCase):
    settings = settings(max_examples=60, stateful_step_count=25)


# ---- planted bugs: the machine must notice ----


def never_search(verb, ticket):
    step = next_step(verb, ticket)
    return Next.SEND if step is Next.SEARCH else step


def never_wait(ticket, index_delay):
    return ticket.updated_at


class Forgetful(Outbox):
    """Takes an answer for told before it is."""

    def confirm(self, row, receipt, now):
        super().confirm(row, receipt, now)
        self.told([row.sequence])


class Careless(Outbox):
    """Does not note on disk that a call is about to be made."""

    def begin(self, head, now):
        return structs.replace(head, attempts=head.attempts + 1)


class Impatient(Outbox):
    """Takes the newest order first."""

    def pending(self, sink, now, limit=100):
        with self._store.read() as connection:
            query = select(outbox.c.body, outbox.c.sequence, outbox.c.attempts).where(outbox.c.state == "pending")
            rows = connection.execute(query.order_by(outbox.c.sequence.desc()).limit(1)).all()
        orders = [(row, msgspec.json.decode(row.body, type=Order)) for row in rows]
        return [
            Pending(
                sequence=row.sequence, order=order, attempts=row.attempts, ticket=self.ticket(order.situation, sink)
            )
            for row, order in orders
        ]


class Lossy(Outbox):
    """Folds updates and drops the older note."""

    def begin(self, head, now):
        sent = super().begin(head, now)
        return (
            None if sent is None else structs.replace(sent, order=structs.replace(sent.order, note="only the newest"))
        )


PLANTED = {
    "a lost answer is not searched for": ("next_step", never_search, [[Fault.LOST]], []),
    "an early absent is believed": ("believed_at", never_wait, [[Fault.LOST]], []),
    "told before told": ("outbox", Forgetful, [[None]], ["full"]),
    "no note of the call": ("outbox", Careless, [[Fault.CRASH_AFTER]], []),
    "any order goes first": ("outbox", Impatient, [[None]], []),
    "notes are lost": ("outbox", Lossy, [[None]], []),
}


def run_through(faults, inbox_faults, outbox_of):
    machine = Tickets()
    machine.outbox_of = outbox_of
    machine.begin(index_delay_s=45, jitter=0.5)
    try:
        situation = machine.open()
        machine.inbox_faults += inbox_faults
        for some in faults:
            machine.the_tool_misbehaves(some)
            machine.time_passes(1)
            machine.go_on(situation, Verb.UPDATE)
            machine.go_on(situation, Verb.RESOLVE)
            machine.time_passes(20)
            machine.never_two_records_for_one_situation()
        machine.time_passes(400)
        machine.never_two_records_for_one_situation()
        machine.orders_arrive_in_order()
    finally:
        machine.teardown()


@pytest.mark.parametrize("bug", PLANTED)
def test_a_planted_bug_is_noticed_where_sound_code_passes(monkeypatch, bug):
    name, planted, faults, inbox_faults = PLANTED[bug]
    run_through(faults, inbox_faults, Outbox)

    if name != "outbox":
        monkeypatch.setattr(delivery, name, planted)
    with pytest.raises((AssertionError, ValueError)):
        run_through(faults, inbox_faults, planted if name == "outbox" else Outbox)
