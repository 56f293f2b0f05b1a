"""Drives the engine: reads records in order, commits what a step decided, restores its state after a stop of any
kind."""

import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import structlog

from foreshock.core.contracts import Items, Record, SituationRow, Step
from foreshock.core.errors import Fenced, Unavailable
from foreshock.core.model import Situation, SituationState
from foreshock.service.engine import Effects, Engine
from foreshock.service.inbox import Inbox
from foreshock.service.saving import Saver
from foreshock.store.journal import Journal

log = structlog.get_logger("engine")

Given = tuple[Record, Items | None]
"""A record with its decoded items, where the intake has them still."""

_STEP_RECORDS = 128
_STEP_BYTES = 4 * 1024 * 1024
"""A step of the largest batches is a few of them: questions wait for a step, and so does the next commit."""
_STEP_S = 0.15
"""A step takes no further record after so long: where each alert is new that is a few records, else all of them."""
_STEP_PAUSE_S = 0.005
"""Between steps under load: questions get their turn at the engine, and the next step has more to share one
commit."""
_CHECKPOINT_ITEMS = 500
"""Enough for a checkpoint before its time: what is encoded at once, while alerts and questions wait, takes some
milliseconds."""
_SAVING_SHARE = 0.01
"""Of the engine's time, at most: where everything changes all the time, as with re-sends, checkpoints are larger and
fewer."""
_MANY_ITEMS, _SAVING_SHARE_OF_MANY = 10_000, 0.03
"""So much is not left to grow for long: it is encoded at one moment, and stays in memory until it is written."""
_CHECKPOINT_S = 60.0
_CHECKPOINT_RECORDS = 500
"""A start that had to read more records than this again saves its state at once: the next crash may come soon."""
_RETRY_S = 1.0


class Runner:
    """Owns the engine's thread. ``position`` is the newest record whose effects are on disk.

    The state in memory is saved as a checkpoint now and then; between checkpoints only effects are written. After a
    crash
    the records since the checkpoint are read again with their effects, which are on disk already, thrown away: the
        engine
    is a function of its records, so it arrives at the same state to the byte.
    """

    def __init__(
        self,
        engine: Engine,
        journal: Journal,
        on_orders: Callable[[], None],
        on_fatal: Callable[[Exception], None],
        on_reflected: Callable[[Sequence[Given]], None] = lambda records: None,
    ) -> None:
        self.engine, self._journal = engine, journal
        self._on_orders, self._on_fatal, self._on_reflected = on_orders, on_fatal, on_reflected
        self._saver = Saver(engine)
        self.position = 0
        self.steps = 0
        self.busy_s = 0.0
        self._saved_at = time.monotonic()
        self._saving_s = 0.0  # CPU of the last checkpoint so far
        self._lock = threading.RLock()
        self._moved = threading.Condition()
        self._stopping = False
        self._inbox: Inbox | None = None
        self._ahead: Sequence[Given] = ()  # taken from the inbox, and left for the next step
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def restore(self) -> int:
        """Bring the engine to the position on disk; the number of records it had to read again."""
        position, checkpoint = self._journal.position()
        self.engine.restore(self._saver.read(self._journal.blocks()))
        at = checkpoint
        while at < position:
            records = self._journal.records(at, limit=_STEP_RECORDS, upto=position, max_bytes=_STEP_BYTES)
            if not records:
                raise Unavailable(
                    f"records {at + 1} to {position} are missing from the inbox",
                    hint="restore the store from a backup: its state cannot be rebuilt",
                )
            self.engine.step((record, None) for record in records)
            at = records[-1].number
        self.position = position
        if position - checkpoint > _CHECKPOINT_RECORDS:
            self._saved_at = -math.inf
        return position - checkpoint

    def start(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self._thread.start()

    def stop(self) -> None:
        """Finish what is in the inbox, save the state, end."""
        self._stopping = True
        if self._inbox is not None:
            self._inbox.wake()
        if self._thread.is_alive():
            self._thread.join()

    @contextmanager
    def looking(self) -> Iterator[Engine]:
        """The engine between two steps, for reading."""
        with self._lock:
            yield self.engine

    def caught_up(self, number: int, timeout_s: float = 10.0) -> bool:
        """Wait until record ``number`` is reflected; false if that took too long."""
        with self._moved:
            return self._moved.wait_for(lambda: self.position >= number, timeout_s)

    @property
    def lag(self) -> int:
        """Records on disk that are not reflected yet."""
        return 0 if self._inbox is None else max(0, self._inbox.last - self.position)

    def _run(self) -> None:
        assert self._inbox is not None
        try:
            while True:
                records = self._ahead or self._inbox.take(self.position, _STEP_RECORDS, _STEP_BYTES)
                if records:
                    began = time.perf_counter()
                    read: list[Given] = []
                    with self._lock:
                        effects = self.engine.step(_in_time(records, read))
                        self._commit(effects, read[-1][0].number)
                    self._ahead = records[len(read) :]
                    self.busy_s += time.perf_counter() - began
                    self._on_reflected(read)
                    if effects.orders or effects.problem_orders:
                        self._on_orders()
                    time.sleep(_STEP_PAUSE_S)
                    continue
                if self._stopping and self._inbox.last <= self.position:
                    with self._lock:
                        self._save_all()
                    return
                if self._saver.busy or self._is_time_to_save():
                    with self._lock:
                        self._commit(Effects(), self.position)
                    continue
                self._inbox.wait(1.0)
        except Exception as error:
            if not isinstance(error, Fenced):
                log.exception("the engine stopped")
            self._on_fatal(error)

    def _is_time_to_save(self) -> bool:
        unsaved, since_s = self.engine.unsaved, time.monotonic() - self._saved_at
        if unsaved >= _CHECKPOINT_ITEMS:
            return since_s > self._saving_s / (_SAVING_SHARE if unsaved < _MANY_ITEMS else _SAVING_SHARE_OF_MANY)
        return unsaved > 0 and since_s > _CHECKPOINT_S

    def _save_all(self) -> None:
        """Finish the checkpoint under way, and then one of what changed since."""
        self._finish_saving()
        self._saver.begin(self.position)
        self._finish_saving()

    def _finish_saving(self) -> None:
        while self._saver.busy:
            self._commit(Effects(), self.position)

    def _commit(self, effects: Effects, position: int) -> None:
        began = time.thread_time()
        if not self._saver.busy and self._is_time_to_save():
            self._saver.begin(position)
            self._saved_at, self._saving_s = time.monotonic(), 0.0
        part = self._saver.take()
        self._saving_s += time.thread_time() - began
        step = Step(
            read_from=self.position,
            position=position,
            situations=[
                _row(self.engine, situation, effects.ended.get(id)) for id, situation in effects.situations.items()
            ],
            orders=[*effects.orders, *effects.problem_orders],
            audit=effects.audit,
            dead_letters=effects.dead_letters,
            judgements=effects.judgements,
            notices=effects.notices,
            tallies=effects.tallies,
            forecasts=list(effects.forecasts.values()),
            blocks=part.blocks,
            blocks_gone_before=part.gone_before,
            checkpoint=part.checkpoint,
        )
        refused = False
        while True:
            try:
                self._journal.commit(step)
                break
            except Unavailable as error:
                # What was decided stays in memory and is written as soon as the store takes it; nothing goes on before.
                if not refused:
                    log.error("the store refuses the engine's results", error=str(error))
                refused = True
                if self._stopping:
                    raise
                time.sleep(_RETRY_S)
        if refused:
            log.info("the store takes the engine's results again")
        with self._moved:
            self.position = position
            self.steps += 1
            self._moved.notify_all()


def _in_time(records: Iterable[Given], read: list[Given]) -> Iterator[Given]:
    """As many as a step has time for, at least one; they are put into ``read``."""
    until = time.monotonic() + _STEP_S
    for record in records:
        read.append(record)
        yield record
        if time.monotonic() >= until:
            return


_MAX_SERVICES = 10
"""Of an incident, the most critical first, under which reports count it."""


def _row(engine: Engine, situation: Situation, ended: bytes | None) -> SituationRow:
    merged, clock = situation.state is SituationState.MERGED, situation.sla
    return SituationRow(
        id=situation.id,
        state=situation.state.value,
        priority=situation.priority,
        severity=int(situation.severity),
        title=situation.title,
        opened_at=situation.opened_at,
        updated_at=situation.updated_at,
        resolved_at=situation.resolved_at,
        alerts=len(situation.members),
        version=situation.version,
        body=ended,
        ticketed_at=situation.ticketed_at,
        acknowledged_at=situation.acknowledged_at,
        team=situation.assignment_group,
        services=situation.services[:_MAX_SERVICES],
        events=0 if merged else sum(alert.count for alert in engine.members(situation)),
        reopened=situation.reopened,
        acknowledged_in_time=None if clock is None else clock.kept_acknowledge,
        resolved_in_time=None if clock is None else clock.kept_resolve,
    )
