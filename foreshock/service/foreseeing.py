"""Foreseeing beside the running engine: models are taught in a child process, tried on what comes, and used in another.

Which version is in use stands in a file beside the versions, and each change of it is a row of the audit. What a model
says becomes a record like any forecast: the engine decides what comes of it.

A new version does not replace the one in use because it is newer: it is kept beside it until enough has happened to
both that neither has seen, and takes over if it was better on that.
"""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import IO, Any

import msgspec
import structlog
from msgspec import Struct

from foreshock.core.contracts import NewRecord, RecordKind
from foreshock.core.errors import Rejected, Unavailable
from foreshock.core.learned import Facts, Happening
from foreshock.core.model import Ended, Moment
from foreshock.core.quantities import format_duration
from foreshock.service.engine import Engine
from foreshock.service.foreseeing_work import NO_MORE, Answer, Begin, Horizon, Lesson, Look, Taught
from foreshock.service.inbox import Inbox
from foreshock.service.lessons import LabelReport, happening, label_report, lessons, tickets
from foreshock.service.metric_process import receive_in_time, send
from foreshock.service.records import ForecastsRecord, OperatorRecord, Remark
from foreshock.service.runner import Runner
from foreshock.store.models import ModelVersions, StoredModel, stored_model
from foreshock.store.store import Store
from predictor.settings import ForeseeSettings

log = structlog.get_logger("foreseeing")

NAME = "incidents"
"""Forecasts come from ``incidents@VERSION-HORIZON``."""
LATEST, PREVIOUS, NOTHING = "latest", "previous", "nothing"
_TEACHING_S = 3600.0
_PATIENCE = timedelta(days=30)
"""So long a version is tried beside the one in use before a newer one takes its place."""
_MAX_IN_RECORD = 500
_MAX_ERROR = 2000
_WEEK_S = 7 * 86_400.0


class Used(Struct, frozen=True, kw_only=True):
    """What stands in the file beside the versions.

    Attributes:
        version: in use; empty for none. pinned: a person chose it. before: the one that was used before.
        challenger: tried beside it.
        drift: by horizon, what is wrong with the model in use, so that its simple one is asked.
        problems: by horizon, why there is no model. checked_at: when it was last taught or judged.
    """

    version: str = ""
    pinned: bool = False
    before: str = ""
    challenger: str = ""
    drift: dict[str, str] = {}
    problems: dict[str, str] = {}
    verdicts: dict[str, str] = {}
    checked_at: Moment | None = None


class ModelAbout(Struct, frozen=True, kw_only=True):
    """The card of a version: what it learned from and how good that was.

    Attributes:
        since, until: history it was taught with. incidents, happenings: in it.
        judged: by horizon, what later data said of the model and of the simple one. problems: by horizon, why none is.
    """

    made_at: Moment
    since: Moment
    until: Moment
    happenings: int
    incidents: int
    cis: int
    judged: dict[str, Any]
    problems: dict[str, str]


class ModelRow(Struct, frozen=True, kw_only=True):
    """One version in a list. role: in use, tried beside it, or nothing."""

    version: str
    role: str
    pinned: bool
    about: ModelAbout


class ModelStatus(Struct, frozen=True, kw_only=True):
    """state: in one sentence. models: newest first."""

    state: str
    used: Used
    models: tuple[ModelRow, ...]


class Foreseer:
    """Teaches, tries, uses and asks models.

    Args:
        folder: of the state; versions are in ``models``, the key that signs them beside.
        teacher: one with a child process if None.
    """

    def __init__(
        self,
        *,
        runner: Runner,
        inbox: Inbox,
        store: Store,
        folder: Path,
        settings: ForeseeSettings,
        clock: Callable[[], datetime],
        teacher: "Teacher | None" = None,
    ) -> None:
        self._runner, self._inbox, self._store = runner, inbox, store
        self._settings, self._clock = settings, clock
        self._versions = ModelVersions(folder / "models", folder / "models.key", settings.keep)
        self._file = folder / "models.json"
        self._busy, self._asking = threading.Lock(), threading.Lock()
        self._teacher = teacher or Teacher()
        self._process: subprocess.Popen[bytes] | None = None
        self._asked, self._stopping = "", False
        self._looked_at = datetime.min.replace(tzinfo=UTC)

    # ---- teaching ----

    def due(self) -> None:
        """Teach or judge, if that is long enough ago."""
        checked = self._used().checked_at
        if checked is None or self._clock() - checked >= self._settings.train:
            self.train(actor="foreshock")

    def train(self, *, actor: str) -> ModelStatus:
        """Judge the version in use and the one that is tried by what came since, and teach a new one where none is
        tried. Raises Rejected while that is under way, Unavailable where it failed."""
        if not self._busy.acquire(blocking=False):
            raise Rejected("models are being taught", hint="ask again when that is over")
        try:
            used = self._used()
            champion, challenger = self._sound(used.version), self._sound(used.challenger)
            self._keep(
                self._judged(
                    used,
                    champion,
                    challenger,
                    self._taught(champion, challenger, fit=challenger is None and not used.pinned),
                    actor,
                )
            )
        finally:
            self._busy.release()
        self._restart()
        return self.status()

    def _taught(
        self, champion: StoredModel | None, challenger: StoredModel | None, *, fit: bool
    ) -> tuple[Lesson, Taught]:
        now = self._clock()
        with self._runner.looking() as engine:
            cis, teams = facts(engine), len({ci.owner for ci in engine.topology.cis.values() if ci.owner})
        each_ci = self._settings.budget * max(1, teams) / max(1, len(cis))
        judging = challenger or champion
        lesson = Lesson(
            now=now.timestamp(),
            since=(now - self._settings.since).timestamp(),
            min_priority=self._settings.min_priority,
            least=self._settings.min_incidents,
            horizons=[
                Horizon(name=format_duration(each), seconds=each.total_seconds(), false_alarms=each_ci)
                for each in self._settings.horizons
            ],
            cis=cis,
            champion=_by_horizon(champion),
            challenger=_by_horizon(challenger),
            later=judging.made_at.timestamp() if judging else 0.0,
            fit=fit,
        )
        return lesson, self._teacher.teach(lesson, self._situations(now - self._settings.since))

    def _judged(
        self,
        used: Used,
        champion: StoredModel | None,
        challenger: StoredModel | None,
        found: tuple[Lesson, Taught],
        actor: str,
    ) -> Used:
        lesson, taught = found
        now = self._clock()
        drift = {name: "; ".join(reasons) for name, reasons in taught.drift.items()}
        for name in drift.keys() - used.drift.keys():
            self._say(used.version, "falls back to its simple model", f"{name}: {drift[name]}")
        used = msgspec.structs.replace(
            used,
            drift=drift,
            checked_at=now,
            verdicts={name: verdict.reason for name, verdict in taught.verdicts.items()} or used.verdicts,
        )
        if challenger is not None:
            return self._tried(used, challenger, taught, now)
        used = msgspec.structs.replace(
            used, problems={part.horizon: part.problem for part in taught.parts if part.problem}
        )
        files = {f"{part.horizon}.{name}": body for part in taught.parts for name, body in part.files.items()}
        if not files:
            return used
        made = stored_model(now, msgspec.json.encode(_about(lesson, taught, now)), files)
        self._versions.add(made, in_use=used.version)
        self._say(made.version, "taught", f"with {taught.incidents} incidents", actor=actor)
        if champion is None:
            return self._put_in_use(used, made.version, "the first", pinned=False, actor=actor)
        return msgspec.structs.replace(used, challenger=made.version)

    def _tried(self, used: Used, challenger: StoredModel, taught: Taught, now: datetime) -> Used:
        verdicts = taught.verdicts.values()
        if any(verdict.better for verdict in verdicts) and not any(verdict.high < 0 for verdict in verdicts):
            reason = "; ".join(f"{name}: {verdict.reason}" for name, verdict in taught.verdicts.items())
            return self._put_in_use(used, challenger.version, reason, pinned=False, actor="foreshock")
        if not verdicts or now - challenger.made_at > _PATIENCE or all(verdict.telling for verdict in verdicts):
            self._say(challenger.version, "is not tried any more", "; ".join(used.verdicts.values()))
            return msgspec.structs.replace(used, challenger="")
        return used

    def _situations(self, since: datetime) -> Iterator[bytes]:
        with self._runner.looking() as engine:
            bodies = [engine.encode(situation) for situation in engine.situations.values()]
        yield from chain(bodies, self._store.ended(since))

    # ---- versions ----

    def status(self) -> ModelStatus:
        used = self._used()
        rows = [
            ModelRow(
                version=version,
                role="in use" if version == used.version else "tried" if version == used.challenger else "",
                pinned=used.pinned and version == used.version,
                about=msgspec.json.decode(about, type=ModelAbout),
            )
            for version, about in self._versions.all()
        ]
        return ModelStatus(state=self.state(), used=used, models=tuple(rows))

    def state(self) -> str:
        """In one sentence."""
        return in_words(self._used(), wanted=bool(self._settings.horizons))

    def use(self, version: str, *, actor: str) -> ModelStatus:
        """Put a version in use: ``latest`` lets newer ones be tried again, any other is pinned; ``nothing`` foresees
        nothing. Raises Rejected."""
        used = self._used()
        wanted = self._named(version, used)
        if wanted:
            self._versions.get(wanted)
        self._keep(self._put_in_use(used, wanted, "somebody chose it", pinned=version != LATEST, actor=actor))
        self._restart()
        return self.status()

    def labels(self, since: timedelta | None) -> LabelReport:
        """What there is to learn from."""
        bodies = self._situations(self._clock() - (since or self._settings.since))
        found = (msgspec.json.decode(body, type=Ended) for body in bodies)
        return label_report(lessons(found, self._settings.min_priority))

    def _named(self, version: str, used: Used) -> str:
        if version == NOTHING:
            return ""
        there = [name for name, _ in self._versions.all()]
        if version == LATEST and there:
            return there[0]
        if version == PREVIOUS and used.before:
            return used.before
        if version in there:
            return version
        raise Rejected(f"there is no version {version!r}", hint="see `foreshock model list`")

    def _put_in_use(self, used: Used, version: str, reason: str, *, pinned: bool, actor: str) -> Used:
        self._say(version or NOTHING, "in use", f"{reason}{', pinned' if pinned else ''}", actor=actor)
        return msgspec.structs.replace(
            used, version=version, before=used.version, pinned=pinned, challenger="", drift={}, verdicts={}
        )

    def _sound(self, version: str) -> StoredModel | None:
        """None where it is none, or cannot be trusted any more; that is said."""
        if not version:
            return None
        try:
            return self._versions.get(version)
        except Rejected as error:
            log.error("a model is left out", version=version, error=str(error))
            return None

    def _used(self) -> Used:
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=Used)
        except FileNotFoundError:
            return Used()
        except (OSError, msgspec.DecodeError) as error:
            log.error("it is not known which model is in use", file=str(self._file), error=str(error))
            return Used()

    def _keep(self, used: Used) -> None:
        fresh = self._file.with_suffix(".new")
        with fresh.open("wb") as file:
            file.write(msgspec.json.encode(used))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._file)

    def _say(self, version: str, action: str, detail: str, *, actor: str = "foreshock") -> None:
        remark = Remark(kind="model", subject=version, action=action, detail=detail)
        body = msgspec.json.encode(OperatorRecord(remark=remark))
        self._inbox.append_now(NewRecord(kind=RecordKind.OPERATOR, body=body, source="foreseeing", actor=actor))

    # ---- asking ----

    def look(self) -> None:
        """Ask the model in use what is ahead; what it says becomes records. Nothing where none is in use."""
        used = self._used()
        with self._asking:
            if self._stopping or not used.version or not self._settings.horizons:
                self._end()
                return
            now = self._clock()
            fresh = self._process is None or self._process.poll() is not None or self._asked != used.version
            if fresh and not self._begin(used.version, now):
                return
            happenings = [] if fresh else self._since(self._looked_at)
            answer = self._ask(Look(now=now.timestamp(), happenings=happenings, simple=frozenset(used.drift)))
            self._looked_at = now
        for first in range(0, len(answer.forecasts), _MAX_IN_RECORD):
            part = tuple(answer.forecasts[first : first + _MAX_IN_RECORD])
            body = msgspec.json.encode(ForecastsRecord(forecasts=part))
            self._inbox.append_now(
                NewRecord(kind=RecordKind.FORECASTS, body=body, source="foreseeing", items=len(part))
            )

    def stop(self) -> None:
        """What is under way is given up: it begins anew after the next start."""
        self._stopping = True
        self._teacher.stop()
        if (process := self._process) is not None:
            process.kill()  # whoever waits for its answer waits no more
        with self._asking:
            self._end()

    def _begin(self, version: str, now: datetime) -> bool:
        model = self._sound(version)
        self._end()
        if model is None:
            return False
        command = [sys.executable, "-m", _WORK, "look"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True, env=_calm()
        )
        self._asked = version
        with self._runner.looking() as engine:
            cis = facts(engine)
        since = (now - self._settings.since).timestamp()
        begin = Begin(model=f"{NAME}@{version}", since=since, cis=cis, files=_by_horizon(model))
        self._ask(begin, self._situations(now - self._settings.since))
        return True

    def _since(self, moment: datetime) -> list[Happening]:
        """What began or ended; a little of before is told again."""
        moment -= timedelta(minutes=1)
        with self._runner.looking() as engine:
            return recent(engine, moment)

    def _ask(self, request: Begin | Look, situations: Iterator[bytes] | None = None) -> Answer:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            send(process.stdin, msgspec.msgpack.encode(request))
            if situations is not None:
                hand_over(process.stdin, situations)
            answer = msgspec.msgpack.decode(receive_in_time(process.stdout), type=Answer)
        except (OSError, EOFError) as error:
            self._end()
            raise Unavailable(f"the process that looks ahead ended: {error}", hint="see its log") from error
        if answer.error:
            self._end()
            raise Unavailable(answer.error, hint="`foreshock model train`, or `foreshock model use previous`")
        return answer

    def _restart(self) -> None:
        """With the topology and the model of now."""
        with self._asking:
            self._end()

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(OSError), process:  # what it did not read any more is nobody's
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


# ---- what is handed over --------------------------------------------------------------------------------------------

_WORK = "foreshock.service.foreseeing_work"


def facts(engine: Engine) -> dict[str, Facts]:
    """Of every CI of the topology."""
    topology = engine.topology
    return {
        id: Facts(
            kind=ci.kind,
            environment=ci.environment,
            criticality=ci.criticality,
            needs=len(topology.needs(id)),
            needed_by=len(topology.needed_by(id)),
        )
        for id, ci in topology.cis.items()
    }


def recent(engine: Engine, moment: datetime) -> list[Happening]:
    """Alerts that changed since, and tickets of situations that did."""
    found = [
        happening(alert)
        for alert in engine.alerts.values()
        if alert.ci and (alert.last_seen >= moment or (alert.ends_at is not None and alert.ends_at >= moment))
    ]
    for situation in engine.situations.values():
        if situation.updated_at >= moment:
            found += tickets(situation, engine.affected.get(situation.id, ()))
    return found


class Teacher:
    """Has models taught in a child process of low priority."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._stopped = False

    def teach(self, lesson: Lesson, situations: Iterator[bytes]) -> Taught:
        """situations: JSON of an ``Ended`` each. Raises Unavailable with the end of what the child said if it fails."""
        with self._lock:
            if self._stopped:
                raise Unavailable("Foreshock stops")
            child = self._child = subprocess.Popen(
                [sys.executable, "-m", _WORK, "teach"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                env=_calm(),
            )
        assert child.stdin is not None
        feeder = threading.Thread(target=_feed, args=(child.stdin, lesson, situations), daemon=True)
        feeder.start()
        child.stdin = None  # the feeder's
        with child:
            try:
                out, told = child.communicate(timeout=_TEACHING_S)
            except subprocess.TimeoutExpired:
                child.kill()
                raise Unavailable(f"teaching took longer than {_TEACHING_S:.0f} s", hint="shorten `since`") from None
        feeder.join()
        if child.returncode != 0 or not out:
            words = told.decode("utf-8", "replace").strip()[-_MAX_ERROR:]
            raise Unavailable(f"teaching ended with code {child.returncode}: {words}", hint="try a shorter `since`")
        return msgspec.msgpack.decode(out[8:], type=Taught)

    def stop(self) -> None:
        with self._lock:
            self._stopped = True
            if self._child is not None and self._child.poll() is None:
                self._child.kill()


def _feed(stdin: IO[bytes], lesson: Lesson, situations: Iterator[bytes]) -> None:
    with suppress(BrokenPipeError), stdin:  # a child that has ended early says why
        send(stdin, msgspec.msgpack.encode(lesson))
        hand_over(stdin, situations)


def hand_over(stdin: IO[bytes], situations: Iterator[bytes]) -> None:
    """One by one: all of them at once may be more than fits."""
    for body in situations:
        stdin.write(len(body).to_bytes(8) + body)
    send(stdin, NO_MORE)


def _calm() -> dict[str, str]:
    """Threads of a fit that wait for one another must not spin while the engine needs the processor."""
    return {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}


def _by_horizon(model: StoredModel | None) -> dict[str, dict[str, bytes]]:
    found: dict[str, dict[str, bytes]] = {}
    for name, body in (model.files if model else {}).items():
        horizon, _, file = name.partition(".")
        found.setdefault(horizon, {})[file] = body
    return found


def _about(lesson: Lesson, taught: Taught, now: datetime) -> ModelAbout:
    return ModelAbout(
        made_at=now,
        since=datetime.fromtimestamp(lesson.since, UTC),
        until=now,
        happenings=taught.happenings,
        incidents=taught.incidents,
        cis=len(lesson.cis),
        judged={part.horizon: part.judged for part in taught.parts if part.files},
        problems={part.horizon: part.problem for part in taught.parts if part.problem},
    )


# ---- in words -------------------------------------------------------------------------------------------------------


def in_words(used: Used, *, wanted: bool) -> str:
    if not wanted:
        return "nothing is foreseen: `predict.incidents.horizons` is empty"
    if used.drift:
        return f"{used.version} is in use with its simple model: {'; '.join(used.drift.values())}"
    if used.version:
        beside = f", {used.challenger} is tried beside it" if used.challenger else ""
        return f"{used.version} is in use{', pinned' if used.pinned else ''}{beside}"
    if used.pinned:
        return "nothing is foreseen: somebody switched it off"
    return "; ".join(dict.fromkeys(used.problems.values())) or "no model has been taught yet"


def card(row: ModelRow) -> list[str]:
    """A version for people, as lines of Markdown."""
    about = row.about
    lines = [
        f"# Model {NAME}@{row.version}",
        "",
        f"Made {about.made_at:%Y-%m-%d %H:%M} UTC from {about.happenings} alerts and {about.incidents} incidents on "
        f"{about.cis} CIs, {about.since:%Y-%m-%d} to {about.until:%Y-%m-%d}.",
    ]
    for horizon, judged in about.judged.items():
        lines += ["", f"## Within {horizon}", "", *_judged_lines(judged)]
    lines += [f"\n## Within {horizon}\n\nNo model: {problem}." for horizon, problem in about.problems.items()]
    return lines


def _judged_lines(judged: dict[str, Any]) -> Iterator[str]:
    for name, found in judged.items():
        if "average_precision" not in found:
            yield f"- {name}: no incident came in the time that it was judged by"
            continue
        own, (low, high) = found["own_alarms"], found["brier_skill_95"]
        yield (
            f"- {name}: average precision {found['average_precision']} (by chance "
            f"{found['average_precision_by_chance']}), Brier skill {found['brier_skill']} ({low} to {high}), expected "
            f"over observed {found['expected_over_observed']['all']}; its alarms foresaw {own['recall']:.0%} of "
            f"{own['incidents']} incidents with {own['false_alarms_a_week']} false ones for each CI and week"
        )
