"""The process for metrics from inside: append, judge, tidy. Detectors are fitted once an hour and asked each minute.

What takes long, to learn and to put files together, goes in steps: appends are served between two of them.
"""

import fcntl
import os
import sys
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np
from msgspec import Struct

import predictor.detectors
from foreshock.core import registry
from foreshock.core.errors import ForeshockError, Unavailable
from foreshock.core.matchers import matches_all, parse_matchers
from foreshock.core.model import Anomaly, Samples, Series
from foreshock.service.capacity_work import Foreseer
from foreshock.service.metric_process import (
    Answer,
    Append,
    Cursor,
    Detect,
    Foresee,
    Limit,
    Refused,
    Request,
    Tidy,
    receive,
    send,
)
from foreshock.store.cardinality import Cardinality
from foreshock.store.history import ParquetHistory
from foreshock.store.points import gather_bytes
from predictor.detect import Detector, Fitted, news, place, together
from predictor.frames import Bound, Floats, Panel, came, panel

_FIT_EVERY = timedelta(hours=1)
_REFIT_AFTER = timedelta(minutes=10)  # at the earliest, for series that were not there when it was fitted
_MAX_ROWS = 1000  # of a history; a longer one is read with fewer points
_CHUNK = 500  # series fitted at once, which bounds the memory it takes
_FORGET = timedelta(hours=2)
_AGE_EVERY = timedelta(hours=12)

_READ = 1000  # series of which the history is read at once

T = TypeVar("T")
Steps = Generator[None, None, Answer]
"""Work that takes long; between two steps anything else may be done."""

Identity = tuple[str, str]
"""CI and dimension: a series of one metric."""


def detector_kinds() -> Mapping[str, Detector]:
    return registry.kinds(predictor.detectors, "DETECTOR", Detector)


class _Judge(Struct):
    """Detectors that know some series, in this order. last: when each had a point, as far as it was seen here."""

    series: Sequence[Series]
    fitted: Sequence[tuple[Detector, Fitted]]
    last: Floats


class _Metric(Struct):
    """One metric: when it was fitted, which series it had then, and the judges of those with enough history."""

    at: datetime
    step_s: float
    seen: frozenset[Identity]
    judges: list[_Judge]


class Work:
    """Args: folder: of the history; the others: as of ``MetricProcess``. Raises Unavailable where it cannot be
    opened."""

    def __init__(self, folder: Path, most_series: int, of_source: int) -> None:
        _own(folder)
        self._history = ParquetHistory(folder)
        self._cardinality, self._aged = Cardinality(most_series, of_source), datetime.min.replace(tzinfo=UTC)
        self._detectors = detector_kinds()
        self._metrics: dict[str, _Metric] = {}
        self._foreseer = Foreseer(self._history, folder / "forecasts.json")
        self._told: dict[tuple[str, str, str], tuple[Anomaly, datetime]] = {}
        self._begun: dict[type, Steps] = {}

    def do(self, request: Request) -> Answer:
        match request:
            case Append(source, points, cursor):
                gathered = gather_bytes((each.series, each.times, each.values) for each in points)
                self._history.append_points(source, self._cardinality.admitted(source, gathered), cursor)
                return Answer()
            case Cursor(source):
                return Answer(cursor=self._history.cursor(source))
            case Tidy():
                return self._go_on(request, self._tidy)
            case Detect():
                return self._go_on(request, self._detect)
            case Foresee():
                return self._go_on(request, self._foresee)

    def _go_on(self, request: T, begin: Callable[[T], Steps]) -> Answer:
        """One step of what takes long, so that appends need not wait for all of it."""
        steps = self._begun.pop(type(request), None) or begin(request)
        try:
            next(steps)
        except StopIteration as done:
            answer: Answer = done.value
            return answer
        self._begun[type(request)] = steps
        return Answer(more=True)

    def _tidy(self, request: Tidy) -> Steps:
        for _ in self._history.compacting(request.now):
            yield
        self._history.forget(request.before, request.max_bytes)
        if request.now - self._aged >= _AGE_EVERY:
            self._cardinality.age()
            self._aged = request.now
        return Answer(bytes=self._history.size(), damaged=self._history.damaged)

    def _foresee(self, request: Foresee) -> Steps:
        return Answer(forecasts=(yield from self._foreseer.foreseeing(request.limits, request.now)))

    def _detect(self, request: Detect) -> Steps:
        now, window = request.now, timedelta(seconds=request.window_s)
        self._history.flush()
        recent = _by_metric(self._history.read(now - window, now))
        self._metrics = {name: metric for name, metric in self._metrics.items() if name in recent}
        yield from self._learn(
            {name: found for name, found in recent.items() if self._is_due(name, found, now)}, request
        )
        found: list[tuple[Detector, Sequence[Anomaly]]] = []
        for name, of_metric in sorted(recent.items()):
            found += self._judge(self._metrics[name], of_metric)
        told = news(together(found), self._told, now)
        self._told |= {place(anomaly): (anomaly, now) for anomaly in told}
        self._told = {name: (last, at) for name, (last, at) in self._told.items() if now - at < _FORGET}
        refused = [Refused(source=s, metric=m, points=p, series=n) for s, m, p, n in self._cardinality.refused()]
        return Answer(anomalies=told, series=sum(map(len, recent.values())), refused=refused)

    def _is_due(self, name: str, recent: Sequence[Samples], now: datetime) -> bool:
        known = self._metrics.get(name)
        if known is None:
            return True
        age = now - known.at
        return age >= _FIT_EVERY or (age >= _REFIT_AFTER and not _identities(recent) <= known.seen)

    def _learn(self, due: Mapping[str, Sequence[Samples]], request: Detect) -> Iterator[None]:
        """What is usual for these metrics. All metrics of some CIs are read at a time: so they lie in the files."""
        until = request.now - timedelta(seconds=request.window_s)
        since, fine_s = until - timedelta(seconds=request.learn_s), request.learn_s / _MAX_ROWS
        learnt = {name: _Metric(request.now, _step_s(recent), _identities(recent), []) for name, recent in due.items()}
        only = next(iter(due)) if len(due) == 1 else None
        for cis in _parts(due, {name: self._metrics[name] for name in due if name in self._metrics}):
            read = yield from self._history.reading(since, until, metric=only, cis=cis, step_s=fine_s)
            past = _by_metric(read)
            for name in sorted(past.keys() & learnt.keys()):
                metric, of_metric = learnt[name], past[name]
                for first in range(0, len(of_metric), _CHUNK):
                    frame = panel(of_metric[first : first + _CHUNK], max(metric.step_s, fine_s))
                    metric.judges.append(self._fitted(frame, request))
                    yield
        for name, metric in learnt.items():
            if name in self._metrics:
                _remember(self._metrics[name].judges, metric.judges)
        self._metrics |= learnt

    def _fitted(self, past: Panel, request: Detect) -> _Judge:
        past = msgspec.structs.replace(past, bounds=_bounds(past.series, request.limits))
        asked = self._detectors if request.detectors is None else request.detectors
        fitted = [(self._detectors[kind], self._detectors[kind].fit(past)) for kind in asked]
        return _Judge(past.series, fitted, np.full(len(past.series), np.nan))

    def _judge(self, metric: _Metric, recent: Sequence[Samples]) -> Iterator[tuple[Detector, Sequence[Anomaly]]]:
        by_identity = {_identity(each.series): each for each in recent}
        known = {_identity(series) for judge in metric.judges for series in judge.series}
        grown = frozenset(ci for ci, dimension in by_identity if (ci, dimension) not in known)
        heard = came(recent, metric.step_s)
        for judge in metric.judges:
            wanted = [by_identity.get(_identity(series)) for series in judge.series]
            frame = msgspec.structs.replace(
                _aligned(judge.series, wanted, metric.step_s), last=judge.last, grown=grown, heard=heard
            )
            for detector, fitted in judge.fitted:
                yield detector, fitted.detect(frame)
            newest = [np.nan if each is None else each.times[-1] for each in wanted]
            judge.last = np.fmax(judge.last, np.array(newest, dtype=np.float64))


def _aligned(series: Sequence[Series], samples: Sequence[Samples | None], step_s: float) -> Panel:
    """A column for each series, in this order; NaN where there are no samples."""
    empty = [Samples(series=name, times=(), values=()) for name in series]
    return panel(
        [
            none if each is None else Samples(series=none.series, times=each.times, values=each.values)
            for none, each in zip(empty, samples, strict=True)
        ],
        step_s,
    )


def _remember(before: Sequence[_Judge], now: Sequence[_Judge]) -> None:
    """When the series were last seen, for those who judge them from now on."""
    seen = {
        _identity(series): at for judge in before for series, at in zip(judge.series, judge.last.tolist(), strict=True)
    }
    for judge in now:
        judge.last = np.array([seen.get(_identity(series), np.nan) for series in judge.series], dtype=np.float64)


def _bounds(series: Sequence[Series], limits: Sequence[Limit]) -> list[Bound | None]:
    """Of each series what the first limit that fits says; empty without limits."""
    read = [(parse_matchers(each.match), Bound(each.limit, each.up)) for each in limits if each.limit is not None]
    if not read:
        return []
    return [next((bound for matchers, bound in read if matches_all(matchers, _said(name))), None) for name in series]


def _said(series: Series) -> dict[str, str]:
    return {"metric": series.metric, "ci": series.ci, "dimension": series.dimension, "unit": series.unit}


def _step_s(samples: Sequence[Samples]) -> float:
    """The usual time between points; a minute where there are too few to tell."""
    gaps = [np.diff(each.times) for each in samples[:100]]
    joined = np.concatenate(gaps) if gaps else np.empty(0)
    return max(1.0, float(np.median(joined))) if len(joined) else 60.0


def _identity(series: Series) -> Identity:
    return series.ci, series.dimension


def _identities(samples: Sequence[Samples]) -> frozenset[Identity]:
    return frozenset(_identity(each.series) for each in samples)


def _by_metric(samples: Sequence[Samples]) -> Mapping[str, Sequence[Samples]]:
    found: dict[str, list[Samples]] = {}
    for each in samples:
        found.setdefault(each.series.metric, []).append(each)
    return found


def _parts(recent: Mapping[str, Sequence[Samples]], known: Mapping[str, _Metric]) -> Iterator[frozenset[str]]:
    """The CIs of these metrics, also those not heard of lately, so many at a time as have about ``_READ`` series."""
    series = Counter(each.series.ci for of_metric in recent.values() for each in of_metric)
    series.update({each.ci: 0 for metric in known.values() for judge in metric.judges for each in judge.series})
    part: set[str] = set()
    held = 0
    for ci in sorted(series):
        if part and held + series[ci] > _READ:
            yield frozenset(part)
            part, held = set(), 0
        part.add(ci)
        held += series[ci]
    if part:
        yield frozenset(part)


@cache
def _own(folder: Path) -> None:
    """One writer at a time: after a crash of the service its process may still be finishing an append."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Unavailable(f"the metric history in {folder} cannot be opened: {error}") from error
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)  # held until the process ends
    fcntl.flock(lock, fcntl.LOCK_EX)


def main() -> None:
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what anything prints must not end up among the answers
    os.nice(5)  # taking events in comes first
    read = msgspec.msgpack.Decoder(Request)
    work: Work | None = None
    while True:
        try:
            request: Request = read.decode(receive(sys.stdin.buffer))
        except EOFError:
            return
        try:
            work = work or Work(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
            answer = work.do(request)
        except ForeshockError as error:
            answer = Answer(error=str(error))
        send(answers, msgspec.msgpack.encode(answer))


if __name__ == "__main__":
    main()
