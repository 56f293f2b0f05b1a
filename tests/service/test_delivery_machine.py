"""Whatever goes wrong between the outbox and two tools: one record per situation, none missing, orders in order.

The tools lose answers after doing the work, do it after nobody waits any more, or twice; they limit rates, fail, refuse
credentials, and show a new record late. We are killed at any point, also while another process of ours goes on; people
close and delete records. One of the tools is always well, and must not notice anything of that.
"""

import tempfile
from collections.abc import Callable
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule
from msgspec import Struct, structs
from sqlalchemy import select
from sqlalchemy import update as update_rows

from foreshock.core.contracts import Order, Step, Verb
from foreshock.core.errors import Denied, Fenced, Rejected, Unavailable
from foreshock.core.model import TicketState
from foreshock.service import delivery
from foreshock.service.breaker import Breaker
from foreshock.service.delivery import Lane, next_step
from foreshock.service.delivery import Step as Next
from foreshock.store.outbox import Outbox, Pending, Turn
from foreshock.store.store import Store
from foreshock.store.tables import metadata, outbox
from foreshock.store.tables import ticket as tickets
from foreshock.testing.tickets import WORK_S, Fault, FaultyTool, Killed, SteppedClock, make_order

# Rejections and a sink's own mistakes end an order for good; their tests are in test_delivery.py.
PASSING = [fault for fault in Fault if fault not in (Fault.REJECTED, Fault.SURPRISE)]
INBOX_FAULTS = ["full", "killed before the sync", "killed after the sync"]
PATIENCE = timedelta(seconds=35)
assert PATIENCE.total_seconds() > WORK_S


def memory_folder():
    """Where a sync costs nothing, if there is such a place."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


class Witnessed(FaultyTool):
    """A tool that looks at what we had on disk when a call came, and at what we knew.

    Attributes:
        broken: what was seen that must never be, in words.
    """

    def __init__(self, clock, store, index_delay):
        super().__init__(clock, index_delay=index_delay)
        self.broken = []
        self._store = store
        self._lost = {}  # by situation: from when on an absent is to be believed
        self._absent_at = {}

    def find(self, key):
        found = super().find(key)
        if found is None:
            self._absent_at[key] = self.clock()
        return found

    def deliver(self, order, ticket):
        if ticket is not None:
            return super().deliver(order, ticket)
        self._look_at_a_creation(order)
        situation, before = order.situation, self._lost.get(order.situation)
        self._lost[situation] = self.clock() + PATIENCE + self.index_delay
        absent_at = self._absent_at.pop(order.key, None)
        try:
            receipt = super().deliver(order, ticket)
        except (Unavailable, Denied, Rejected) as error:
            if isinstance(error, Unavailable) and error.answered:
                self._lost[situation] = self.clock() + self.index_delay
            elif not isinstance(error, Unavailable) or error.unsent:
                self._lost[situation], self._absent_at[order.key] = before, absent_at
            raise
        self._lost.pop(situation, None)
        return receipt

    def _look_at_a_creation(self, order):
        with self._store.read() as connection:
            mine = (tickets.c.situation == order.situation) & (tickets.c.sink == order.sink)
            state = connection.execute(select(tickets.c.state).where(mine)).scalar()
        # UNKNOWN: another process took over between our commit and the call.
        if state not in (TicketState.SENDING.value, TicketState.UNKNOWN.value):
            self.broken.append(f"{order.id} was sent while the ticket was {state} on disk")
        believed, absent_at = self._lost.get(order.situation), self._absent_at.get(order.key)
        if believed is not None and (absent_at is None or absent_at < believed):
            self.broken.append(f"{order.id} was created again; absent at {absent_at}, to be believed from {believed}")


class Tickets(RuleBasedStateMachine):
    situations = Bundle("situations")
    turn_of = Turn
    outbox_of = Outbox

    @initialize(index_delay_s=st.sampled_from([0, 45]), jitter=st.floats(0, 1), connections=st.sampled_from([1, 3]))
    def begin(self, index_delay_s, jitter, connections=1):
        self.folder = tempfile.TemporaryDirectory(dir=memory_folder())
        self.store = Store(f"sqlite:///{self.folder.name}/foreshock.db")
        metadata.create_all(self.store.migration_engine)
        self.clock = SteppedClock()
        self.tool = Witnessed(self.clock, self.store, timedelta(seconds=index_delay_s))
        self.other = FaultyTool(self.clock)
        self.jitter, self.connections = jitter, connections
        self.orders = {}
        self.touched = set()
        self.told = []
        self.inbox_faults = []
        self.restart()

    # ---- the process ----

    @rule()
    def restart(self):
        """A new process on the same store."""
        self.outbox = self.outbox_of(self.store)
        self.outbox.turn_of = self.turn_of
        self.lane, self.beside = self.new_lane("tool", self.tool), self.new_lane("other", self.other)

    def new_lane(self, name, tool):
        return Lane(
            name,
            tool,
            self.outbox,
            self.report,
            now=self.clock,
            more=[tool] * (self.connections - 1),
            index_delay=tool.index_delay,
            patience=PATIENCE if tool is self.tool else timedelta(0),
            poll=timedelta(minutes=1),
            look=timedelta(minutes=1),
            jitter=lambda: self.jitter,
        )

    def report(self, change):
        if change.sink == "other":
            return
        fault = self.inbox_faults.pop(0) if self.inbox_faults else None
        if fault == "full":
            raise OSError("no space left on the device")
        if fault == "killed before the sync":
            raise Killed
        self.told.append(change)
        if fault == "killed after the sync":
            raise Killed

    # ---- what is ordered ----

    def order(self, verb, situation):
        known = self.orders.setdefault(situation, [])
        version = len(known) + 1
        said: dict[str, Any] = {"version": version, "note": f"note {version}.", "title": f"title {version}"}
        known.append(make_order(verb, sink="tool", situation=situation, **said))
        beside = make_order(verb, sink="other", situation=situation, **said)
        position = self.store.journal.position()[0]
        self.store.journal.commit(Step(read_from=position, position=position + 1, orders=[known[-1], beside]))

    @rule(target=situations)
    def open(self):
        situation = f"S-{len(self.orders) + 1}"
        self.order(Verb.OPEN, situation)
        return situation

    @rule(situation=situations, verb=st.sampled_from([Verb.UPDATE, Verb.UPDATE, Verb.RESOLVE, Verb.REOPEN]))
    def go_on(self, situation, verb):
        self.order(verb, situation)

    # ---- what happens there ----

    @rule(situation=situations)
    def a_person_acts(self, situation):
        self.tool.person(situation, "commented")

    @rule(situation=situations, how=st.sampled_from(["end", "delete"]))
    def a_person_ends_it(self, situation, how):
        if self.tool.of(situation):
            self.touched.add(situation)
            getattr(self.tool, how)(situation)

    @rule(faults=st.lists(st.sampled_from([*PASSING, None]), min_size=1, max_size=6))
    def the_tool_misbehaves(self, faults):
        self.tool.faults += faults

    @rule(faults=st.lists(st.sampled_from(INBOX_FAULTS), min_size=1, max_size=2))
    def the_inbox_misbehaves(self, faults):
        self.inbox_faults += faults

    @rule(answer=st.sampled_from(["confirmed", "unsent", "lost", "rejected"]), seconds=st.sampled_from([0, 40, 100]))
    def another_process_takes_over_during_a_call(self, answer, seconds):
        """It goes on for a while, and then the answer comes to the one that was there before."""
        before, seen = self.lane, []

        def meanwhile(order):
            self.tool.during = lambda order: None
            self.restart()
            self.time_passes(seconds)
            self.open()  # something is left to do for whoever is so bold
            seen.append(self.on_disk())
            match answer:
                case "unsent":
                    raise Unavailable("turned away at the door", unsent=True)
                case "lost":
                    raise Unavailable("no answer within 30 s")
                case "rejected":
                    raise Rejected("HTTP 400")

        self.tool.during = meanwhile
        with suppress(Fenced, Killed, OSError):
            before.work()
        self.tool.during = lambda order: None
        if seen:
            assert self.on_disk() == seen[0], "who was taken over wrote"
        else:
            self.restart()

    def on_disk(self):
        with self.store.read() as connection:
            queries = select(outbox).order_by(outbox.c.sequence), select(tickets).order_by(tickets.c.situation)
            return [tuple(row) for query in queries for row in connection.execute(query) if "tool" in tuple(row)]

    @rule(seconds=st.sampled_from([0, 1, 20, 61, 301]))
    def time_passes(self, seconds):
        until = self.clock.at + timedelta(seconds=seconds)
        self.beside.work()
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
        self.beside.work()
        assert self.outbox.backlog("other").pending == 0, "one sink's trouble delays another"

    # ---- what must hold ----

    @invariant()
    def never_two_records_for_one_situation(self):
        for situation in getattr(self, "orders", {}):
            assert len(self.tool.of(situation)) <= 1
            assert len(self.other.of(situation)) <= 1

    @invariant()
    def nothing_is_sent_that_disk_and_search_do_not_allow(self):
        assert not hasattr(self, "tool") or self.tool.broken == []

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
            self.never_two_records_for_one_situation()
            self.nothing_is_sent_that_disk_and_search_do_not_allow()
            self.all_is_well()
        finally:
            self.store.close()
            self.folder.cleanup()

    def all_is_well(self):
        assert self.outbox.backlog("tool").pending == 0
        assert self.outbox.untold("tool") == []
        for situation, orders in self.orders.items():
            if situation in self.touched:
                continue
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
            query = select(outbox.c.sequence).where(
                outbox.c.situation == situation, outbox.c.state == "done", outbox.c.sink == "tool"
            )
            return set(connection.execute(query).scalars())


class TestTickets(Tickets.TestCase):
    settings = settings(max_examples=40, stateful_step_count=25)


# ---- planted bugs: the machine must notice ----


def never_search(verb, ticket):
    step = next_step(verb, ticket)
    return Next.SEND if step is Next.SEARCH else step


def never_wait(ticket, index_delay):
    return ticket.updated_at


def as_if_ended(error, now, patience):
    return now


def as_if_unsent(error, step, ticket, made):
    return TicketState.CONFIRMED if ticket is not None and ticket.number else TicketState.PLANNED


class Forgetful(Turn):
    """Takes an answer for told before it is."""

    def confirm(self, row, receipt):
        ours = super().confirm(row, receipt)
        self.told([row.sequence])
        return ours


class Careless(Turn):
    """Does not note on disk that a call is about to be made."""

    def begin(self, head):
        assert self._settle(head, attempts=head.attempts + 1)
        return structs.replace(head, attempts=head.attempts + 1)


class Unchecked(Turn):
    """Settles a row however often it was begun since."""

    def _settle(self, row, **values):
        self._connection.execute(update_rows(outbox).where(outbox.c.sequence == row.sequence).values(**values))
        return True


class Lossy(Turn):
    """Folds updates and drops the older note."""

    def begin(self, head):
        sent = super().begin(head)
        return (
            None if sent is None else structs.replace(sent, order=structs.replace(sent.order, note="only the newest"))
        )


class Impatient(Outbox):
    """Takes the newest order first."""

    def pending(self, sink, now, limit=100):
        with self._store.read() as connection:
            query = select(outbox.c.body, outbox.c.sequence, outbox.c.attempts).where(
                outbox.c.state == "pending", outbox.c.sink == sink
            )
            rows = connection.execute(query.order_by(outbox.c.sequence.desc()).limit(1)).all()
        orders = [(row, msgspec.json.decode(row.body, type=Order)) for row in rows]
        return [
            Pending(
                sequence=row.sequence, order=order, attempts=row.attempts, ticket=self.ticket(order.situation, sink)
            )
            for row, order in orders
        ]


class Bug(Struct, frozen=True):
    """plant: breaks the product. faults, inbox_faults: what it takes to see it; None: a takeover during a call."""

    name: str
    plant: Callable[[pytest.MonkeyPatch], None]
    faults: tuple[Fault | None, ...] = (None,)
    inbox_faults: tuple[str, ...] = ()
    takeover: bool = False


def patched(target: Any, name: str, value: Any) -> Callable[[pytest.MonkeyPatch], None]:
    return lambda monkeypatch: monkeypatch.setattr(target, name, value)


class Open(Outbox):
    """Lets a lane write that another took over."""

    @contextmanager
    def turn(self, sink, lease, now):
        with self._store.write() as connection:
            yield self.turn_of(connection, sink, now)


def without_any_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tickets, "outbox_of", Open)
    monkeypatch.setattr(Tickets, "turn_of", Unchecked)


def one_lane_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one sink does to its lane, it does to all."""
    one = Breaker(lambda: 0.5)
    monkeypatch.setattr(delivery, "Breaker", lambda jitter: one)


PLANTED = [
    Bug("a ticket is created before it is on disk", patched(Tickets, "turn_of", Careless)),
    Bug("a lost answer is not searched for", patched(delivery, "next_step", never_search), (Fault.LOST,)),
    Bug("what may have arrived is sent again", patched(delivery, "state_after", as_if_unsent), (Fault.LOST,)),
    Bug("who was taken over goes on", patched(Tickets, "outbox_of", Open), takeover=True),
    Bug("a late answer is written", without_any_check, takeover=True),
    Bug("all sinks share a lane", one_lane_for_all, (Fault.DENIED, Fault.DENIED)),
    Bug("an early absent is believed", patched(delivery, "believed_at", never_wait), (Fault.LOST,)),
    Bug("a call is thought over when nobody waits for it", patched(delivery, "ended_at", as_if_ended), (Fault.LATE,)),
    Bug("told before told", patched(Tickets, "turn_of", Forgetful), inbox_faults=("killed before the sync",)),
    Bug("any order goes first", patched(Tickets, "outbox_of", Impatient)),
    Bug("notes are lost", patched(Tickets, "turn_of", Lossy)),
]


def run_through(bug: Bug) -> None:
    machine = Tickets()
    machine.begin(index_delay_s=0 if Fault.LATE in bug.faults else 45, jitter=0.0)
    try:
        situation = machine.open()
        machine.inbox_faults += bug.inbox_faults
        if bug.takeover:
            machine.open()
            machine.another_process_takes_over_during_a_call("unsent", 0)
        machine.the_tool_misbehaves(bug.faults)
        machine.time_passes(1)
        machine.go_on(situation, Verb.UPDATE)
        machine.go_on(situation, Verb.RESOLVE)
        for seconds in (20, 400):
            machine.time_passes(seconds)
            machine.never_two_records_for_one_situation()
            machine.nothing_is_sent_that_disk_and_search_do_not_allow()
        machine.orders_arrive_in_order()
    finally:
        machine.teardown()


@pytest.mark.parametrize("bug", PLANTED, ids=lambda bug: bug.name.replace(" ", "-"))
def test_a_planted_bug_is_noticed_where_sound_code_passes(monkeypatch, bug):
    run_through(bug)

    bug.plant(monkeypatch)
    with pytest.raises((AssertionError, ValueError)):
        run_through(bug)
