"""Carries the outbox to the sinks: one lane per sink, so that one which is down or slow delays no other.

The answer to a write can get lost after the sink carried it out. So the ticket is SENDING on disk before the call,
UNKNOWN when no answer came (or when Foreshock died waiting for it), and from UNKNOWN a search by our key comes before
another create. What a sink answered, and what people did there, goes into the inbox as records; only then is it
forgotten here.
"""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from enum import StrEnum

import structlog
from msgspec import Struct, structs

from foreshock.core.contracts import Receipt, Sink, TicketChange, Verb
from foreshock.core.errors import Denied, Rejected, Unavailable
from foreshock.core.model import Moment, TicketState
from foreshock.service import carrying
from foreshock.store.outbox import Outbox, Pending, TicketRow

FIRST_BACKOFF_S = 1.0
MAX_BACKOFF_S = 300.0
MAX_RETRY_AFTER_S = 3600.0
BREAKER_FAILURES = 5
"""After so many failures in a row the lane makes one attempt per backoff period instead of one per ticket."""
DENIED_PROBE_S = 300.0
MAX_SURPRISES = 5
"""An order at which a sink fails in a way nobody foresaw becomes a dead letter after so many attempts."""
_BATCH = 100
LOOK = timedelta(seconds=1)

_log = structlog.get_logger()


# ---- decisions ------------------------------------------------------------------------------------------------------


class Step(StrEnum):
    """What comes next for an order. SEARCH: a create's answer was lost. SUPERSEDE: there is no record to change."""

    SEND = "send"
    SEARCH = "search"
    SUPERSEDE = "supersede"


def next_step(verb: Verb, ticket: TicketRow | None) -> Step:
    if ticket is not None and ticket.number:
        return Step.SEND
    if verb is not Verb.OPEN:
        return Step.SUPERSEDE
    lost = ticket is not None and ticket.state in (TicketState.SENDING, TicketState.UNKNOWN)
    return Step.SEARCH if lost else Step.SEND


def believed_at(ticket: TicketRow, index_delay: timedelta) -> datetime:
    """From when on "absent" means absent: a search may lag behind the create whose answer was lost."""
    return ticket.updated_at + index_delay


class Outcome(StrEnum):
    """How one attempt ended; the words of the metric. FOUND: a search found what a lost answer had created."""

    CONFIRMED = "confirmed"
    FOUND = "found"
    ABSENT = "absent"
    UNAVAILABLE = "unavailable"
    DENIED = "denied"
    REJECTED = "rejected"
    FAILED = "failed"
    SUPERSEDED = "superseded"


def outcome_of(error: Exception) -> Outcome:
    match error:
        case Unavailable():
            return Outcome.UNAVAILABLE
        case Denied():
            return Outcome.DENIED
        case Rejected():
            return Outcome.REJECTED
        case _:
            return Outcome.FAILED


def state_after(error: Exception, step: Step, ticket: TicketRow | None) -> TicketState:
    """How far the ticket's write has got after a call that failed. A request without effect leaves it as it was."""
    if step is Step.SEARCH:
        return TicketState.UNKNOWN
    if isinstance(error, Denied) or (isinstance(error, Unavailable) and error.unsent):
        return TicketState.CONFIRMED if ticket is not None and ticket.number else TicketState.PLANNED
    return TicketState.UNKNOWN


def backoff_s(failures: int, jitter: float, retry_after_s: float | None = None) -> float:
    """Seconds to wait: full jitter between 1 s and 5 min, at least what was asked for.

    Args:
        failures: in a row, from 1. jitter: 0..1, drawn evenly.
        retry_after_s: what the other side asked for; more than an hour counts as an hour.
    Source: Brooker, Exponential Backoff and Jitter, AWS Architecture Blog, 2015.
    """
    ceiling = min(MAX_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** min(failures, 32))
    return max(FIRST_BACKOFF_S, ceiling * jitter, min(retry_after_s or 0.0, MAX_RETRY_AFTER_S))


def _lies_ahead(moment: datetime, now: datetime) -> bool:
    """Whether to wait for it still. A clock that was set back must not make a wait longer than the longest."""
    return 0 < (moment - now).total_seconds() <= MAX_RETRY_AFTER_S


class Hold(StrEnum):
    """Why a lane makes no calls at present. BREAKER: too many failures in a row. ASKED: the sink named a time."""

    NONE = ""
    BREAKER = "breaker"
    ASKED = "asked"
    DENIED = "denied"


def hold_after(error: Exception, failures: int, jitter: float) -> tuple[Hold, float]:
    """Whether the lane pauses after ``failures`` failures in a row, and for how many seconds."""
    if isinstance(error, Denied):
        return Hold.DENIED, DENIED_PROBE_S
    if isinstance(error, Unavailable):
        if failures >= BREAKER_FAILURES:
            return Hold.BREAKER, backoff_s(failures, jitter, error.retry_after_s)
        if error.retry_after_s:
            return Hold.ASKED, backoff_s(failures, 0.0, error.retry_after_s)
    return Hold.NONE, 0.0


# ---- the lane -------------------------------------------------------------------------------------------------------


class LaneStatus(Struct, frozen=True, kw_only=True):
    """What an operator sees of a lane.

    Attributes:
        hold: why it makes no calls (breaker, asked, denied); empty while it works.
        error: of the last failure; empty after a success. since: when the failures began.
        resume_at: when the next attempt is made while held.
        failures: in a row.
    """

    sink: str
    running: bool
    hold: str
    error: str
    since: Moment | None
    resume_at: Moment | None
    failures: int


class Lane:
    """Everything between the outbox and one sink, in one thread.

    Args:
        report: appends a change to the inbox and returns when it is on disk; may raise, then it is called again later.
        index_delay: ``SinkKind.index_delay_s``.
        poll: how often people's changes are read; ``poke`` reads them at once.
        look: how often at least it looks whether there is something to deliver.
        jitter: draws evenly from 0..1.
        observe: called with (sink, outcome, seconds of the call) after each attempt.

    Attributes:
        counts: attempts by outcome since the start.
        changes_read: changes of people handed to ``report``.
        crashes: passes that ended in an error of the store or the inbox.
    """

    def __init__(
        self,
        name: str,
        sink: Sink,
        outbox: Outbox,
        report: Callable[[TicketChange], None],
        *,
        now: Callable[[], datetime],
        index_delay: timedelta = timedelta(0),
        poll: timedelta = LOOK,
        look: timedelta = LOOK,
        jitter: Callable[[], float] = random.random,
        observe: Callable[[str, str, float], None] | None = None,
    ) -> None:
        self.name = name
        self.counts: Counter[str] = Counter()
        self.changes_read = 0
        self.crashes = 0
        self._sink = sink
        self._outbox = outbox
        self._report = report
        self._now = now
        self._index_delay = index_delay
        self._poll = poll
        self._look = min(look, poll)
        self._jitter = jitter
        self._observe = observe
        self._cursor_name = f"changes:{name}"
        self._surprises: Counter[int] = Counter()
        self._failures = 0
        self._hold = Hold.NONE
        self._resume_at: datetime | None = None
        self._held_by_reading = False
        self._error = ""
        self._since: datetime | None = None
        self._read_failures = 0
        self._read_at: datetime | None = None
        self._clean = False
        self._poked = False
        self._crashed_in_a_row = 0
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    # ---- control ----

    def start(self) -> None:
        assert self._thread is None, "a lane starts once"
        # A daemon: a call that outlives ``stop`` must not keep the process; its row is found SENDING at the next start.
        self._thread = threading.Thread(target=self._run, name=f"delivery-{self.name}", daemon=True)
        self._thread.start()

    def stop(self, timeout: float) -> bool:
        """Let the running call finish, begin no other. True once the thread has ended; safe to repeat.

        With several lanes call it with 0 for all of them first, so that they drain side by side.
        """
        self._stopping.set()
        self._wake.set()
        if self._thread is None:
            return True
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def poke(self) -> None:
        """Something is there to deliver or to read: look now rather than at the next poll."""
        self._poked = True
        self._wake.set()

    def status(self) -> LaneStatus:
        return LaneStatus(
            sink=self.name,
            running=self._thread is not None and self._thread.is_alive(),
            hold=self._hold.value,
            error=self._error,
            since=self._since,
            resume_at=self._resume_at,
            failures=self._failures,
        )

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                wait_s = (self.work() - self._now()).total_seconds()
                self._crashed_in_a_row = 0
            except Exception as error:
                # The store or the inbox failed; the sink's failures never get here.
                self.crashes += 1
                self._crashed_in_a_row += 1
                if self._crashed_in_a_row == 1:
                    _log.error("delivery_interrupted", sink=self.name, error=str(error), exc_info=True)
                wait_s = backoff_s(self._crashed_in_a_row, self._jitter())
            self._wake.wait(max(0.0, wait_s))
            self._wake.clear()

    # ---- one pass ----

    def work(self) -> datetime:
        """Tell what is untold, deliver what is due, read what people did. Returns when to look again.

        Raises what the store or ``report`` raises; nothing is lost by it, the next call goes on.
        """
        if not self._clean:
            self._outbox.recover(self.name, self._now())
        self._clean = False
        self._tell()
        progress = False
        if not self._held():
            progress = self._deliver()
        poked, self._poked = self._poked, False
        if not self._held():
            self._read(poked=poked)
        self._clean = True
        return self._now() if progress else self._next_look()

    def _held(self) -> bool:
        if self._stopping.is_set():
            return True
        return self._resume_at is not None and _lies_ahead(self._resume_at, self._now())

    def _next_look(self) -> datetime:
        now = self._now()
        next_look = now + self._look
        if self._held():
            return next_look
        due = self._outbox.next_due(self.name)
        return max(now, min(moment for moment in (next_look, due, self._read_at) if moment is not None))

    def _tell(self) -> None:
        told: list[int] = []
        try:
            for change in self._outbox.untold(self.name):
                self._report(change)
                told.append(change.sequence)
        finally:
            if told:
                self._outbox.told(told)

    def _deliver(self) -> bool:
        """True if a row was settled, so that another one may be due."""
        told: list[int] = []
        settled = False
        try:
            for head in self._outbox.pending(self.name, self._now(), _BATCH):
                if self._held():
                    break
                change, done = self._carry(head)
                settled = settled or done
                if change is not None:
                    self._report(change)
                    told.append(change.sequence)
        finally:
            if told:
                self._outbox.told(told)
        return settled

    def _carry(self, head: Pending) -> tuple[TicketChange | None, bool]:
        """One attempt at one order: what there is to tell of it, and whether it is settled."""
        step = next_step(head.order.verb, head.ticket)
        if step is Step.SUPERSEDE:
            self._outbox.supersede(head, "the record it would change was never opened")
            self._count(Outcome.SUPERSEDED, 0.0)
            return None, True
        if step is Step.SEARCH:
            assert head.ticket is not None
            found = self._search(head)
            if isinstance(found, Exception):
                return self._fail(structs.replace(head, attempts=head.attempts + 1), found, Step.SEARCH)
            if found is not None and carrying.is_whole(head.order):
                return self._confirm(head, found), True
            believed = believed_at(head.ticket, self._index_delay)
            if found is None and self._now() < believed:
                self._outbox.retry(
                    head,
                    "its answer was lost and a search does not show it yet",
                    state=TicketState.UNKNOWN,
                    next_at=believed,
                    now=self._now(),
                    attempts=head.attempts,
                )
                return None, False
            if self._surprises[head.sequence] >= MAX_SURPRISES:
                return self._reject(head, f"{self.name} failed {MAX_SURPRISES} times: {head.ticket.error}"), True
        sent = self._outbox.begin(head, self._now())
        if sent is None:
            return None, False
        answer = self._send(sent)
        if isinstance(answer, Exception):
            return self._fail(sent, answer, Step.SEND)
        return self._confirm(sent, answer), True

    def _search(self, head: Pending) -> Receipt | Exception | None:
        started = time.perf_counter()
        try:
            found = carrying.find(self._sink, head.order)
        except Exception as error:
            self._count(outcome_of(error), time.perf_counter() - started)
            return error
        self._count(Outcome.ABSENT if found is None else Outcome.FOUND, time.perf_counter() - started)
        return found

    def _send(self, sent: Pending) -> Receipt | Exception:
        started = time.perf_counter()
        known = None if sent.ticket is None else sent.ticket.receipt
        try:
            receipt = carrying.deliver(self._sink, sent.order, known, self._outbox.ticket)
            if not receipt.number:
                raise Unavailable(f"{self.name} answered order {sent.order.id} without naming its record")
        except Exception as error:
            self._count(outcome_of(error), time.perf_counter() - started)
            return error
        self._count(Outcome.CONFIRMED, time.perf_counter() - started)
        return receipt

    def _confirm(self, row: Pending, receipt: Receipt) -> TicketChange:
        now = self._now()
        self._outbox.confirm(row, receipt, now)
        self._surprises.pop(row.sequence, None)
        self._recover(now)
        return TicketChange(
            sink=self.name,
            situation=row.order.situation,
            sequence=row.sequence,
            origin="write",
            state="confirmed",
            number=receipt.number,
            url=receipt.url,
        )

    def _fail(self, row: Pending, error: Exception, step: Step) -> tuple[TicketChange | None, bool]:
        now = self._now()
        outcome = outcome_of(error)
        message = str(error)
        if outcome is Outcome.FAILED and step is Step.SEND:
            message = f"{self.name} failed at order {row.order.id}: {type(error).__name__}: {error}"
            self._surprises[row.sequence] += 1
            _log.error("delivery_failed", sink=self.name, order=row.order.id, exc_info=error)
        if step is Step.SEND and outcome is Outcome.REJECTED:
            self._recover(now)  # it answers, so it is there
            return self._reject(row, message), True
        # A create may have worked although the sink stumbled over the answer: for that one, a search comes first.
        known = row.ticket is not None and row.ticket.number
        if step is Step.SEND and known and self._surprises[row.sequence] >= MAX_SURPRISES:
            return self._reject(row, message), True
        retry_after_s = error.retry_after_s if isinstance(error, Unavailable) else None
        wait_s = 0.0 if outcome is Outcome.DENIED else backoff_s(row.attempts, self._jitter(), retry_after_s)
        self._outbox.retry(
            row,
            message,
            state=state_after(error, step, row.ticket),
            next_at=now + timedelta(seconds=wait_s),
            now=now,
            attempts=row.attempts,
        )
        self._held_by_reading = False
        self._note_failure(error, message, now)
        return None, False

    def _reject(self, row: Pending, message: str) -> TicketChange:
        self._surprises.pop(row.sequence, None)
        self._outbox.reject(row, message, self._now())
        _log.error("order_rejected", sink=self.name, order=row.order.id, error=message)
        return TicketChange(
            sink=self.name,
            situation=row.order.situation,
            sequence=row.sequence,
            origin="write",
            state="rejected",
            number=row.ticket.number if row.ticket else "",
            url=row.ticket.url if row.ticket else "",
            comment=message,
        )

    # ---- outages ----

    def _note_failure(self, error: Exception, message: str, now: datetime) -> None:
        self._error = message
        self._since = self._since or now
        if isinstance(error, Unavailable | Denied):
            self._failures += 1
        hold, wait_s = hold_after(error, self._failures, self._jitter())
        if hold is Hold.NONE:
            return
        if self._hold is Hold.NONE:
            _log.warning("sink_held", sink=self.name, reason=hold.value, error=message)
        self._hold = hold
        self._resume_at = now + timedelta(seconds=wait_s)

    def _recover(self, now: datetime) -> None:
        """A sink that answers is well again: what waits out its own backoff is due at once.

        Reading ends only a hold that reading began: an account may be allowed to read and not to write.
        """
        if self._hold is not Hold.NONE:
            assert self._since is not None
            _log.info("sink_back", sink=self.name, after_s=round((now - self._since).total_seconds(), 1))
            self._outbox.hasten(self.name, now)
        self._failures = 0
        self._hold = Hold.NONE
        self._held_by_reading = False
        self._resume_at = None
        self._error = ""
        self._since = None

    # ---- what people did there ----

    def _read(self, *, poked: bool) -> None:
        now = self._now()
        early = self._read_at is not None and _lies_ahead(self._read_at, now)
        if early and not (poked and not self._read_failures):
            return
        last = seen = self._outbox.cursor(self._cursor_name)
        try:
            changes = self._sink.changes(seen)
        except Exception as error:
            self._read_failures += 1
            retry_after_s = error.retry_after_s if isinstance(error, Unavailable) else None
            wait_s = backoff_s(self._read_failures, self._jitter(), retry_after_s)
            self._read_at = self._now() + timedelta(seconds=wait_s)
            self._count(outcome_of(error), 0.0)
            if self._read_failures == 1:
                _log.warning("sink_changes_unread", sink=self.name, error=str(error))
            if isinstance(error, Denied) or (isinstance(error, Unavailable) and error.retry_after_s):
                self._held_by_reading = self._hold is Hold.NONE or self._held_by_reading
                self._note_failure(error, str(error), self._now())
            return
        if self._read_failures:
            _log.info("sink_changes_read_again", sink=self.name)
        if self._held_by_reading:
            self._recover(now)
        self._read_failures = 0
        self._read_at = now + self._poll
        try:
            for change in changes:
                self._report(structs.replace(change, sink=self.name, origin="read"))
                self.changes_read += 1
                last = change.sequence
        finally:
            if last > seen:
                self._outbox.advance(self._cursor_name, last)
                self._read_at = now  # there may be more behind a full page

    def _count(self, outcome: Outcome, seconds: float) -> None:
        self.counts[outcome.value] += 1
        if self._observe is not None:
            self._observe(self.name, outcome.value, seconds)
