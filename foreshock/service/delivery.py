"""Carries the outbox to the sinks: one lane per sink, so that one which is down or slow delays no other.

The answer to a write can get lost after the sink carried it out. So the ticket is SENDING on disk before the call,
UNKNOWN when no answer came (or when Foreshock died waiting for it), and from UNKNOWN a search by our key comes before
another create. What a sink answered, and what people did there, goes into the inbox as records; only then is it
forgotten here.

In a lane one thread decides and writes, several make the calls, and one reads what people did. The calls of a situation
all go through one connection, one after the other. What came back and what is sent next share a transaction, so the
price of a sync is paid once for all calls that ended meanwhile.
"""

import random
import threading
import time
import zlib
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial
from queue import Empty, SimpleQueue

import structlog
from msgspec import Struct, structs

from foreshock.connect.calls import Made
from foreshock.core.contracts import Receipt, Sink, TicketChange, Verb
from foreshock.core.errors import Denied, Fenced, Rejected, Unavailable
from foreshock.core.model import Moment, TicketState
from foreshock.service import carrying
from foreshock.service.breaker import MAX_RETRY_AFTER_S, Breaker, Hold, News, backoff_s, denied_s, lies_ahead
from foreshock.service.heard import Heard
from foreshock.service.rate import Rate
from foreshock.store.outbox import NEVER_OPENED, Outbox, Pending, TicketRow, Turn

MAX_SURPRISES = 5
"""An order at which a sink fails in a way nobody foresaw becomes a dead letter after so many attempts."""
TROUBLE = 5
"""An order that failed so often while the sink carries out others is told of in the log, once."""
HASTEN_EVERY = timedelta(seconds=30)
STALE = timedelta(seconds=5)
"""A call that is so late is not made: the process was stopped in between, and another may have gone on in its place."""
LOOK = timedelta(seconds=1)
_BATCH = 100
"""Orders taken from the outbox at a time, for each connection."""

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
    """From when on "absent" means absent: a search may lag behind the create whose answer was lost.

    Args: ticket: UNKNOWN, so ``updated_at`` is when the lost call had certainly ended.
    """
    return ticket.updated_at + index_delay


def ended_at(error: Exception, now: datetime, patience: timedelta) -> datetime:
    """When a call that failed has certainly ended in the system: it may be at work on it although we no longer wait."""
    answered = isinstance(error, Unavailable) and error.answered
    return now if answered else now + patience


def connection_of(situation: str, connections: int) -> int:
    """The same one for a situation always, so that what a sink remembers of its record is at hand."""
    return zlib.crc32(situation.encode()) % connections


class Outcome(StrEnum):
    """How one attempt ended; the words of the metric. FOUND: a search found what a lost answer had created. LATE: the
    order had been taken over meanwhile, so nothing was written of it."""

    CONFIRMED = "confirmed"
    FOUND = "found"
    ABSENT = "absent"
    UNAVAILABLE = "unavailable"
    DENIED = "denied"
    REJECTED = "rejected"
    FAILED = "failed"
    SUPERSEDED = "superseded"
    LATE = "late"


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


def state_after(error: Exception, step: Step, ticket: TicketRow | None, made: Sequence[Made] = ()) -> TicketState:
    """How far the ticket's write has got after an attempt that failed. One without effect leaves it as it was.

    Args: made: its calls, empty where the sink does not say.
    """
    if step is Step.SEARCH or carrying.may_be_done(made, error):
        return TicketState.UNKNOWN
    return TicketState.CONFIRMED if ticket is not None and ticket.number else TicketState.PLANNED


# ---- the lane -------------------------------------------------------------------------------------------------------


class LaneStatus(Struct, frozen=True, kw_only=True):
    """What an operator sees of a lane.

    Attributes:
        connections: how many calls it makes at a time. calls: how many are being made.
        hold: why it makes no calls (breaker, asked, denied, rate, fenced); empty while it works.
        error: of the last failure; empty after a success. since: when the outage began.
        resume_at: when the next attempt is made while held.
        failures: in a row.
        unread: why what people did cannot be read; empty while it can.
    """

    sink: str
    running: bool
    connections: int
    calls: int
    hold: str
    error: str
    since: Moment | None
    resume_at: Moment | None
    failures: int
    unread: str


class Call(Struct, frozen=True, kw_only=True):
    """One attempt at an order: one call to a sink, which may make several to its system. connection: which. stamp: of
    the breaker. began: when it was committed."""

    connection: int
    row: Pending
    step: Step
    stamp: int
    began: datetime


class Result(Struct, frozen=True, kw_only=True):
    """made: what became of the calls to the system. answer: None where a search found nothing."""

    call: Call
    made: tuple[Made, ...]
    answer: Receipt | Exception | None
    seconds: float


class Settled(Struct, frozen=True, kw_only=True):
    """What became of a call, before it is on disk.

    Attributes:
        write: does so; False where the order had been taken over.
        change: what the inbox hears then.
    """

    situation: str
    write: Callable[[Turn], bool]
    change: TicketChange | None = None


class Lane:
    """Everything between the outbox and one sink.

    Before ``start`` (in tests) ``work`` makes the calls itself, one after the other.

    Args:
        sink: the first connection; alone it serves all threads, so it must be fit for them.
        more: further connections.
        made: of each connection the list that its calls to the system are appended to; without it an attempt counts as
            one call. reader: reads what people did; ``sink`` where it is left out.
        report: appends a change to the inbox and returns when it is on disk; may raise, then it is called again later.
        index_delay: ``SinkKind.index_delay_s``.
        patience: how long the system may be at work on a call that nobody waits for any more.
        poll: how often people's changes are read; ``poke`` reads them at once.
        settle: how old a change must be to be read.
        look: how often at least it looks whether there is something to deliver.
        jitter: draws evenly from 0..1.
        rate: what is left of the calls that the system allows all connections together.
        observe: called with (sink, outcome, seconds of the call) after each attempt.
        on_fenced: called when another process turns out to deliver to this sink; this lane has ended then.

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
        more: Sequence[Sink] = (),
        made: Sequence[list[Made]] = (),
        reader: Sink | None = None,
        index_delay: timedelta = timedelta(0),
        patience: timedelta = timedelta(0),
        poll: timedelta = LOOK,
        settle: timedelta = timedelta(0),
        look: timedelta = LOOK,
        jitter: Callable[[], float] = random.random,
        rate: Rate | None = None,
        observe: Callable[[str, str, float], None] | None = None,
        on_fenced: Callable[[Exception], None] = lambda error: None,
    ) -> None:
        self.name = name
        self.counts: Counter[str] = Counter()
        self.changes_read = 0
        self.crashes = 0
        self._sinks = (sink, *more)
        self._made = made or [[] for _ in self._sinks]
        self._reader = reader or sink
        self._outbox = outbox
        self._report = report
        self._now = now
        self._index_delay, self._patience = index_delay, patience
        self._poll = poll
        self._look = min(look, poll)
        self._jitter = jitter
        self._rate = rate
        self._observe = observe
        self._on_fenced = on_fenced
        # Of the thread that decides.
        self._lease: int | None = None
        self._ready: defaultdict[int, deque[Pending]] = defaultdict(deque)
        self._all_ready = True
        self._searched: dict[int, Pending] = {}
        self._calls: dict[int, Call] = {}
        self._settled: list[Settled] = []
        self._untold: list[TicketChange] = []
        self._told: list[int] = []
        self._pauses: dict[int, datetime] = {}
        self._surprises: Counter[int] = Counter()
        self._waiting = False
        self._hasten_at: datetime | None = None
        # Of all of them.
        self._lock = threading.Lock()
        self._breaker = Breaker(jitter)
        self._fenced = False
        self._results: SimpleQueue[Result] = SimpleQueue()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._orders: list[SimpleQueue[Call | None]] = []
        self._tellers: ThreadPoolExecutor | None = None
        # Of the thread that reads.
        self._cursor_name = f"changes:{name}"
        self._unread = ""
        self._read_failures = 0
        self._read_at: datetime | None = None
        self._heard = Heard(settle)
        self._read_now = False
        self._poked = threading.Event()

    # ---- control ----

    def start(self) -> None:
        assert not self._threads, "a lane starts once"
        # Daemons: a call that outlives ``stop`` must not keep the process; its row is found SENDING at the next start.
        self._thread("", self._run)
        for number, sink in enumerate(self._sinks):
            orders: SimpleQueue[Call | None] = SimpleQueue()
            self._orders.append(orders)
            self._thread(f"-{number + 1}", partial(self._make_calls, sink, orders))
        self._thread("-reading", self._keep_reading)
        if len(self._sinks) > 1:
            self._tellers = ThreadPoolExecutor(len(self._sinks), thread_name_prefix=f"delivery-{self.name}-telling")
        for thread in self._threads:
            thread.start()

    def _thread(self, suffix: str, work: Callable[[], None]) -> None:
        self._threads.append(threading.Thread(target=work, name=f"delivery-{self.name}{suffix}", daemon=True))

    def stop(self, timeout: float) -> bool:
        """Let the running calls finish, begin no other. True once they have ended; safe to repeat.

        With several lanes call it with 0 for all of them first, so that they drain side by side.
        """
        self._stopping.set()
        self._wake.set()
        self._poked.set()
        if not self._threads:
            return True
        self._threads[0].join(timeout)
        return not self._threads[0].is_alive()

    def wake(self) -> None:
        """There may be something to deliver: look now rather than at the next look."""
        self._wake.set()

    def poke(self) -> None:
        """There may be something to deliver, and something that people did to read: look now."""
        self._read_now = True
        self._poked.set()
        self._wake.set()

    def hear(self) -> None:
        """The system itself says that somebody did something there just now: read it when that has settled."""
        self._heard.hear(self._now())
        self._poked.set()

    def status(self) -> LaneStatus:
        scarce_until = self._scarce_until(self._now())
        with self._lock:
            breaker = self._breaker
            hold = breaker.hold.value or ("rate" if scarce_until else "")
            return LaneStatus(
                sink=self.name,
                running=bool(self._threads) and self._threads[0].is_alive(),
                connections=len(self._sinks),
                calls=len(self._calls),
                hold="fenced" if self._fenced else hold,
                error=breaker.error,
                since=breaker.since,
                resume_at=breaker.resume_at or scarce_until,
                failures=breaker.failures,
                unread=self._unread,
            )

    def _run(self) -> None:
        crashed = 0
        while not self._fenced and not (self._stopping.is_set() and self._is_done()):
            try:
                wait_s = (self.work() - self._now()).total_seconds()
                crashed = 0
            except Fenced as error:
                self._step_aside(error)
                break
            except Exception as error:
                # The store or the inbox failed; the sink's failures never get here.
                self.crashes += 1
                crashed += 1
                if self._stopping.is_set():
                    break
                if crashed == 1:
                    _log.error("delivery_interrupted", sink=self.name, error=str(error), exc_info=True)
                wait_s = backoff_s(crashed, self._jitter())
            self._wake.wait(max(0.0, wait_s))
            self._wake.clear()
        for orders in self._orders:
            orders.put(None)
        if self._tellers is not None:
            self._tellers.shutdown(wait=False)

    def _is_done(self) -> bool:
        return not (self._calls or self._settled or self._untold or self._told) and self._results.empty()

    def _step_aside(self, error: Fenced) -> None:
        self._fenced = True
        self._stopping.set()
        self._poked.set()
        _log.error("delivery_fenced", sink=self.name, error=str(error))
        self._on_fenced(error)

    # ---- one pass ----

    def work(self) -> datetime:
        """Settle what came back, send what is due, tell what is untold. Returns when to look again.

        Raises what the store or ``report`` raises; nothing is lost by it, the next call goes on. Raises Fenced where
        another process took over.
        """
        if self._lease is None:
            self._take_over()
        progress = self._step()
        if not self._threads:
            while progress:
                progress = self._step()
            self._read()
        return self._now() if progress else self._next_look()

    def _step(self) -> bool:
        """Whether there is more to do at once."""
        self._collect()
        self._look_at_breaker()
        moved = self._turn()
        self._tell()
        return moved or bool(self._told) or not self._results.empty()

    def _take_over(self) -> None:
        lease = self._outbox.take_over(self.name, self._now(), self._patience)
        while changes := self._outbox.untold(self.name):
            told: list[int] = []
            try:
                for change in changes:
                    self._report(change)
                    told.append(change.sequence)
            finally:
                with self._outbox.turn(self.name, lease, self._now()) as turn:
                    turn.told(told)
        self._lease = lease

    def _next_look(self) -> datetime:
        now = self._now()
        with self._lock:
            resume_at = self._breaker.resume_at if self._breaker.held(now) else self._scarce_until(now)
        if resume_at is not None:
            return min(now + self._look, resume_at)
        self._pauses = {number: until for number, until in self._pauses.items() if lies_ahead(until, now)}
        if self._pauses:
            return min(now + self._look, *self._pauses.values())
        due = None if self._calls else self._outbox.next_due(self.name)
        read_at = None if self._threads else self._next_reading()
        return max(now, min(moment for moment in (now + self._look, due, read_at) if moment is not None))

    def _tell(self) -> None:
        """All at once, so that they share a sync; they are of different situations. Raises the first failure."""
        untold, self._untold = self._untold, []
        together = map if self._tellers is None or len(untold) < 2 else self._tellers.map
        failures = []
        for change, failure in zip(untold, together(self._try_to_tell, untold), strict=True):
            if failure is None:
                self._told.append(change.sequence)
            else:
                self._untold.append(change)
                failures.append(failure)
        if failures:
            raise failures[0]

    def _try_to_tell(self, change: TicketChange) -> Exception | None:
        try:
            self._report(change)
        except Exception as error:
            return error
        return None

    # ---- what is sent ----

    def _turn(self) -> bool:
        """One transaction: what came back, what the inbox knows, and what is sent next. True if there was any."""
        now = self._now()
        heads = list(self._heads(now))
        hasten = self._waiting and self._hasten_at is not None and not lies_ahead(self._hasten_at, now)
        settled = self._settled
        if not (heads or settled or self._told or hasten):
            return False
        assert self._lease is not None
        calls: list[Call] = []
        ours: list[bool] = []
        superseded = 0
        stamp = self._breaker.period
        try:
            with self._outbox.turn(self.name, self._lease, now) as turn:
                if self._told:
                    turn.told(self._told)
                ours = [each.write(turn) for each in settled]
                if hasten:
                    turn.hasten()
                for step, head in heads:
                    row: Pending | None = head
                    if step is Step.SUPERSEDE:
                        superseded += turn.supersede(head, NEVER_OPENED)
                        continue
                    if step is Step.SEND:
                        row = turn.begin(head)
                    if row is not None:
                        number = connection_of(head.order.situation, len(self._sinks))
                        calls.append(Call(connection=number, row=row, step=step, stamp=stamp, began=now))
        except BaseException:
            self._forget_ready()
            raise
        self._untold.extend(each.change for each, mine in zip(settled, ours, strict=True) if each.change and mine)
        self._count(Outcome.LATE, 0.0, ours.count(False))
        self._count(Outcome.SUPERSEDED, 0.0, superseded)
        self._settled, self._told = [], []
        if hasten:
            self._waiting, self._hasten_at = False, None
        self._make(calls)
        return bool(heads or settled)

    def _make(self, calls: Sequence[Call]) -> None:
        for call in calls:
            self._calls[call.connection] = call
        for call in calls:
            if self._threads:
                self._orders[call.connection].put(call)
            else:
                self._results.put(self._ask(self._sinks[call.connection], call))

    def _heads(self, now: datetime) -> Iterator[tuple[Step, Pending]]:
        """What is sent now, one order for each idle connection; only one where the breaker lets a probe through."""
        if self._stopping.is_set() or self._untold:
            return
        with self._lock:
            held, hold, period = self._breaker.held(now), self._breaker.hold, self._breaker.period
        probing = hold is not Hold.NONE and any(call.stamp == period for call in self._calls.values())
        if held or probing or self._scarce_until(now):
            return
        idle = [number for number in range(len(self._sinks)) if number not in self._calls]
        idle = [number for number in idle if not lies_ahead(self._pauses.get(number, now), now)]
        self._refill(idle, now)
        if hold is not Hold.NONE:  # an order that never failed tells most about the sink
            waiting = [self._ready[number][0] for number in idle if self._ready[number]]
            probe = min(waiting, key=lambda head: (head.attempts, head.sequence), default=None)
            idle = [] if probe is None else [connection_of(probe.order.situation, len(self._sinks))]
        for number in idle:
            if number in self._searched:
                yield Step.SEND, self._searched.pop(number)
            elif self._ready[number]:
                head = self._ready[number].popleft()
                yield next_step(head.order.verb, head.ticket), head

    def _refill(self, idle: Sequence[int], now: datetime) -> None:
        """Look into the outbox where a connection would have nothing to do. With a long backlog looking is not cheap:
        then only when half of what was taken is used up."""
        limit = _BATCH * len(self._sinks)
        if all(self._ready[number] or number in self._searched for number in idle):
            return
        if not self._all_ready and sum(map(len, self._ready.values())) > limit // 2:
            return
        found = self._outbox.pending(self.name, now, limit)
        self._all_ready = len(found) < limit
        self._ready.clear()
        taken = {call.row.order.situation for call in self._calls.values()}
        taken |= {row.order.situation for row in self._searched.values()}
        taken |= {each.situation for each in self._settled}  # of which the outbox does not know yet
        for head in found:
            if head.order.situation not in taken:
                self._ready[connection_of(head.order.situation, len(self._sinks))].append(head)

    def _scarce_until(self, now: datetime) -> datetime | None:
        return None if self._rate is None else self._rate.until(now)

    def _forget_ready(self) -> None:
        """Look at the outbox anew: the lane is held, or a transaction failed."""
        self._ready.clear()
        self._all_ready = True
        self._searched.clear()

    # ---- calls ----

    def _make_calls(self, sink: Sink, orders: "SimpleQueue[Call | None]") -> None:
        while (call := orders.get()) is not None:
            self._results.put(self._ask(sink, call))
            self._wake.set()

    def _ask(self, sink: Sink, call: Call) -> Result:
        started = time.perf_counter()
        row, made = call.row, self._made[call.connection]
        made.clear()
        answer: Receipt | Exception | None
        try:
            if self._now() - call.began > STALE:
                raise Unavailable("the process was suspended before the call", unsent=True)
            if call.step is Step.SEARCH:
                answer = carrying.find(sink, row.order)
            else:
                known = None if row.ticket is None else row.ticket.receipt
                answer = carrying.deliver(sink, row.order, known, self._outbox.ticket)
                if not answer.number:
                    raise Unavailable(f"{self.name} answered order {row.order.id} without naming its record")
        except Exception as error:
            answer = error
        return Result(call=call, made=tuple(made), answer=answer, seconds=time.perf_counter() - started)

    def _collect(self) -> None:
        """What became of the calls that ended; what there is to write of them waits for the next transaction."""
        while True:
            try:
                result = self._results.get_nowait()
            except Empty:
                return
            del self._calls[result.call.connection]
            self._note(result)
            settled = self._outcome(result)
            if settled is not None:
                self._settled.append(settled)

    def _note(self, result: Result) -> None:
        """Tell the breaker, the counters and the log."""
        call, answer, now = result.call, result.answer, self._now()
        self._count(_outcome_word(call.step, answer), result.seconds)
        with self._lock:
            held, outcomes = self._breaker.hold, carrying.outcomes(result.made, answer)
            news = self._breaker.heard(call.row.order.situation, outcomes, now, call.stamp)
            if isinstance(answer, Unavailable | Denied):
                self._pauses[call.connection] = now + self._breaker.pause
            if held is not Hold.NONE and self._breaker.hold is Hold.NONE:
                self._waiting, self._hasten_at = True, now
        self._tell_log(news, now)
        if self._breaker.hold is not Hold.NONE:
            self._forget_ready()

    def _tell_log(self, news: News, now: datetime) -> None:
        breaker = self._breaker
        if news is News.BEGAN:
            _log.warning("sink_held", sink=self.name, reason=breaker.hold.value, error=breaker.error)
        elif news is News.ENDED:
            _log.info("sink_back", sink=self.name, after_s=round(breaker.lasted_s, 1))

    def _look_at_breaker(self) -> None:
        now = self._now()
        with self._lock:
            news = self._breaker.look(now)
        self._tell_log(news, now)

    # ---- outcomes ----

    def _outcome(self, result: Result) -> Settled | None:
        """What to write of a call; None where nothing is settled yet."""
        row, answer = result.call.row, result.answer
        if isinstance(answer, Exception):
            return self._failed(result, answer)
        if answer is None:
            return self._not_there(result)
        if self._waiting and self._hasten_at is None:
            self._hasten_at = self._now() + HASTEN_EVERY
        if result.call.step is Step.SEARCH and not carrying.is_whole(row.order):
            return self._send_anew(result)
        self._surprises.pop(row.sequence, None)
        receipt = answer
        return Settled(
            situation=row.order.situation,
            write=lambda turn: turn.confirm(row, receipt),
            change=self._change(row, "confirmed", receipt.number, receipt.url),
        )

    def _not_there(self, result: Result) -> Settled | None:
        now, row = self._now(), result.call.row
        assert row.ticket is not None
        believed, latest = believed_at(row.ticket, self._index_delay), now + self._patience + self._index_delay
        if now < believed:
            error = "its answer was lost and a search does not show it yet"
            if believed <= latest:
                return self._again(row, error, TicketState.UNKNOWN, believed, row.attempts)
            ended = now + self._patience  # the clock was set back meanwhile
            return self._again(row, error, TicketState.UNKNOWN, latest, row.attempts, ended)
        return self._send_anew(result)

    def _send_anew(self, result: Result) -> Settled | None:
        """A search came before, so it may be sent again."""
        row = result.call.row
        if row.ticket is not None and self._surprises[row.sequence] >= MAX_SURPRISES:
            return self._reject(row, f"{self.name} failed {MAX_SURPRISES} times: {row.ticket.error}")
        self._searched[result.call.connection] = row
        return None

    def _failed(self, result: Result, error: Exception) -> Settled:
        now, row, step = self._now(), result.call.row, result.call.step
        outcome, message = outcome_of(error), str(error)
        if outcome is Outcome.FAILED and step is Step.SEND:
            message = f"{self.name} failed at order {row.order.id}: {type(error).__name__}: {error}"
            self._surprises[row.sequence] += 1
            _log.error("delivery_failed", sink=self.name, order=row.order.id, exc_info=error)
        if step is Step.SEND and outcome is Outcome.REJECTED:
            return self._reject(row, message)
        # A create may have worked although the sink stumbled over the answer: for that one, a search comes first.
        known = row.ticket is not None and row.ticket.number
        if step is Step.SEND and known and self._surprises[row.sequence] >= MAX_SURPRISES:
            return self._reject(row, message)
        attempts = row.attempts + (step is Step.SEARCH)
        retry_after_s = error.retry_after_s if isinstance(error, Unavailable) else None
        wait_s = 0.0 if outcome is Outcome.DENIED else backoff_s(attempts, self._jitter(), retry_after_s)
        if attempts == TROUBLE and self._breaker.since is None:
            _log.warning("order_delayed", sink=self.name, order=row.order.id, attempts=attempts, error=message)
        state, next_at = state_after(error, step, row.ticket, result.made), now + timedelta(seconds=wait_s)
        lost = step is Step.SEND and state is TicketState.UNKNOWN
        ended = ended_at(error, now, self._patience) if lost else None
        return self._again(row, message, state, next_at, attempts, ended)

    def _again(
        self,
        row: Pending,
        error: str,
        state: TicketState,
        next_at: datetime,
        attempts: int,
        ended: datetime | None = None,
    ) -> Settled:
        self._waiting = True
        return Settled(
            situation=row.order.situation,
            write=lambda turn: turn.retry(row, error, state=state, next_at=next_at, attempts=attempts, ended_at=ended),
        )

    def _reject(self, row: Pending, message: str) -> Settled:
        self._surprises.pop(row.sequence, None)
        _log.error("order_rejected", sink=self.name, order=row.order.id, error=message)
        number, url = (row.ticket.number, row.ticket.url) if row.ticket else ("", "")
        return Settled(
            situation=row.order.situation,
            write=lambda turn: turn.reject(row, message),
            change=self._change(row, "rejected", number, url, message),
        )

    def _change(self, row: Pending, state: str, number: str, url: str, comment: str = "") -> TicketChange:
        return TicketChange(
            sink=self.name,
            situation=row.order.situation,
            sequence=row.sequence,
            origin="write",
            state=state,
            number=number,
            url=url,
            comment=comment,
        )

    # ---- what people did there ----

    def _keep_reading(self) -> None:
        crashed = 0
        while not self._stopping.is_set():
            try:
                self._read()
                crashed, wait_s = 0, self._until_reading_s()
            except Exception as error:
                if self._stopping.is_set():
                    return
                self.crashes += 1
                crashed += 1
                if crashed == 1:
                    _log.error("reading_interrupted", sink=self.name, error=str(error), exc_info=True)
                wait_s = backoff_s(crashed, self._jitter())
            self._poked.wait(max(0.0, wait_s))

    def _until_reading_s(self) -> float:
        now = self._now()
        read_at = self._next_reading()
        ahead_s = 0.0 if read_at is None else (read_at - now).total_seconds()
        with self._lock:
            return max(ahead_s, self._look.total_seconds() if self._breaker.held(now) else 0.0)

    def _next_reading(self) -> datetime | None:
        """None: at once. What was heard of does not shorten the wait after a failure."""
        heard = None if self._read_failures else self._heard.due()
        return self._read_at if heard is None or self._read_at is None else min(self._read_at, heard)

    def _read(self) -> None:
        """Read what is new, if it is time. The lane's hold is kept: it is the account's, or the system's."""
        now = self._now()
        self._poked.clear()
        poked, self._read_now = self._read_now, False
        with self._lock:
            held = self._breaker.held(now)
        read_at = self._next_reading()
        early = read_at is not None and lies_ahead(read_at, now, max(MAX_RETRY_AFTER_S, self._poll.total_seconds()))
        if held or self._stopping.is_set() or (early and not (poked and not self._read_failures)):
            return
        last = seen = self._outbox.cursor(self._cursor_name)
        try:
            changes = self._reader.changes(seen)
        except Exception as error:
            self._could_not_read(error)
            return
        if self._read_failures:
            _log.info("sink_changes_read_again", sink=self.name)
        self._read_failures, self._unread = 0, ""
        self._read_at = now + self._poll
        self._heard.read(now)
        try:
            for change in changes:
                self._report(structs.replace(change, sink=self.name, origin="read"))
                self.changes_read += 1
                last = change.sequence
        finally:
            if last > seen:
                self._outbox.advance(self._cursor_name, last)
                self._read_at = now  # there may be more behind a full page

    def _could_not_read(self, error: Exception) -> None:
        """An account may be allowed to write and not to read, so only what the system asked for is asked of both."""
        now = self._now()
        self._read_failures += 1
        self._unread = str(error)
        asked_s = error.retry_after_s if isinstance(error, Unavailable) else None
        wait_s = backoff_s(self._read_failures, self._jitter(), asked_s)
        if isinstance(error, Denied):
            wait_s = denied_s(self._read_failures, self._jitter())
        self._read_at = now + timedelta(seconds=wait_s)
        self._count(outcome_of(error), 0.0)
        if self._read_failures == 1:
            _log.warning("sink_changes_unread", sink=self.name, error=self._unread)
        if asked_s:
            with self._lock:
                news = self._breaker.heard("", [error], now, self._breaker.period)
            self._tell_log(news, now)

    def _count(self, outcome: Outcome, seconds: float, times: int = 1) -> None:
        if not times:
            return
        with self._lock:
            self.counts[outcome.value] += times
        if self._observe is not None:
            self._observe(self.name, outcome.value, seconds)


def _outcome_word(step: Step, answer: Receipt | Exception | None) -> Outcome:
    if isinstance(answer, Exception):
        return outcome_of(answer)
    if answer is None:
        return Outcome.ABSENT
    return Outcome.FOUND if step is Step.SEARCH else Outcome.CONFIRMED
