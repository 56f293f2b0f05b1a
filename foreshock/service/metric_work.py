"""The process for metrics from inside: append, judge, tidy. Detectors are fitted once an hour and asked each minute."""

import fcntl
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import groupby
from pathlib import Path

import msgspec
import numpy as np
from msgspec import Struct

import predictor.detectors
from foreshock.core import registry
from foreshock.core.errors import ForeshockError, Unavailable
from foreshock.core.model import Anomaly, Samples, Series
from foreshock.service.metric_process import Answer, Append, Cursor, Detect, Refused, Request, Tidy, receive, send
from foreshock.store.cardinality import Cardinality
from foreshock.store.history import ParquetHistory
from foreshock.store.points import gather_bytes
from predictor.detect import Detector, Fitted, news, place
from predictor.frames import Panel, panel

_FIT_EVERY = timedelta(hours=1)
_REFIT_AFTER = timedelta(minutes=10)  # at the earliest, for series that were not there when it was fitted
_MAX_ROWS = 1000  # of a history; a longer one is read with fewer points
_CHUNK = 500  # series fitted at once, which bounds the memory it takes
_FORGET = timedelta(hours=2)
_AGE_EVERY = timedelta(hours=12)

Identity = tuple[str, str]
"""CI and dimension: a series of one metric."""


def detector_kinds() -> Mapping[str, Detector]:
    return registry.kinds(predictor.detectors, "DETECTOR", Detector)


class _Judge(Struct):
    """Detectors that know some series, in this order."""

    series: Sequence[Series]
    fitted: Sequence[Fitted]


class _Metric(Struct):
    """One metric: when it was fitted, which series it had then, and the judges of those with enough history."""

    at: datetime
    step_s: float
    seen: frozenset[Identity]
    judges: Sequence[_Judge]


class Work:
    """Args: folder: of the history; the others: as of ``MetricProcess``. Raises Unavailable where it cannot be
    opened."""

    def __init__(self, folder: Path, most_series: int, of_source: int) -> None:
        _own(folder)
        self._history = ParquetHistory(folder)
        self._cardinality, self._aged = Cardinality(most_series, of_source), datetime.min.replace(tzinfo=UTC)
        self._detectors = tuple(detector_kinds().values())
        self._metrics: dict[str, _Metric] = {}
        self._told: dict[tuple[str, str, str], tuple[Anomaly, datetime]] = {}

    def do(self, request: Request) -> Answer:
        match request:
            case Append(source, points, cursor):
                gathered = gather_bytes((each.series, each.times, each.values) for each in points)
                self._history.append_points(source, self._cardinality.admitted(source, gathered), cursor)
                return Answer()
            case Cursor(source):
                return Answer(cursor=self._history.cursor(source))
            case Tidy(now, before, max_bytes):
                self._history.compact(now)
                self._history.forget(before, max_bytes)
                if now - self._aged >= _AGE_EVERY:
                    self._cardinality.age()
                    self._aged = now
                return Answer(bytes=self._history.size(), damaged=self._history.damaged)
            case Detect(now, learn_s, window_s):
                return self._detect(now, timedelta(seconds=learn_s), timedelta(seconds=window_s))

    def _detect(self, now: datetime, learn: timedelta, window: timedelta) -> Answer:
        self._history.flush()
        recent = self._history.read(now - window, now)  # sorted by metric: one look at each file serves all of them
        self._metrics = {
            name: self._metrics[name] for name in {each.series.metric for each in recent} & self._metrics.keys()
        }
        found: list[Anomaly] = []
        for name, group in groupby(recent, key=lambda each: each.series.metric):
            of_metric = list(group)
            found += self._judge(self._fitted(name, of_metric, now, learn, window), of_metric)
        told = news(found, self._told, now)
        self._told |= {place(anomaly): (anomaly, now) for anomaly in told}
        self._told = {name: (last, at) for name, (last, at) in self._told.items() if now - at < _FORGET}
        refused = [Refused(source=s, metric=m, points=p, series=n) for s, m, p, n in self._cardinality.refused()]
        return Answer(anomalies=told, series=len(recent), refused=refused)

    def _fitted(
        self, name: str, recent: Sequence[Samples], now: datetime, learn: timedelta, window: timedelta
    ) -> _Metric:
        known = self._metrics.get(name)
        seen = frozenset(_identity(each.series) for each in recent)
        if known is not None:
            age = now - known.at
            if age < _REFIT_AFTER or (age < _FIT_EVERY and seen <= known.seen):
                return known
        step_s = _step_s(recent)
        coarse_s = max(step_s, learn.total_seconds() / _MAX_ROWS)
        past = self._history.read(now - window - learn, now - window, metric=name, step_s=coarse_s)
        judges = []
        for first in range(0, len(past), _CHUNK):
            frame = panel(past[first : first + _CHUNK], coarse_s)
            judges.append(_Judge(frame.series, [detector.fit(frame) for detector in self._detectors]))
        self._metrics[name] = _Metric(now, step_s, seen, judges)
        return self._metrics[name]

    def _judge(self, metric: _Metric, recent: Sequence[Samples]) -> list[Anomaly]:
        by_identity = {_identity(each.series): each for each in recent}
        found: list[Anomaly] = []
        for judge in metric.judges:
            wanted = [by_identity.get(_identity(series)) for series in judge.series]
            frame = _aligned(judge.series, wanted, metric.step_s)
            for fitted in judge.fitted:
                found += fitted.detect(frame)
        return found


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


def _step_s(samples: Sequence[Samples]) -> float:
    """The usual time between points; a minute where there are too few to tell."""
    gaps = [np.diff(each.times) for each in samples[:100]]
    joined = np.concatenate(gaps) if gaps else np.empty(0)
    return max(1.0, float(np.median(joined))) if len(joined) else 60.0


def _identity(series: Series) -> Identity:
    return series.ci, series.dimension


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
