"""The two child processes that foresee incidents, so that the engine's imports neither pandas nor scikit-learn.

``python -m foreshock.service.foreseeing_work teach``: one ``Lesson`` on standard input, one ``Taught`` on standard
output. With ``look``: any number of ``Begin`` and ``Look``, each with an ``Answer``; it ends when its input does.
Behind a ``Lesson`` and a ``Begin`` come situations, over or not, as JSON of an ``Ended`` each, and then ``NO_MORE``.

Messages are a length and that many bytes of MessagePack, as those of ``metric_process``.
"""

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING

import msgspec
from msgspec import Struct

from foreshock.core.errors import ForeshockError, Rejected
from foreshock.core.learned import Facts, Happening, Verdict
from foreshock.core.model import Ended, Forecast
from foreshock.service.lessons import Lessons, lessons
from foreshock.service.metric_process import receive, send

if TYPE_CHECKING:
    from predictor.foresee import Ahead
    from predictor.reality import Seen

_NICE = 10
_SHOWN = 20
"""Of each horizon the likeliest are told, so that people can look at what opens nothing; alarms all."""
_EVIDENCE = 5
_ANY = 5
"""What happened on a CI happened, however urgent it was."""

NO_MORE = b"."


class Horizon(Struct, frozen=True, kw_only=True):
    """seconds: an incident begins within them. false_alarms: that are accepted for each CI and week."""

    name: str
    seconds: float
    false_alarms: float


class Lesson(Struct, frozen=True, kw_only=True):
    """What to learn from.

    Attributes:
        now, since: seconds since 1970.
        champion, challenger: files by horizon, of the version in use and of the one that is tried beside it; what came
            after ``later`` judges them.
        fit: a new version is wanted.
    """

    now: float
    since: float
    min_priority: int
    least: int
    horizons: Sequence[Horizon]
    cis: dict[str, Facts]
    champion: dict[str, dict[str, bytes]] = {}
    challenger: dict[str, dict[str, bytes]] = {}
    later: float = 0.0
    fit: bool = False


class Part(Struct, frozen=True, kw_only=True):
    """One horizon. judged: what the last part of the time said of it. problem: why it has no model, in words."""

    horizon: str
    files: dict[str, bytes] = {}
    judged: dict[str, object] = {}
    lead_s: tuple[float, float, float] = (0.0, 0.0, 0.0)
    problem: str = ""


class Taught(Struct, frozen=True, kw_only=True):
    """parts: what was fitted. By horizon, verdicts: on the challenger; drift: what is wrong with the champion."""

    happenings: int
    incidents: int
    parts: Sequence[Part] = ()
    verdicts: dict[str, Verdict] = {}
    drift: dict[str, tuple[str, ...]] = {}


class Begin(Struct, frozen=True, kw_only=True, tag=True):
    """Forget everything, and go on with what follows. model: name@version, as forecasts say it. files: by horizon."""

    model: str
    since: float
    cis: dict[str, Facts]
    files: dict[str, dict[str, bytes]]


class Look(Struct, frozen=True, kw_only=True, tag=True):
    """happenings: that began or ended since the last look; those of before may be among them. simple: horizons whose
    model is not to be trusted."""

    now: float
    happenings: Sequence[Happening]
    simple: frozenset[str] = frozenset()


class Answer(Struct, frozen=True, kw_only=True):
    """error: why nothing was done."""

    forecasts: Sequence[Forecast] = ()
    error: str = ""


# ---- teaching -------------------------------------------------------------------------------------------------------


def teach(lesson: Lesson, situations: Iterable[Ended]) -> Taught:
    from predictor.foresee import Fitted, compared, drifted

    known = lessons(situations, lesson.min_priority)
    seen = seen_of(known, lesson)
    champion = {name: Fitted.read(files) for name, files in lesson.champion.items()}
    challenger = {name: Fitted.read(files) for name, files in lesson.challenger.items()}
    return Taught(
        happenings=len(known.happenings),
        incidents=len({each.situation for each in known.incidents}),
        parts=[_part(seen, horizon, lesson.least) for horizon in lesson.horizons if lesson.fit],
        verdicts={
            name: compared(seen, one, challenger[name], lesson.later)
            for name, one in champion.items()
            if name in challenger
        },
        drift={name: reasons for name, one in champion.items() if (reasons := tuple(drifted(seen, one, lesson.later)))},
    )


def _part(seen: "Seen", horizon: Horizon, least: int) -> Part:
    from predictor.foresee import Question, fit

    question = Question(horizon_s=horizon.seconds, false_alarms=horizon.false_alarms, least=least)
    try:
        found = fit(seen, question)
    except Rejected as error:
        return Part(horizon=horizon.name, problem=str(error))
    return Part(horizon=horizon.name, files=found.files(), judged=found.judged, lead_s=found.lead_s)


def seen_of(known: Lessons, lesson: Lesson) -> "Seen":
    from predictor.reality import Seen

    first = min((each.at for each in known.happenings), default=lesson.now)
    return Seen(
        since=max(lesson.since, first),
        until=lesson.now,
        cis=lesson.cis,
        happenings=known.happenings,
        incidents=known.incidents,
    )


# ---- looking ahead --------------------------------------------------------------------------------------------------


class Watching:
    """Keeps what happened, and goes on with it."""

    def __init__(self, begin: Begin, situations: Iterable[Ended]) -> None:
        from predictor.foresee import Fitted

        self._begin = begin
        self._fitted = {name: Fitted.read(files) for name, files in begin.files.items()}
        self._ahead: dict[str, Ahead] = {}
        self._happenings: dict[tuple[str, str, float], Happening] = {}
        self._cis: set[str] = set(begin.cis)
        self._hear(lessons(situations, _ANY).happenings)
        self._start()

    def _hear(self, happenings: Iterable[Happening]) -> bool:
        """Whether one of them is on a CI that was not known."""
        before = len(self._cis)
        for each in happenings:
            self._happenings[each.ci, each.name, each.at] = each
            self._cis.add(each.ci)
        return len(self._cis) > before

    def look(self, look: Look) -> Answer:
        if self._hear(look.happenings):
            self._start()
        forecasts: list[Forecast] = []
        for name, ahead in self._ahead.items():
            ahead.hear(look.happenings)
            if ahead.go_on(look.now):
                forecasts += self._told(name, simple=name in look.simple)
        return Answer(forecasts=tuple(forecasts))

    def _start(self) -> None:
        """A CI that nobody knew has a place only from the beginning."""
        from predictor.foresee import Ahead

        begin = self._begin
        facts = {ci: begin.cis.get(ci, Facts()) for ci in self._cis}
        known = tuple(self._happenings.values())
        self._ahead = {name: Ahead(fitted, facts, begin.since) for name, fitted in self._fitted.items()}
        for ahead in self._ahead.values():
            ahead.hear(known)

    def _told(self, horizon: str, *, simple: bool) -> Iterator[Forecast]:
        ahead, fitted = self._ahead[horizon], self._fitted[horizon]
        at = datetime.fromtimestamp(ahead.asked_at, UTC)
        low, median, high = (seconds / 3600 for seconds in fitted.lead_s)
        suffix = "-simple" if simple else ""
        for each in ahead.look(simple=simple, most=_SHOWN):
            yield Forecast(
                ci=each.ci,
                made_at=at,
                probability=each.probability,
                horizon_h=fitted.question.horizon_s / 3600,
                lead_time_h=median,
                earliest_h=low,
                latest_h=high,
                model=f"{self._begin.model}-{horizon}{suffix}",
                alarm=each.alarm,
                contributions=each.told(fitted.question.step_s, _EVIDENCE),
            )


def _answer(request: Begin | Look, watching: Watching | None, stdin: IO[bytes]) -> tuple[Answer, Watching | None]:
    try:
        match request:
            case Begin():
                return Answer(), Watching(request, _situations(stdin))
            case Look() if watching is not None:
                return watching.look(request), watching
        return Answer(error="it was not told where to begin"), None
    except ForeshockError as error:
        return Answer(error=str(error)), watching


def _situations(stdin: IO[bytes]) -> Iterator[Ended]:
    read = msgspec.json.Decoder(Ended)
    while (body := receive(stdin)) != NO_MORE:
        yield read.decode(body)


def main(stdin: IO[bytes], stdout: IO[bytes], what: str) -> None:
    if what == "teach":
        lesson = msgspec.msgpack.decode(receive(stdin), type=Lesson)
        send(stdout, msgspec.msgpack.encode(teach(lesson, _situations(stdin))))
        return
    read = msgspec.msgpack.Decoder(Begin | Look)
    watching: Watching | None = None
    while True:
        try:
            request = read.decode(receive(stdin))
        except EOFError:
            return
        answer, watching = _answer(request, watching, stdin)
        send(stdout, msgspec.msgpack.encode(answer))


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what anything prints must not end up among the answers
    os.nice(_NICE)
    main(sys.stdin.buffer, answers, sys.argv[1])
