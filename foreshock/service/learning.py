"""Learning beside the running engine: a child process trains on the history, its result comes into force as a record.

The engine's process imports neither pandas nor scikit-learn: it hands the history over, line by line, and takes a plain
table back.
"""

import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path

import msgspec
import structlog

from correlation import feedback
from foreshock.core.contracts import NewRecord, Record, RecordKind
from foreshock.core.errors import ConfigError, Malformed, Problem, Rejected, Unavailable
from foreshock.core.learned import NOTHING, CoOccurrence, Learned, Standing, decoded, foreign
from foreshock.core.model import Label, Moment
from foreshock.service import in_force, training
from foreshock.service.engine import Engine
from foreshock.service.inbox import Inbox
from foreshock.service.period import topology_before
from foreshock.service.records import LearnedRecord
from foreshock.service.runner import Runner
from foreshock.service.training import Task, piece
from foreshock.store.learned import LearnedVersions
from foreshock.store.store import Store
from predictor.settings import LearnSettings

log = structlog.get_logger("learning")

_TIMEOUT_S = 3600
_MAX_JUDGEMENTS = 5000
_MAX_RECORDS = 200_000
_CHUNK = 200
_BEFORE_A_LABEL = timedelta(hours=1)
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_ERROR = 2000
_SHOWN_PAIRS = 5
LATEST, PREVIOUS, NONE = "latest", "previous", "nothing"
"""Words that stand for a version: the newest there is, the one before that in force, and none at all."""


class LearnedRow(msgspec.Struct, frozen=True, kw_only=True):
    """One version in a list.

    Attributes:
        in_force: the engine uses it. pinned: a person chose it, so training does not replace it.
        card: what a person should know of it before using it, line by line.
    """

    version: str
    since: Moment | None
    until: Moment | None
    occurrences: int
    tested: int
    pairs: int
    calibrated: tuple[str, ...]
    in_force: bool
    pinned: bool
    card: tuple[str, ...]


class Learner:
    """Trains, lists versions and puts one into force."""

    def __init__(
        self,
        *,
        runner: Runner,
        inbox: Inbox,
        store: Store,
        versions: LearnedVersions,
        settings: LearnSettings,
        clock: Callable[[], datetime],
    ) -> None:
        self._runner, self._inbox, self._store, self._versions = runner, inbox, store, versions
        self._settings, self._clock = settings, clock
        self._busy = threading.Lock()

    # ---- training ----

    def due(self) -> None:
        """Train if the newest version is old enough, and use the new one unless a person has pinned another."""
        newest = self._versions.newest_at_s()
        if newest is not None and self._clock().timestamp() - newest < self._settings.every.total_seconds():
            return
        learned = self._train(self._settings.since)
        if not learned.version:
            return
        self._versions.add(learned)
        with self._runner.looking() as engine:
            used = engine.learned
        if not used.pinned and used.learned.version != learned.version and (learned.pairs or used.learned.pairs):
            self._put_in_force(learned, pinned=False, actor="foreshock")

    def train(self, since: timedelta | None, *, dry_run: bool, actor: str) -> LearnedRow:
        """Train now, and use the result unless it is only to be looked at. Raises Rejected while training already, or
        where there is no history; Unavailable where the training failed."""
        learned = self._train(since or self._settings.since)
        if not learned.version:
            raise Rejected(
                "there is no history to learn from yet", hint="situations are learned from once they are over"
            )
        if not dry_run:
            self._versions.add(learned)
            self._put_in_force(learned, pinned=False, actor=actor)
        return self._row(learned)

    def _train(self, since: timedelta) -> Learned:
        if not self._busy.acquire(blocking=False):
            raise Rejected("a training is under way", hint="ask again when it is over")
        try:
            labels = tuple(row for one in self._store.judgements(limit=_MAX_JUDGEMENTS) for row in feedback.labels(one))
            begin = max(0, self._runner.position - _MAX_RECORDS)
            with self._runner.looking() as engine:
                task = Task(
                    settings=self._settings.model_dump(mode="json"),
                    topology=in_force.topology_record(engine),
                    head=self._head(engine, begin) if labels else (),
                    labels=labels,
                )
            return train_apart(task, chain(self._situations(self._clock() - since), self._records(labels, begin)))
        finally:
            self._busy.release()

    def _situations(self, since: datetime) -> Iterator[bytes]:
        with self._runner.looking() as engine:
            bodies = [engine.encode(situation) for situation in engine.situations.values()]
        for body in chain(bodies, self._store.ended(since)):
            yield piece("ended", body)

    def _records(self, labels: Sequence[Label], at: int) -> Iterator[bytes]:
        """Behind record ``at``, from a while before the first alert that somebody spoke of."""
        if not labels:
            return
        since = min(label.alert.onset for label in labels) - _BEFORE_A_LABEL
        while records := self._store.journal.records(at, limit=_CHUNK, upto=self._runner.position):
            yield from (piece("record", msgspec.json.encode(record)) for record in records if record.at >= since)
            at = records[-1].number

    def _head(self, engine: Engine, number: int) -> tuple[Record, ...]:
        """Settings and topology as they are now: what they were at record ``number`` is not kept."""
        topology = topology_before(self._store.journal, number, in_force.topology_record(engine))
        bodies = (
            (RecordKind.SETTINGS, msgspec.json.encode(in_force.settings_record(engine))),
            (RecordKind.TOPOLOGY, msgspec.json.encode(topology)),
        )
        return tuple(Record(number=0, at=_LONG_AGO, kind=kind, body=body) for kind, body in bodies)

    # ---- versions ----

    def rows(self) -> list[LearnedRow]:
        """Newest first; the one in force is among them, also where its file is gone."""
        versions = list(self._versions.all())
        with self._runner.looking() as engine:
            used = engine.learned.learned
        if used.version and all(one.version != used.version for one in versions):
            versions.append(used)
        return [self._row(one) for one in versions]

    def get(self, version: str) -> Learned:
        return self._versions.get(version)

    def use(self, version: str, *, actor: str) -> LearnedRow:
        """Put a version into force: ``latest`` lets training go on, any other is pinned. Raises Rejected."""
        learned = self._named(version)
        self._put_in_force(learned, pinned=version != LATEST, actor=actor)
        return self._row(learned)

    def bring(self, body: bytes, *, anyway: bool, actor: str) -> LearnedRow:
        """Keep a version that was trained elsewhere, and put it into force, pinned. Raises Rejected.

        anyway: although hardly any CI that it names is known here.
        """
        try:
            learned = _something(body)
        except Malformed as error:
            raise Rejected(str(error), hint=error.hint) from None
        with self._runner.looking() as engine:
            known = engine.topology.cis
        if known and not anyway and (why := foreign(learned, known)):
            raise Rejected(why, hint="learn from this one's history; or say --anyway if its CMDB knows too little")
        self._versions.add(learned)
        self._put_in_force(learned, pinned=True, actor=actor)
        return self._row(learned)

    def _named(self, version: str) -> Learned:
        if version == NONE:
            return NOTHING
        if version not in (LATEST, PREVIOUS):
            return self._versions.get(version)
        with self._runner.looking() as engine:
            used = engine.learned.learned.version
        versions = list(self._versions.all())
        if version == LATEST and versions:
            return versions[0]
        places = [place for place, one in enumerate(versions) if one.version == used]
        older = versions[places[0] + 1 :] if places else versions
        if version == PREVIOUS and older:
            return older[0]
        raise Rejected(
            f"there is no {version} version",
            hint="`foreshock learn use nothing` switches it off; see `foreshock learn list`",
        )

    def _put_in_force(self, learned: Learned, *, pinned: bool, actor: str) -> None:
        body = msgspec.json.encode(LearnedRecord(learned=learned, pinned=pinned))
        number = self._inbox.append_now(NewRecord(kind=RecordKind.LEARNED, body=body, source="learning", actor=actor))
        self._runner.caught_up(number)
        log.info("learned", version=learned.version or NONE, pairs=len(learned.pairs), pinned=pinned, actor=actor)

    def _row(self, learned: Learned) -> LearnedRow:
        with self._runner.looking() as engine:
            used = engine.learned
        in_force = used.learned.version == learned.version
        return LearnedRow(
            version=learned.version or NONE,
            since=learned.since,
            until=learned.until,
            occurrences=learned.occurrences,
            tested=learned.tested,
            pairs=len(learned.pairs),
            calibrated=tuple(sorted(learned.curves)),
            in_force=in_force,
            pinned=in_force and used.pinned,
            card=tuple(card(learned)),
        )


def train_apart(task: Task, pieces: Iterable[bytes]) -> Learned:
    """Train in a child process, at a low priority. Raises Unavailable with the end of what it said if it fails."""
    command = [sys.executable, "-m", training.__name__]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.stdin is not None
    feeder = threading.Thread(target=training.feed, args=(child.stdin, task, pieces), daemon=True)
    feeder.start()
    # The feeder owns stdin; communicate() must not touch it.
    child.stdin = None
    try:
        out, said = child.communicate(timeout=_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.communicate()
        raise Unavailable(f"training took longer than {_TIMEOUT_S} s", hint="shorten `learn.since`") from None
    feeder.join()
    if child.returncode != 0:
        told = said.decode("utf-8", "replace").strip()[-_MAX_ERROR:]
        raise Unavailable(f"training ended with code {child.returncode}: {told}", hint="try a shorter `learn.since`")
    return decoded(out)


# ---- files and text for people --------------------------------------------------------------------------------------


def read_learned(path: Path) -> Learned:
    """A version from its file. Raises ConfigError where it is none, or where it was changed since it was trained."""
    try:
        return _something(path.read_bytes())
    except OSError as error:
        message = f"cannot be read: {error.strerror}"
    except Malformed as error:
        message = str(error)
    hint = "write one with `foreshock learn --history … --out`"
    raise ConfigError([Problem(file=str(path), line=None, path="", message=message, hint=hint)])


def _something(body: bytes) -> Learned:
    """Raises Malformed where nothing was learned."""
    learned = decoded(body)
    if not learned.version:
        raise Malformed("it holds nothing that was learned")
    return learned


def card(learned: Learned) -> Iterator[str]:
    """What a person should know of a version before using it, line by line."""
    if not learned.version:
        yield "nothing is learned"
        return
    yield f"version      {learned.version}"
    if learned.since is not None and learned.until is not None:
        span = f"{learned.since:%Y-%m-%d %H:%M} to {learned.until:%Y-%m-%d %H:%M} UTC"
        yield f"history      {span}, {learned.occurrences} onsets"
    yield (
        f"pairs        {len(learned.pairs)} kept of {learned.tested} that could have been found, "
        f"at a false discovery rate of {learned.fdr:g}"
    )
    for name, count in sorted(Counter(map(level, learned.pairs)).items()):
        yield f"             {count} {name}"
    yield f"half-life    a meeting {learned.half_life_s / 86_400:g} days ago weighs half"
    for pair in learned.pairs[:_SHOWN_PAIRS]:
        yield f"strongest    {pair.a} and {pair.b}: {pair.together} of {pair.times} times, strength {pair.strength:.2f}"
    for rule, curve in sorted(learned.curves.items()):
        yield (
            f"calibration  {rule}: {curve.pairs} pairs, Brier score {curve.brier:.4f} (bare strength "
            f"{curve.brier_raw:.4f}), calibration error {curve.ece:.3f} (bare strength {curve.ece_raw:.3f})"
        )


def level(pair: CoOccurrence) -> str:
    """What kind of pair it is, in words."""
    if pair.standing is Standing.UNKNOWN:
        return "of classes"
    if pair.standing is not None:
        return f"of classes by standing: {pair.standing.value}"
    return "of alerts on their CIs" if pair.a.name else "of CIs"
